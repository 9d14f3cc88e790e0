"""Uses of an API key on record: a minute once, at its largest totals, with the last source; and in its listings."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from api.api_key_use import KeyUse, record_key_use
from api.rfc3339 import format_instant
from domain.instant import MINUTE, SECOND
from tests.api.clock import noon
from tests.api.gateway.place import running_place
from tests.api.running import SHARDS, Person, Running, application
from tests.shard_log import events_after

ADDRESS, AGENT = "192.0.2.7", "agent/1.0"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def app() -> AsyncIterator[Running]:
    """One application for this module's tests."""
    async with application(clock=noon()) as running:
        yield running


pytestmark = pytest.mark.asyncio(loop_scope="module")


def use(app: Running, person: Person, key: dict[str, Any], count: int, **words: Any) -> KeyUse:
    """The key's use in the minute before this one."""
    minute = app.services.clock() // MINUTE * MINUTE - MINUTE * words.pop("ago", 1)
    words = {"refused": 0, "last_at": minute + 5 * SECOND, "address": ADDRESS, "user_agent": AGENT} | words
    return KeyUse(account_id=person.id, user_id=person.id, key_id=key["id"], minute=minute, count=count, **words)


async def events(app: Running, person: Person, key: dict[str, Any]) -> list[dict[str, Any]]:
    """The key's events."""
    answer = await app.ask("GET", f"/api-keys/{key['id']}/events", token=person.token)
    found: list[dict[str, Any]] = answer.json["data"]
    return found


async def applied(app: Running, person: Person, used: KeyUse) -> None:
    """Records a minute, and something after it on the same stream: then it is decided."""
    assert await record_key_use(app.services, used)
    await app.key(person, name="after")


async def test_a_minute_is_listed_once(app: Running) -> None:
    """Reported by two processes, and again with larger totals: one event, with the last source, sealed on disk."""
    person = await app.register()
    key = await app.key(person)
    first = use(app, person, key, 3, refused=1)
    await applied(app, person, first)
    await applied(app, person, first)
    listed = await events(app, person, key)
    assert [event["kind"] for event in listed] == ["used", "created"]
    used = listed[0]
    assert (used["requests"], used["refused"], used["created_at"]) == (3, 1, format_instant(first.last_at))
    assert (used["address"], used["user_agent"]) == (ADDRESS, AGENT)
    assert (used["actor_id"], used["actor_key_id"]) == (person.id, key["id"])
    await applied(app, person, use(app, person, key, 5, refused=0, last_at=first.last_at + 1, address="192.0.2.8"))
    again = (await events(app, person, key))[0]
    assert (again["id"], again["requests"], again["refused"]) == (used["id"], 5, 1)
    assert (again["address"], again["created_at"]) == ("192.0.2.8", format_instant(first.last_at + 1))
    shown = await app.ask("GET", f"/api-keys/{key['id']}", token=person.token)
    assert shown.json["last_used_at"] == format_instant(first.last_at + 1)
    stored = [event for shard in range(SHARDS) for event in await events_after(app.store, shard, 0, 1_000)]
    assert stored
    assert not any(ADDRESS.encode() in event.metadata for event in stored)


async def test_minutes_may_come_late(app: Running) -> None:
    """Each is listed; `last_used_at` is the latest."""
    person = await app.register()
    key = await app.key(person)
    latest = use(app, person, key, 1, ago=1)
    await applied(app, person, latest)
    await applied(app, person, use(app, person, key, 2, ago=2, address=""))
    listed = await events(app, person, key)
    assert [event["requests"] for event in listed] == [2, 1, None]
    assert listed[0]["address"] is None
    shown = await app.ask("GET", f"/api-keys/{key['id']}", token=person.token)
    assert shown.json["last_used_at"] == format_instant(latest.last_at)


async def test_a_log_that_is_away_is_told() -> None:
    """The report is to be made again; nothing is raised into the limiter's rhythm."""
    async with running_place() as place:
        account = await place.account("0")
        key_id = "key_" + account.key.split("_")[2]
        minute = place.services.clock() // MINUTE * MINUTE - MINUTE
        used = KeyUse(
            account_id=account.id, user_id=account.id, key_id=key_id, minute=minute, count=1, refused=0, last_at=minute
        )
        place.log.lose = lambda _record: True
        assert not await record_key_use(place.services, used)
        place.log.lose = lambda _record: False
        assert await record_key_use(place.services, used)
