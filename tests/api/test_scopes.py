"""Scopes: what each includes, and that no key gets more than its creator has."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.errors import ApiError
from api.scopes import AUTHORITY, INCLUDED, PRIVILEGED, expand, requested, role_of_key

SCOPES = st.sets(st.sampled_from(sorted(INCLUDED)), min_size=1)


def test_what_is_included() -> None:
    """`read` reads, `write` uses and changes, only `admin` has all; adding credits is in neither of the first two."""
    assert {"billing:read", "models:read", "api_keys:read", "users:read"} < expand(["read"])
    assert {"models:invoke", "api_keys:write", "users:write"} < expand(["write"])
    assert expand(["admin"]) == set(INCLUDED)
    assert not expand(["read", "write"]) & {"admin", *PRIVILEGED}
    assert not expand(["read"]) & expand(["write"])


def test_unknown_scopes_allow_nothing() -> None:
    """A scope of another release allows nothing here."""
    assert expand(["future:scope"]) == frozenset()


@given(SCOPES, SCOPES)
def test_never_more_than_the_creator(wanted: set[str], held: set[str]) -> None:
    """Whatever is asked for: it is refused, or it is within what the creator has."""
    allowed = expand(held)
    if expand(wanted) <= allowed:
        assert expand(requested(wanted, allowed)) == expand(wanted)
    else:
        with pytest.raises(ApiError) as refused:
            requested(wanted, allowed)
        assert (refused.value.code, refused.value.status) == ("scope_exceeded", 403)


@given(st.sampled_from(["user", "developer"]), SCOPES)
def test_no_key_raises_its_role(role: str, scopes: set[str]) -> None:
    """A key acts in its creator's role, and as admin only with a scope for admins."""
    assert role_of_key(role, expand(scopes)) == role  # type: ignore[arg-type]  # drawn from roles
    acting = role_of_key("admin", expand(scopes))
    assert (acting == "admin") == bool(expand(scopes) & {"admin", *PRIVILEGED})


def test_default_and_order() -> None:
    """Scopes that are left out are `read` and `write`; given ones come back once each in one order."""
    assert requested(None, AUTHORITY["user"]) == ("read", "write")
    assert requested(["write", "read", "write"], AUTHORITY["user"]) == ("read", "write")


@pytest.mark.parametrize("scopes", [[], ["everything"], ["READ"], [""]])
def test_unknown_400(scopes: list[str]) -> None:
    """An unknown scope is refused by name, with those that there are."""
    with pytest.raises(ApiError) as refused:
        requested(scopes, AUTHORITY["admin"])
    assert (refused.value.code, refused.value.param) == ("invalid_scope", "scopes")
