"""Features over HTTP: what an account may use, and metering of what the plan file declares."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from datetime import datetime
from typing import Any

import pytest
import pytest_asyncio
from msgspec.structs import replace

from api.plan_features import Feature
from api.plans import Plans, load_plans
from domain.account.plan_terms import FeatureLimit
from domain.instant import DAY, HOUR, instant_of
from projections.local_days import local_month
from tests.api.clock import Clock
from tests.api.company import subscribe
from tests.api.running import Answer, Person, Running, application

SHIPPED = load_plans()


def plans() -> Plans:
    """The shipped ones, with a metered feature: none of it in free, ten a day in pro, as much as one likes in team."""
    searches = Feature(id="searches", title="Web searches", metered=True)
    changed = {
        "pro": replace(
            SHIPPED["pro"],
            features=(*SHIPPED["pro"].features, "searches"),
            feature_limits={"searches": FeatureLimit(per_day=10, per_month=25)},
        ),
        "team": replace(SHIPPED["team"], features=(*SHIPPED["team"].features, "searches")),
    }
    return Plans({**SHIPPED, **changed}, features={**SHIPPED.features, "searches": searches})


CLOCK = Clock()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def app() -> AsyncIterator[Running]:
    """One application for this module's tests, with limits on."""
    async with application(plans=plans(), limits=True, clock=CLOCK, anonymous_requests_per_minute=10_000) as running:
        yield running


pytestmark = pytest.mark.asyncio(loop_scope="module")


async def on(app: Running, plan: str) -> Person:
    """A new user on a plan."""
    person = await app.register()
    await subscribe(app, person.id, plan)
    return person


async def track(app: Running, person: Person, reference: str, amount: Any = 1, **words: Any) -> Answer:
    """A use of searches."""
    body = {"feature": "searches", "amount": amount, "reference": reference}
    return await app.ask("POST", "/billing/track", body, token=person.token, **words)


async def test_track_200_and_the_next_read_agrees(app: Running) -> None:
    """Once for each reference, with or without a key; another amount under it is 409."""
    person = await on(app, "pro")
    first = await track(app, person, "r", 3)
    assert first.status == 200, first
    assert (first.json["per_day"]["used"], first.json["per_day"]["remaining"]) == (3, 7)
    assert first.json["per_month"]["limit"] == 25
    for words in ({}, {"idempotency_key": "k"}, {"idempotency_key": "k"}):
        again = await track(app, person, "r", 3, **words)
        assert (again.status, again.json) == (200, first.json)
    refused = await track(app, person, "r", 4)
    assert (refused.status, refused.code) == (409, "feature_reference_conflict")
    listed = (await app.ask("GET", "/billing/features", token=person.token)).json
    searches = next(each for each in listed["data"] if each["id"] == "searches")
    assert searches == {
        "id": "searches",
        "title": "Web searches",
        "metered": True,
        "included": True,
        "remaining": 7,
        "per_day": first.json["per_day"],
        "per_month": first.json["per_month"],
        "upgrade": [],
    }
    assert listed["messages_per_day"]["limit"] == 1_000


async def test_fifty_at_once_use_exactly_what_there_is(app: Running) -> None:
    """The account's single writer decides each; what is refused is not counted, and says what would help."""
    person = await on(app, "pro")
    answers = await asyncio.gather(*(track(app, person, f"r{number}") for number in range(50)))
    assert Counter(answer.status for answer in answers) == {200: 10, 429: 40}
    error = next(answer for answer in answers if answer.status == 429).json["error"]
    assert (error["code"], error["quota"], error["used"]) == ("feature_quota_exceeded", "searches.per_day", 10)
    assert (error["missing"], error["upgrade"]) == ({"feature": "searches", "amount": 1}, ["team"])
    assert (error["price"]["amount"], error["checkout"]) == ("15.000000", None), "nobody takes the money here"
    warned = [answer.headers.get("x-quota-warning") for answer in answers if answer.status == 200]
    said = sorted(each for each in warned if each is not None)
    assert [each.partition(";reset")[0] for each in said] == [
        '"searches.per_day";used=10;limit=10',
        '"searches.per_day";used=8;limit=10',
        '"searches.per_day";used=9;limit=10',
    ]


async def test_tomorrow_there_is_more_until_the_month_is_full(app: Running) -> None:
    """Day by day, and then the month refuses, until the next."""
    person = await on(app, "pro")
    key = (await app.key(person))["key"]
    month = local_month("UTC", CLOCK())
    steps = ((0, 10, 200), (0, 1, 429), (1, 10, 200), (2, 6, 429), (2, 5, 200), (3, 1, 429), (40, 1, 200))
    for number, (day, amount, status) in enumerate(steps):
        with CLOCK.moved(month.end + day * DAY - CLOCK()):
            body = {"feature": "searches", "amount": amount, "reference": f"r{number}"}
            answer = await app.ask("POST", "/billing/track", body, api_key=key)
            assert answer.status == status, (number, answer)
            if day == 3:
                assert answer.json["error"]["quota"] == "searches.per_month"


async def test_the_leap_day_is_of_february(app: Running) -> None:
    """Where the account is: its last minute has what was left of the month, and the first of March all of the next."""
    person = await on(app, "pro")
    key = (await app.key(person))["key"]
    zone = await app.ask("PATCH", "/billing/settings", {"time_zone": "America/New_York"}, token=person.token)
    assert zone.status == 200
    march = instant_of(datetime.fromisoformat("2028-03-01T00:00:00-05:00"))
    steps = ((-49, 10, 200), (-25, 10, 200), (-1, 6, 429), (-1, 5, 200), (-1, 1, 429), (0, 10, 200))
    for number, (hours, amount, status) in enumerate(steps):
        with CLOCK.moved(march + hours * HOUR - CLOCK()):
            body = {"feature": "searches", "amount": amount, "reference": f"r{number}"}
            answer = await app.ask("POST", "/billing/track", body, api_key=key)
        assert answer.status == status, (number, answer)
        if status == 429:
            assert answer.json["error"]["quota"] == "searches.per_month"
        if hours == 0:
            month = answer.json["per_month"]
            assert (month["used"], month["resets_at"]) == (10, "2028-04-01T04:00:00Z")


async def test_402_without_the_feature(app: Running) -> None:
    """And the plans that have it; the list says the same."""
    person = await app.register()
    refused = await track(app, person, "r")
    error = refused.json["error"]
    assert (refused.status, error["code"], error["missing"]) == (402, "feature_not_in_plan", {"feature": "searches"})
    assert error["upgrade"] == ["team", "pro"]
    listed = (await app.ask("GET", "/billing/features", token=person.token)).json
    searches = next(each for each in listed["data"] if each["id"] == "searches")
    assert (searches["included"], searches["remaining"], searches["upgrade"]) == (False, 0, ["pro", "team"])
    await subscribe(app, person.id, "pro")
    assert (await track(app, person, "r")).status == 200


async def test_without_a_limit_it_is_counted_all_the_same(app: Running) -> None:
    """A plan without a number has as much as one likes."""
    person = await on(app, "team")
    answer = await track(app, person, "r", 10**12)
    assert (answer.status, answer.json["per_day"]["used"], answer.json["per_day"]["remaining"]) == (200, 10**12, None)


async def test_404_unknown_feature(app: Running) -> None:
    """What nobody declared."""
    person = await on(app, "pro")
    body = {"feature": "flying", "reference": "r"}
    answer = await app.ask("POST", "/billing/track", body, token=person.token)
    assert (answer.status, answer.code) == (404, "feature_not_found")


@pytest.mark.parametrize("amount", [0, -1, 1.5, "1", 10**12 + 1, 10**30])
async def test_400_amounts(app: Running, amount: Any) -> None:
    """Whole numbers from 1."""
    person = await on(app, "pro")
    answer = await track(app, person, "r", amount)
    assert answer.status == 400, answer
