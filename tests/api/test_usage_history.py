"""Credits by day, over HTTP."""

import csv
import io
from collections.abc import AsyncIterator

import aiohttp
import pytest
import pytest_asyncio

from api.rfc3339 import format_instant
from domain.instant import DAY, HOUR
from domain.money import parse_credits
from tests.api.clock import Clock
from tests.api.running import Person, Running, application
from tests.api.test_credits import addition, spend

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
