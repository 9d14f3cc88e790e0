"""The chain from credentials to a caller: what is accepted, how fast, and that it fails closed."""

import asyncio
from collections.abc import Callable, Mapping
from time import monotonic
from typing import Any

import pytest

from api.caller import Caller
from api.errors import ApiError
from api.identity.api_key_format import ApiKeyFormat
from api.identity.identities import UNKNOWN_S, Identities
from api.identity.stamps import CONFIRMED_S
from api.identity.tokens import Tokens
from api.plans import load_plans
from api.scopes import AUTHORITY
from domain.account.api_keys import RevokeApiKey, UpdateApiKey
from domain.instant import DAY, Instant
from domain.user import GrantRole
from eventstore.errors import Unavailable
from eventstore.memory.store import MemoryStore
from projections.documents import Row
from projections.memory import MemoryDocuments
from tests.api.running import SHARDS, Running


class Documents(MemoryDocuments):
    """Counts what is looked up, and is away when told to."""

    def __init__(self) -> None:
        super().__init__()
        self.away = False
        self.finds = 0

    async def find(self, collection: str, key: str) -> tuple[int, bytes] | None:
        """See `DocumentReader`."""
        self.finds += 1
        return await super().find(collection, key)

    async def newer(self, collection: str, positions: Mapping[int, str], limit: int) -> list[Row]:
        """See `DocumentReader`."""
        if self.away:
            raise Unavailable("away")
        return await super().newer(collection, positions, limit)


class Clock:
    """Monotonic seconds that pass when told to."""

    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        """Now."""
        return self.now


pytestmark = pytest.mark.asyncio(loop_scope="module")


async def ask(identities: Identities, authorization: str | None = None, api_key: str | None = None) -> Caller:
    """The caller of two headers."""
    return await identities.authenticate(authorization, api_key, address="192.0.2.1", user_agent="test")


async def refused(identities: Identities, authorization: str | None = None, api_key: str | None = None) -> str:
    """The code with which two headers are refused."""
    with pytest.raises(ApiError) as error:
        await ask(identities, authorization, api_key)
    if error.value.status == 401:
        assert error.value.headers["WWW-Authenticate"].startswith("Bearer")
    return error.value.code


async def test_both_ways_and_both_kinds(app: Running) -> None:
    """A key comes by either header or by both, a token as Bearer in any case; each says who is asking."""
    person = await app.register()
    key = await app.key(person, scopes=["read"])
    identities, text = app.services.identities, key["key"]
    for caller in (
        await ask(identities, api_key=text),
        await ask(identities, f"Bearer {text}"),
        await ask(identities, f"Bearer {text}", text),
        await ask(identities, "Basic dTpw", text),
    ):
        assert (caller.kind, caller.key_id, caller.user_id, caller.account_id) == (
            "key",
            key["id"],
            person.id,
            person.id,
        )
        assert "billing:read" in caller.scopes
        assert "models:invoke" not in caller.scopes
        assert (caller.address, caller.user_agent) == ("192.0.2.1", "test")
    by_token = await ask(identities, f"bEaReR  {person.token} ")
    assert (by_token.kind, by_token.key_id, by_token.scopes) == ("user", None, AUTHORITY["user"])


async def test_missing_and_conflicting(app: Running) -> None:
    """No credentials are 401, two different ones 400."""
    person = await app.register()
    key = (await app.key(person))["key"]
    identities = app.services.identities
    for authorization in (None, "", "Bearer", "Bearer ", "Basic dTpw", person.token):
        assert await refused(identities, authorization) == "missing_credentials"
    assert await refused(identities, api_key=" ") == "missing_credentials"
    assert await refused(identities, f"Bearer {person.token}", key) == "conflicting_credentials"


async def test_wrong_credentials(app: Running) -> None:
    """What looks like a key is refused as a key, all else as a token; neither makes another error."""
    person = await app.register()
    identities = app.services.identities
    foreign = Tokens({"test": b"x" * 32}).issue(person.id, 1, app.services.clock()).text
    nobody = app.services.tokens.issue("user_0", 1, app.services.clock()).text
    older = app.services.tokens.issue(person.id, 0, app.services.clock()).text
    expired = app.services.tokens.issue(person.id, 1, app.services.clock() - DAY).text
    for text in (foreign, nobody, older, expired, "x", "é" * 8, "\x00", "a" * 5_000, "eyJ" + "a" * 4_000):
        assert await refused(identities, f"Bearer {text}") == "invalid_token"
    for text in (person.token, "x", "a" * 200):
        assert await refused(identities, api_key=text) == "invalid_api_key"
    for text in ("fs_live_" + "a" * 5_000, "fs_eyJ.a.b"):
        assert await refused(identities, f"Bearer {text}") in {"invalid_api_key", "invalid_token"}


async def test_other_processes_forget_within_a_second(app: Running) -> None:
    """What is revoked, changed or demoted elsewhere stops here within a second."""
    person, admin = await app.register(), await app.admin()
    keys = [await app.key(person), await app.key(person), await app.key(admin, scopes=["admin"])]
    other = elsewhere(app)
    await other.start()
    try:
        for key in keys:
            assert (await ask(other, api_key=key["key"])).key_id == key["id"]
        await app.command(f"account:{person.id}", RevokeApiKey(key_id=keys[0]["id"]))
        await app.command(f"account:{person.id}", UpdateApiKey(key_id=keys[1]["id"], scopes=("billing:read",)))
        await app.command(f"user:{admin.id}", GrantRole(role="user"))
        async with asyncio.timeout(1):
            while len(other.cache):
                await asyncio.sleep(0.005)
        assert await refused(other, api_key=keys[0]["key"]) == "invalid_api_key"
        assert (await ask(other, api_key=keys[1]["key"])).scopes == {"billing:read"}
        demoted = await ask(other, api_key=keys[2]["key"])
        assert (demoted.role, demoted.scopes) == ("user", AUTHORITY["user"])
    finally:
        await other.stop()


def elsewhere(app: Running, *, now_s: Callable[[], float] = monotonic, documents: Any = None) -> Identities:
    """The identities of another process on the same stores, or behind a connection of its own."""
    services = app.services
    return Identities(
        store=services.store,
        documents=documents or services.documents,
        shards=SHARDS,
        keys=services.identities.keys,
        tokens=services.tokens,
        plans=services.plans,
        clock=services.clock,
        now_s=now_s,
    )


class Connection:
    """The way to the documents, which can break."""

    def __init__(self, documents: Any) -> None:
        self._documents = documents
        self.broken = False

    def __getattr__(self, name: str) -> Any:
        if self.broken:
            raise Unavailable("away")
        return getattr(self._documents, name)


async def test_what_is_cached_lives_for_half_a_minute_without_the_store(app: Running) -> None:
    """With the store away keys and tokens that were seen go on for 30 s, unseen ones are 503; after that all are."""
    person, clock, way = await app.register(), Clock(), Connection(app.services.documents)
    seen, unseen = [(await app.key(person))["key"] for _ in range(2)]
    identities = elsewhere(app, now_s=clock, documents=way)
    await identities.stamps.poll()
    callers = [await ask(identities, api_key=seen), await ask(identities, f"Bearer {person.token}")]
    way.broken = True
    clock.now += CONFIRMED_S - 0.1
    with pytest.raises(Unavailable):
        await identities.stamps.poll()
    assert [await ask(identities, api_key=seen), await ask(identities, f"Bearer {person.token}")] == callers
    assert await refused(identities, api_key=unseen) == "auth_unavailable"
    clock.now += 0.1
    assert await refused(identities, api_key=seen) == "auth_unavailable"
    assert await refused(identities, f"Bearer {person.token}") == "auth_unavailable"
    way.broken = False
    await identities.stamps.poll()
    assert await ask(identities, api_key=seen) == callers[0]


def lonely(documents: MemoryDocuments, clock: Clock, at: Instant = 0) -> Identities:
    """Identities over stores with nobody in them."""
    return Identities(
        store=MemoryStore(SHARDS, lambda: at),
        documents=documents,
        shards=SHARDS,
        keys=ApiKeyFormat({"p": b"p" * 32}),
        tokens=Tokens({"t": b"t" * 32}),
        plans=load_plans(),
        clock=lambda: at,
        now_s=clock,
    )


async def test_fails_closed() -> None:
    """With the stamps unread for 30 s nothing is trusted any more; once they are read, all goes on."""
    documents, clock = Documents(), Clock()
    identities = lonely(documents, clock)
    key = identities.keys.make("key_" + "0" * 32, "live").text
    assert await refused(identities, api_key=key) == "auth_unavailable"
    await identities.stamps.poll()
    assert await refused(identities, api_key=key) == "invalid_api_key"
    documents.away = True
    clock.now += CONFIRMED_S - 0.1
    with pytest.raises(Unavailable):
        await identities.stamps.poll()
    assert await refused(identities, api_key=key) == "invalid_api_key"
    clock.now += 0.1
    assert await refused(identities, api_key=key) == "auth_unavailable"
    assert await refused(identities) == "missing_credentials"
    documents.away = False
    await identities.stamps.poll()
    assert await refused(identities, api_key=key) == "invalid_api_key"


async def test_fresh_authority_is_refused_where_it_cannot_be_heard() -> None:
    """What reads on from the cache in an outage gives nothing that lasts."""
    documents, clock = Documents(), Clock()
    identities = lonely(documents, clock)
    await identities.stamps.poll()
    documents.away = True
    with pytest.raises(ApiError) as error:
        await identities.authenticate("Bearer token", None, address="", user_agent="", fresh=True)
    assert error.value.code == "auth_unavailable"


async def test_unknown_keys_are_looked_up_once_for_a_while() -> None:
    """A key that does not exist costs one look-up in five seconds, and is looked up again after them."""
    documents, clock = Documents(), Clock()
    identities = lonely(documents, clock)
    await identities.stamps.poll()
    key = identities.keys.make("key_" + "0" * 32, "live").text
    for _ in range(10):
        assert await refused(identities, api_key=key) == "invalid_api_key"
    assert documents.finds == 1
    clock.now += UNKNOWN_S
    await refused(identities, api_key=key)
    assert documents.finds == 2
    for mistyped in (key[:-1], key + "0", "fs_live_x"):
        await refused(identities, api_key=mistyped)
    assert documents.finds == 2
