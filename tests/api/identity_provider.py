"""An identity provider beside an application, and other processes on the same stores."""

import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import msgspec

from api.command_log.commands import Commands
from api.identity.acting import Acting
from api.identity.external_commands import ExternalCommands
from api.identity.external_identities import ExternalIdentities
from api.identity.external_projects import ExternalProjects
from api.identity.external_tokens import ExternalTokens
from api.identity.external_users import ExternalUsers
from api.identity.identities import Identities
from api.identity.identity_cache import IdentityCache
from api.identity.issuers import Issuer, Issuers
from devnet.issuer import AUDIENCE, DevIssuer, running
from tests.api.running import Answer, Running, application

COOLDOWN_S = 1


class Site:
    """An application that takes one provider's tokens."""

    def __init__(self, app: Running, server: DevIssuer, issuers: Issuers) -> None:
        self.app = app
        self.server = server
        self.issuers = issuers

    async def me(self, token: str) -> Answer:
        """`GET /users/me` with a token."""
        return await self.app.ask("GET", "/users/me", token=token)


def issuers_of(server: DevIssuer, **changed: Any) -> Issuers:
    """The provider as an operator would write it down."""
    known = {"max_role": "developer", "cooldown_s": COOLDOWN_S, "name": "test", "iss": server.url} | changed
    known |= {"jwks_url": server.jwks_url, "audience": AUDIENCE, "algorithm": "RS256"}
    issuer = msgspec.convert(known, Issuer)
    return Issuers({issuer.iss: issuer})


@asynccontextmanager
async def site(**changed: Any) -> AsyncIterator[Site]:
    """A provider and an application."""
    async with running() as server:
        issuers = issuers_of(server, **changed)
        async with application(issuers=issuers) as app:
            yield Site(app, server, issuers)


def elsewhere(there: Site, issuers: Issuers | None = None, *, commands: Commands | None = None) -> Identities:
    """The identities of another process on the same stores; of one that takes these issuers' tokens."""
    services, cache = there.app.services, IdentityCache()
    issuers = there.issuers if issuers is None else issuers
    sends = ExternalCommands(commands or services.commands, services.sealer, services.clock)
    tokens = ExternalTokens(issuers, services.http, removed=cache.stamped)
    external = ExternalIdentities(
        ExternalUsers(tokens, sends, services.lookup, services.documents),
        ExternalProjects(sends, services.lookup, services.documents),
        Acting(services.documents, services.shards, services.plans),
    )
    return Identities(
        store=services.store,
        documents=services.documents,
        shards=services.shards,
        keys=services.identities.keys,
        tokens=services.tokens,
        plans=services.plans,
        clock=services.clock,
        external=external,
        cache=cache,
    )


def names() -> str:
    """A subject of its own."""
    return f"subject-{secrets.token_hex(8)}"
