"""The forecast over HTTP: of the running period, from what was really used."""

import csv
from calendar import monthrange
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from io import StringIO
from typing import Any

import aiohttp
import pytest
import pytest_asyncio

from api.rfc3339 import format_instant
from api.routes.usage_forecast import parts_ahead
from domain.account.usage import Usage
from domain.instant import DAY, HOUR, SECOND
from domain.money import format_credits, parse_credits
from tests.api.clock import noon
from tests.api.running import Person, Running, application
from tests.api.usage_put_down import put_down
from tests.projections.usage_world import closed

PATH = "/billing/usage/forecast"
USED = Usage(source="provider", input=600_000, output=200_000)
EACH_DAY = 1_000_000
"""What `closed` charges for it."""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def app() -> AsyncIterator[Running]:
    """One application for this module's tests."""
    async with application(clock=noon()) as running:
        yield running


pytestmark = pytest.mark.asyncio(loop_scope="module")


def use_daily(app: Running, person: Person, days: int) -> int:
    """One credit's use at the beginning of each of the last days (UTC), today's too; answers when today began."""
    now = app.services.clock()
    today = now - now % DAY
    put_down(app, person, [closed(today - number * DAY, USED) for number in range(days)])
    return today


async def asked(app: Running, person: Person, query: str = "") -> dict[str, Any]:
    """A forecast."""
    answer = await app.ask("GET", f"{PATH}{query}", token=person.token)
    assert answer.status == 200, answer
    said: dict[str, Any] = answer.json
    return said


def amount(said: dict[str, Any], name: str) -> int:
    """One of its figures."""
    return parse_credits(said[name], name=name)


async def test_month_200(app: Running) -> None:
    """Without a subscription's period it is the calendar month's: what was used by now, and the days that are left."""
    person = await app.register()
    today = datetime.fromtimestamp(use_daily(app, person, 60) // SECOND, UTC)
    said = await asked(app, person)
    length = monthrange(today.year, today.month)[1]
    assert (said["period"]["source"], said["period"]["from"]) == ("calendar_month", f"{today:%Y-%m}-01T00:00:00Z")
    assert (said["method"], said["days"], said["confidence_percent"]) == ("weekday_profile", 56, 80)
    assert amount(said, "used") == EACH_DAY * today.day
    assert abs(amount(said, "expected") - EACH_DAY * length) <= EACH_DAY * 1.1
    assert amount(said, "used") <= amount(said, "low") <= amount(said, "expected") <= amount(said, "high")
    assert said["missing"] == format_credits(amount(said, "expected") - amount(said, "used"))
    assert "last 8 weeks" in said["assumption"]


async def test_csv_200(app: Running) -> None:
    """One line with the same cells."""
    person = await app.register()
    use_daily(app, person, 3)
    said = await asked(app, person)
    headers = {"Authorization": f"Bearer {person.token}", "Accept": "text/csv"}
    async with aiohttp.ClientSession() as http, http.get(f"{app.url}{PATH}", headers=headers) as got:
        assert (got.status, got.headers["Content-Type"].partition(";")[0]) == (200, "text/csv")
        (line,) = csv.DictReader(StringIO(await got.text()))
    assert line == {name: str(cell) for name, cell in {**said.pop("period"), **said}.items()}


async def test_subscription_200(app: Running) -> None:
    """A subscription's period is forecast to its end, whenever it began."""
    admin, person = await app.admin(), await app.register()
    today = use_daily(app, person, 10)
    start, end = today - 5 * DAY - HOUR, today + 20 * DAY
    news = {
        "account_id": person.id,
        "plan": "pro",
        "status": "active",
        "period_start": format_instant(start),
        "period_end": format_instant(end),
        "occurred_at": format_instant(start),
        "reference": "sub_1",
    }
    assert (await app.ask("PUT", "/billing/subscription", news, token=admin.token)).status == 200
    said = await asked(app, person)
    assert said["period"] == {"from": news["period_start"], "to": news["period_end"], "source": "subscription"}
    assert (said["method"], amount(said, "used")) == ("daily_mean", 6 * EACH_DAY)
    assert 25 * EACH_DAY <= amount(said, "expected") <= 26 * EACH_DAY


async def test_nothing_200(app: Running) -> None:
    """Of an account that has used nothing nothing is expected, in any zone."""
    person = await app.register()
    said = await asked(app, person, "?time_zone=Pacific/Kiritimati")
    assert (said["method"], said["expected"], said["high"]) == ("none", "0.000000", "0.000000")
    assert said["time_zone"] == "Pacific/Kiritimati"


async def test_forecast_400(app: Running) -> None:
    """There is no such zone."""
    person = await app.register()
    answer = await app.ask("GET", f"{PATH}?time_zone=Mars", token=person.token)
    assert (answer.status, answer.code) == (400, "invalid_time_zone")


async def test_parts_of_days() -> None:
    """Today's rest, whole days, and a part of the last; a day in spring has 23 hours."""
    now = int(datetime(2026, 3, 28, 11, tzinfo=UTC).timestamp()) * SECOND
    end = int(datetime(2026, 3, 30, 10, tzinfo=UTC).timestamp()) * SECOND
    parts, elapsed = parts_ahead("Europe/Berlin", now, end)
    assert elapsed == 12 * HOUR
    assert parts == [(12 * HOUR, DAY), (23 * HOUR, 23 * HOUR), (12 * HOUR, DAY)]
