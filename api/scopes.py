"""What a scope allows, and how much of it a caller may have.

admin
├── read    billing:read  models:read  api_keys:read  users:read  audit:read  orgs:read  projects:read
├── write   models:invoke  api_keys:write  users:write  orgs:write  projects:write  billing:manage
├── billing:pay
└── billing:write  accounts:read  accounts:write

Paying is in neither read nor write: a key that leaks must not open the customer portal.
Writing does not include reading: a key that only sends requests cannot list what its account has.
"""

from collections.abc import Iterable

from api.errors import ApiError, declare
from domain.user import Role

declare(
    "invalid_scope",
    "invalid",
    "A scope is unknown, or none was given.",
    "Use the scopes that the message lists, or leave scopes out for read and write.",
)
declare(
    "scope_exceeded",
    "forbidden",
    "A key cannot be given a scope that its creator lacks.",
    "Ask for fewer scopes, or create the key with credentials that have them.",
)

READ = ("billing:read", "models:read", "api_keys:read", "users:read", "audit:read", "orgs:read", "projects:read")
WRITE = ("models:invoke", "api_keys:write", "users:write", "orgs:write", "projects:write", "billing:manage")
PAY = "billing:pay"
"""Buys for the account and opens its customer portal: a person's business, and no key's that was not made for it."""
PRIVILEGED = ("billing:write", "accounts:read", "accounts:write")
"""Adds credits, finds and suspends accounts: a service's or an admin's business."""

INCLUDED: dict[str, tuple[str, ...]] = {
    "read": READ,
    "write": WRITE,
    "admin": ("read", "write", *READ, *WRITE, PAY, *PRIVILEGED),
} | dict.fromkeys((*READ, *WRITE, PAY, *PRIVILEGED), ())
"""Every scope that there is, and those that it includes."""

DEFAULT = ("read", "write")
"""Of a key for which none are asked."""


def expand(scopes: Iterable[str]) -> frozenset[str]:
    """The scopes with all that they include. What this release does not know allows nothing."""
    known = [scope for scope in scopes if scope in INCLUDED]
    return frozenset(known).union(*[INCLUDED[scope] for scope in known])


AUTHORITY: dict[Role, frozenset[str]] = {
    "user": expand((*DEFAULT, PAY)),
    "developer": expand((*DEFAULT, PAY)),
    "admin": expand(("admin",)),
}
"""All that a user of a role may do, and so the most that its keys may."""


def role_of_key(role: Role, scopes: frozenset[str]) -> Role:
    """The role in which a key acts: its creator's, but `admin` only with a scope that is for admins."""
    return "developer" if role == "admin" and scopes.isdisjoint(("admin", *PRIVILEGED)) else role


def requested(scopes: Iterable[str] | None, allowed: frozenset[str]) -> tuple[str, ...]:
    """The scopes for a key: those asked for, once each, in the table's order; `read` and `write` if none were.

    400 `invalid_scope` for an unknown one or an empty list, 403 `scope_exceeded` for one that its creator lacks.
    """
    wanted = set(DEFAULT if scopes is None else scopes)
    if not wanted:
        raise ApiError("invalid_scope", "scopes must name at least one scope.", param="scopes")
    unknown = sorted(wanted - INCLUDED.keys())
    if unknown:
        known = ", ".join(INCLUDED)
        raise ApiError("invalid_scope", f"{unknown[0]!r} is not a scope. There are: {known}.", param="scopes")
    lacking = sorted(expand(wanted) - allowed)
    if lacking:
        raise ApiError(
            "scope_exceeded",
            f"A key cannot have a scope that its creator lacks: {', '.join(lacking)}.",
            param="scopes",
        )
    return tuple(scope for scope in INCLUDED if scope in wanted)
