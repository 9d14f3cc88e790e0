"""Credits by day, over HTTP."""

import csv
import io
from collections.abc import AsyncIterator, Sequence
from contextlib import ExitStack

import aiohttp
import pytest
import pytest_asyncio
from msgspec import structs

from api.rfc3339 import format_instant
from domain.account.holds import ReleaseHold, SettleHold
from domain.account.usage import Usage
from domain.instant import DAY, HOUR, MINUTE
from domain.message import Command
from domain.money import parse_credits
from tests.api.clock import Clock
from tests.api.running import Person, Running, application
from tests.api.test_credits import addition, place, spend
from tests.domain.account.test_payments import confirm, dispute, refund

PATH = "/billing/usage/history"
CLOCK = Clock()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def app() -> AsyncIterator[Running]:
    """One application for this module's tests, whose time they move."""
    async with application(clock=CLOCK) as running:
        yield running


pytestmark = pytest.mark.asyncio(loop_scope="module")


async def history(app: Running, key: str, query: str = "") -> list[dict[str, str]]:
    """The days of a report."""
    answer = await app.ask("GET", f"{PATH}{query}", api_key=key)
    assert answer.status == 200, answer
    days: list[dict[str, str]] = answer.json["data"]
    return days


async def keys(app: Running) -> tuple[str, Person, str]:
    """Keys of an admin and of a person: they outlast the clock of these tests."""
    admin, person = await app.admin(), await app.register()
    return (await app.key(admin, scopes=["admin"]))["key"], person, (await app.key(person))["key"]


async def test_history_200(app: Running) -> None:
    """Granted, used and run out, each on its day; in all they come to the balance. Quiet days are there as well."""
    admin, person, key = await keys(app)
    ends = format_instant(CLOCK() + 12 * HOUR)
    await app.ask("POST", "/billing/credits/add", addition(person, expires_at=ends), api_key=admin)
    await app.ask("POST", "/billing/credits/add", addition(person, "r2", amount="1"), api_key=admin)
    await spend(app, person, "hold_1")
    with CLOCK.moved(2 * DAY):
        await spend(app, person, "hold_2")
        days = await history(app, key)
        balance = (await app.ask("GET", "/billing/credits", api_key=key)).json["balance"]
    assert [day["day"] for day in days] == sorted(day["day"] for day in days)
    assert len(days) == 31
    sums = {name: sum(parse_credits(day[name], name=name) for day in days) for name in days[0] if name != "day"}
    assert (sums["granted"], sums["used"], sums["expired"]) == (13_500_000, 1_800, 12_500_000 - 900)
    assert sums["granted"] - sums["used"] - sums["expired"] == parse_credits(balance, name="balance")
    assert {day["debt"] for day in days} == {"0.000000"}
    assert [day["used"] for day in days if day["used"] != "0.000000"] == ["0.000900", "0.000900"]


async def test_debt_lasts_until_it_is_repaid(app: Running) -> None:
    """It is shown on every day at whose end it was owed."""
    admin, person, key = await keys(app)
    await app.ask("POST", "/billing/credits/add", addition(person, amount="0.000800"), api_key=admin)
    await spend(app, person, "hold_1")
    with CLOCK.moved(2 * DAY):
        assert [day["debt"] for day in await history(app, key)][-3:] == ["0.000100"] * 3
        await app.ask("POST", "/billing/credits/add", addition(person, "r2"), api_key=admin)
        assert [day["debt"] for day in await history(app, key)][-3:] == ["0.000100", "0.000100", "0.000000"]


async def test_corrections_add_up(app: Running) -> None:
    """A settle after the hold's end, a release after its settle, a refund and a dispute: every sum is one balance."""
    _, person, key = await keys(app)
    stream = f"account:{person.id}"
    now = CLOCK()
    for payment in ("pi_1", "pi_2"):
        await app.command(stream, structs.replace(confirm(payment, 4_000_000), occurred_at=now))
    for hold_id in ("late", "back", "kept"):
        await place(app, person, hold_id)
    used = Usage(source="provider", input=100, output=200)
    for hold_id in ("back", "kept"):
        await app.command(stream, SettleHold(hold_id=hold_id, usage=used))
    moments = [5 * MINUTE, DAY, DAY, DAY]
    told: Sequence[Sequence[Command]] = [
        [SettleHold(hold_id="late", usage=used), ReleaseHold(hold_id="back", reason="taken back")],
        [structs.replace(refund(50), occurred_at=now + 1)],
        [structs.replace(dispute("open", payment="pi_2"), occurred_at=now + 1)],
        [structs.replace(dispute("won", payment="pi_2"), occurred_at=now + 2)],
    ]
    with ExitStack() as time:
        for wait, commands in zip(moments, told, strict=True):
            time.enter_context(CLOCK.moved(wait))
            for command in commands:
                await app.command(stream, command)
            await adds_up(app, key)
        days = await history(app, key)
    sums = {name: sum(amount(day[name]) for day in days) for name in ("used", "taken_back", "given_back")}
    assert sums == {"used": 1_800, "taken_back": 6_000_000, "given_back": 4_000_000}


async def adds_up(app: Running, key: str) -> None:
    """The history's sums, the transactions and the balance less the debt are one number."""
    credits = (await app.ask("GET", "/billing/credits", api_key=key)).json
    listed = (await app.ask("GET", "/billing/credits/transactions?limit=100", api_key=key)).json["data"]
    days = await history(app, key)
    sums = {name: sum(amount(day[name]) for day in days) for name in days[0] if name != "day"}
    came = sums["granted"] + sums["given_back"] - sums["used"] - sums["expired"] - sums["taken_back"]
    assert came == amount(credits["balance"]) - amount(credits["debt"])
    assert sum(amount(each["amount"]) for each in listed) == amount(credits["balance"])
    assert days[-1]["debt"] == credits["debt"]


def amount(text: str) -> int:
    """Micro-credits, which may be negative."""
    return -amount(text[1:]) if text.startswith("-") else parse_credits(text, name="amount")


async def test_csv_200(app: Running) -> None:
    """The same days as lines."""
    person = await app.register()
    headers = {"Authorization": f"Bearer {person.token}", "Accept": "text/csv"}
    query = "from=2026-03-28&to=2026-03-31&time_zone=Asia/Tokyo"
    async with aiohttp.ClientSession() as http, http.get(f"{app.url}{PATH}?{query}", headers=headers) as got:
        assert (got.status, got.content_type) == (200, "text/csv")
        rows = list(csv.DictReader(io.StringIO(await got.text(), newline="")))
    shown = await app.ask("GET", f"{PATH}?{query}", token=person.token)
    assert rows == shown.json["data"]
    assert [row["day"] for row in rows] == ["2026-03-28", "2026-03-29", "2026-03-30"]


@pytest.mark.parametrize("query", ["from=x", "time_zone=x", "group_by=day"])
async def test_history_400(app: Running, query: str) -> None:
    """What is no period, or no zone, is refused."""
    person = await app.register()
    assert (await app.ask("GET", f"{PATH}?{query}", token=person.token)).status == 400
