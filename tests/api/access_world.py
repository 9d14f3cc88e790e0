"""Every kind of caller, and a company with one of each thing for them to reach for."""

import asyncio
import uuid
from collections.abc import Mapping
from typing import Any

from msgspec import Struct

from api.rfc3339 import format_instant
from api.scopes import INCLUDED
from devnet.issuer import DevIssuer
from domain.account.api_keys import RevokeApiKey
from domain.account.standing import SuspendAccount
from domain.instant import HOUR, MINUTE, SECOND
from domain.invitation import AcceptInvitation, InviteMember
from domain.member import Level
from domain.user import GrantRole, Role
from tests.api.clock import Clock
from tests.api.company import as_org, founder, organization
from tests.api.running import Person, Running

Headers = dict[str, str]
_LATE = 4_000_000_000
"""Seconds since 1970: each new world moves the clock, and a provider's token ends by that clock."""


class World(Struct, kw_only=True):
    """`callers` by the table's column; of some columns there are several, who must all fare alike."""

    callers: dict[str, list[Headers]]
    scoped: dict[str, Headers]
    """A key of a platform admin for each scope alone."""
    places: Mapping[str, Mapping[str, str]]
    """What stands for a path's parameters, by the path's beginning."""


def bearer(credential: str, **more: str) -> Headers:
    """A login token or a key."""
    return {"Authorization": f"Bearer {credential}"} | more


async def world(app: Running, clock: Clock, provider: DevIssuer, binding: DevIssuer) -> World:
    """A new one, of people and things that nobody else has. Tokens of `binding` are bound to a project."""
    ada = await founder(app)
    org_id = await organization(app, ada)
    people = {role: await _person(app, role) for role in ("user", "developer", "admin")}
    members = {level: await _member(app, ada, org_id, level) for level in ("read", "write", "admin")}
    leaver = await _member(app, ada, org_id, "read")
    first, second = [await _project(app, members["admin"], org_id, name) for name in ("first", "second")]
    victim = await _org_key(app, members["admin"], org_id)
    org = {"X-Organization": org_id}
    callers: dict[str, list[Headers]] = {
        "none": [{}],
        "bad": await _bad(app, clock, provider),
        "user": [bearer(people["user"].token), bearer(provider.token(people["user"].id, role="user", exp=_LATE))],
        "developer": [bearer(people["developer"].token)],
        "admin": [bearer(people["admin"].token)],
        "key read": [bearer((await app.key(await _person(app, "user"), scopes=["read"]))["key"])],
        "key write": [bearer((await app.key(await _person(app, "user"), scopes=["write"]))["key"])],
        "key admin": [bearer((await app.key(await _person(app, "admin"), scopes=["admin"]))["key"])],
        "org read": [bearer(members["read"].token, **org)],
        "org write": [bearer(members["write"].token, **org)],
        "org admin": [bearer(members["admin"].token, **org)],
        "org key": [bearer((await _org_key(app, ada, org_id))["key"])],
        "other org": [bearer((await founder(app)).token, **org)],
        "project": [bearer((await _org_key(app, ada, org_id, project_id=first))["key"])],
        "other project": [bearer((await _org_key(app, ada, org_id, project_id=second))["key"])],
        "bound token": [bearer(binding.token(f"{uuid.uuid4()}", role="user", project_id="p", exp=_LATE))],
        "suspended": [bearer((await _suspended(app)).token)],
    }
    return World(
        callers=callers,
        scoped=await _scoped(app),
        places={
            "/orgs/": {
                "id": org_id,
                "user_id": leaver.id,
                "invitation_id": await _invitation(app, ada, org_id, "open"),
            },
            "/v1/projects/": {"id": first},
            "/api-keys/": {"id": victim["id"]},
            "/admin/accounts/": {"id": (await app.register()).id},
        },
    )


async def _person(app: Running, role: Role) -> Person:
    person = await founder(app)
    if role != "user":
        await app.command(f"user:{person.id}", GrantRole(role=role))
        await app.until(lambda: person.id not in app.services.identities.cache._of)
    return person


async def _member(app: Running, admin: Person, org_id: str, level: Level) -> Person:
    person = await founder(app)
    invitation_id = await _invitation(app, admin, org_id, person.id, level)
    accept = AcceptInvitation(invitation_id=invitation_id, user_id=person.id, members_max=None)
    await app.command(f"org:{org_id}", accept)
    return person


async def _invitation(app: Running, admin: Person, org_id: str, whom: str, level: Level = "read") -> str:
    invitation_id = f"invitation_{uuid.uuid4().hex}"
    command = InviteMember(
        by=admin.id,
        invitation_id=invitation_id,
        email_hash=whom,
        email_sealed=await app.services.sealer.seal(f"account:{org_id}", "org.invited_email", b"x@example.com"),
        level=level,
        lasts=HOUR,
        members_max=None,
    )
    await app.command(f"org:{org_id}", command)
    return invitation_id


async def _project(app: Running, admin: Person, org_id: str, name: str) -> str:
    answer = await as_org(app, admin, org_id, "POST", "/v1/projects", {"name": name})
    assert answer.status == 201, answer
    project_id: str = answer.json["id"]
    return project_id


async def _org_key(app: Running, person: Person, org_id: str, **fields: Any) -> dict[str, Any]:
    answer = await as_org(app, person, org_id, "POST", "/api-keys", {"name": "k"} | fields)
    assert answer.status == 201, answer
    made: dict[str, Any] = answer.json
    return made


async def _suspended(app: Running) -> Person:
    person = await founder(app)
    reason = await app.services.sealer.seal(f"account:{person.id}", "account.suspension", b"why")
    await app.command(f"account:{person.id}", SuspendAccount(reason_sealed=reason))
    return person


async def _bad(app: Running, clock: Clock, provider: DevIssuer) -> list[Headers]:
    """Everything that is no credential any more, or never was one here."""
    person = await founder(app)
    revoked = await app.key(person)
    await app.command(f"account:{person.id}", RevokeApiKey(key_id=revoked["id"]))
    expiring = await app.key(person, expires_at=format_instant(clock() + MINUTE // SECOND * SECOND))
    expired = app.services.tokens.issue(person.id, 1, clock() - 25 * HOUR).text
    clock.ahead += 2 * MINUTE
    return [
        bearer(expired),
        bearer(provider.token(person.id, role="admin", aud="somebody else")),
        bearer(provider.token(person.id, role="admin", exp=1)),
        bearer(revoked["key"]),
        {"X-API-Key": expiring["key"]},
        bearer("x"),
    ]


async def _scoped(app: Running) -> dict[str, Headers]:
    admin = await _person(app, "admin")
    keys = await asyncio.gather(*(app.key(admin, scopes=[scope]) for scope in INCLUDED))
    return {scope: bearer(key["key"]) for scope, key in zip(INCLUDED, keys, strict=True)}
