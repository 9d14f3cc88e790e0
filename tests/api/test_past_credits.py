"""Credits as they were: from the log, with what time had caused by then, in bounded work."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
from msgspec import structs
from yarl import URL

from api import past_reads
from api.past_reads import WAITING_MAX
from api.rfc3339 import format_instant
from domain.account.holds import PlaceHold, ReportProgress, Sweep
from domain.account.usage import Usage
from domain.instant import HOUR, MINUTE, SECOND, Instant
from tests.api.clock import Clock
from tests.api.running import Answer, Person, Running, application
from tests.domain.account.asking import ONE_EACH, add

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def app(clock: Clock) -> AsyncIterator[Running]:
    """A running application."""
    async with application(clock=clock) as running:
        yield running


async def ask_at(app: Running, person: Person, at: Instant | str) -> Answer:
    """The credits at a moment."""
    text = at if isinstance(at, str) else format_instant(at)
    return await app.ask("GET", str(URL("/billing/credits").with_query(at=text)), token=person.token)


async def figures(app: Running, person: Person, at: Instant) -> Any:
    """Balance, held, debt, and what each grant had left."""
    answer = await ask_at(app, person, at)
    assert answer.status == 200, answer
    grants = [grant["remaining"] for grant in answer.json["grants"]]
    return answer.json["balance"], answer.json["held"], answer.json["debt"], grants


async def test_200(app: Running, clock: Clock) -> None:
    """Each moment shows what was there then: nothing, a grant, a hold, its charge when it ran out though unwritten."""
    person = await app.register()
    stream = f"account:{person.id}"
    before = clock()
    granted = await app.command(stream, add("grant_a", 1_000_000, expires_at=clock() + HOUR))
    hold = PlaceHold(
        hold_id="hold_past",
        amount=400,
        amount_min=400,
        model="m",
        price=ONE_EACH,
        expires_at=clock() + MINUTE,
        key_id=None,
    )
    placed = await app.command(stream, hold)
    reported = await app.command(
        stream, ReportProgress(hold_id="hold_past", usage=Usage(source="estimated", output=150))
    )
    with clock.moved(2 * HOUR):
        await app.command(stream, Sweep())
        assert await figures(app, person, before) == ("0.000000", "0.000000", "0.000000", [])
        assert await figures(app, person, granted.at) == ("1.000000", "0.000000", "0.000000", ["1.000000"])
        assert await figures(app, person, placed.at) == ("1.000000", "0.000400", "0.000000", ["1.000000"])
        assert (await figures(app, person, reported.at))[1] == "0.000400"
        assert (await figures(app, person, hold.expires_at - 1))[1] == "0.000400"
        assert await figures(app, person, hold.expires_at) == ("0.999850", "0.000000", "0.000000", ["0.999850"])
        assert await figures(app, person, granted.at + HOUR + MINUTE) == ("0.000000", "0.000000", "0.000000", [])
        now = await ask_at(app, person, clock())
    shown = await app.ask("GET", "/billing/credits", token=person.token)
    assert now.json["version"] >= 5, "a grant, a hold, its progress, its end, the grant's end, and perhaps notices"
    assert (shown.json["version"], shown.json["at"]) == (None, None)
    assert {**now.json, "at": None, "version": None} == shown.json


@pytest.mark.parametrize("text", ["", "yesterday", "2026-07-01T12:00:00", "2026-02-30T12:00:00Z", "1", "9" * 40])
async def test_400(app: Running, text: str) -> None:
    """What is no time, or could be two."""
    answer = await ask_at(app, await app.register(), text)
    assert (answer.status, answer.code) == (400, "invalid_moment")


async def test_400_future(app: Running, clock: Clock) -> None:
    """What will be is not known."""
    answer = await ask_at(app, await app.register(), clock() + 10 * SECOND)
    assert (answer.status, answer.code) == (400, "invalid_moment")


async def test_409(app: Running, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    """A longer history than one request may read is refused before it is read; an earlier moment of it is not."""
    monkeypatch.setattr("api.routes.credits.EVENTS_MAX", 2)
    person = await app.register()
    made = [await app.command(f"account:{person.id}", add(f"grant_{n}", 1)) for n in range(3)]
    answer = await ask_at(app, person, clock())
    assert (answer.status, answer.code, answer.json["error"]["limit"]) == (409, "history_too_long", 2)
    assert (await ask_at(app, person, made[1].at)).status == 200


async def test_503_unreadable(app: Running, clock: Clock) -> None:
    """What a newer release has written is nothing that this one makes figures of; what came before it is."""
    person = await app.register()
    stream = f"account:{person.id}"
    made = [await app.command(stream, add(f"grant_{n}", 1)) for n in range(2)]
    stored = app.store._streams[stream]
    stored[1] = structs.replace(stored[1], type="credits.of_tomorrow")
    transactions = await app.ask("GET", "/billing/credits/transactions", token=person.token)
    path = f"/billing/credits/transactions/{transactions.json['data'][0]['id']}"
    for answer in (await ask_at(app, person, clock()), await app.ask("GET", path, token=person.token)):
        assert (answer.status, answer.code, answer.headers["retry-after"]) == (503, "history_unreadable", "30")
    assert (await figures(app, person, made[0].at))[0] == "0.000001"


async def test_503(app: Running, clock: Clock) -> None:
    """Where too many wait already the next is told when to come again; those that wait are answered."""
    person = await app.register()
    async with app.services.past_reads.turn():
        waiting = [asyncio.create_task(ask_at(app, person, clock())) for _ in range(WAITING_MAX)]
        refused = await next(asyncio.as_completed(waiting))
        assert (refused.status, refused.code, refused.headers["retry-after"]) == (503, "past_busy", "2")
    answers = await asyncio.gather(*waiting)
    assert sorted(answer.status for answer in answers) == [200] * (WAITING_MAX - 1) + [503]
    assert past_reads.EVENTS_MAX > 100_000
