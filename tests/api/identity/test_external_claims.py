"""Where a provider's tokens say role and project: under other names, in lists, within other claims."""

import json
from collections.abc import AsyncIterator

import aiohttp
import pytest
import pytest_asyncio

from api.identity.external_tokens import ExternalToken, ExternalTokens
from api.identity.issuers import Issuers
from api.identity.tokens import TokenRefused
from devnet.issuer import DevIssuer, running
from domain.instant import SECOND
from tests.api.identity.test_external_tokens import GOOD, NOW_S, issuer_of

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def server() -> AsyncIterator[DevIssuer]:
    """An identity provider."""
    async with running() as started:
        yield started


async def read(server: DevIssuer, claims: dict[str, object], **names: object) -> ExternalToken | None:
    """A token with these claims, as it is read where the issuer's table says so; `None` where it is refused."""
    issuer = issuer_of(server, **names)
    async with aiohttp.ClientSession() as http:
        tokens = ExternalTokens(Issuers({issuer.iss: issuer}), http, removed=lambda _ids: None)
        tokens.start()
        try:
            return await tokens.verify(server.token("ada", **GOOD | claims), lambda: NOW_S * SECOND)
        except TokenRefused:
            return None
        finally:
            await tokens.stop()


async def test_other_names(server: DevIssuer) -> None:
    """A provider may have a name space of its own for what it adds; dots in a name mean nothing."""
    said = {"https://acme.example/role": "developer", "team": "blue", "role": "admin", "project_id": "p"}
    token = await read(server, dict(said), role_claim="https://acme.example/role", project_claim="team")
    assert token is not None
    assert (token.role, token.project_id) == ("developer", "blue")
    assert json.loads(token.claims_json) == {"role": "admin", "project_id": "p"}


@pytest.mark.parametrize(
    ("said", "role"),
    [
        (["offline", "user", "developer"], "developer"),
        (["user", "admin"], "developer"),
        (["user"], "user"),
        ("developer", "developer"),
        ([], None),
        (["root", "Admin"], None),
        (["user", 7], None),
        ([["user"]], None),
        (1_001 * ["user"], None),
    ],
)
async def test_a_role_in_a_list(server: DevIssuer, said: object, role: str | None) -> None:
    """The highest of those that mean something here, capped by `max_role`; a list with none of them is refused."""
    plain = await read(server, {"role": said})
    nested = await read(server, {"realm_access": {"roles": said, "more": 1}}, role_claim=("realm_access", "roles"))
    if role is None:
        assert plain is nested is None
        return
    assert plain is not None
    assert nested is not None
    assert plain.role == nested.role == role
    assert json.loads(plain.claims_json) == {}
    assert json.loads(nested.claims_json) == {"role": "user", "realm_access": {"roles": said, "more": 1}}


@pytest.mark.parametrize("access", [{}, {"roles": {"user": True}}, {"realm": "user"}, ["user"], "user", 7])
async def test_a_role_that_is_not_where_it_should_be(server: DevIssuer, access: object) -> None:
    """Refused, whatever stands elsewhere."""
    assert await read(server, {"role": "user", "realm_access": access}, role_claim=("realm_access", "roles")) is None
