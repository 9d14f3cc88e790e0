"""Subscriptions over HTTP through time: they renew, end, and are changed by their owners for nothing."""

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from msgspec import structs

from api.account_plan import terms_of
from api.billing.settings import BillingSettings
from api.plans import Plans, load_plans
from api.rfc3339 import format_instant
from domain.account.subscription import ConfirmSubscription
from domain.instant import DAY
from tests.api.billing.paying import sold_plans
from tests.api.clock import Clock
from tests.api.company import organization
from tests.api.running import Answer, Person, Running, application

PLANS = """
[plans.free]
title = "Free"
price = "0"
monthly_credits = "0"
messages_per_day = 10
requests_per_minute = 10
requests_per_day = 10
agent_slots = 1
api_keys = 1
seats = 1
features = ["basic_models"]
[plans.lite]
title = "Lite"
price = "5"
monthly_credits = "4"
messages_per_day = 20
requests_per_minute = 20
requests_per_day = 20
agent_slots = 1
api_keys = 2
seats = 1
features = ["basic_models", "organizations"]
[plans.team]
title = "Team"
price = "15"
per_seat = true
monthly_credits = "15"
messages_per_day = "unlimited"
requests_per_minute = 120
requests_per_day = "unlimited"
agent_slots = 20
api_keys = 5
seats = "unlimited"
features = ["basic_models", "organizations", "searches"]
trial_days = 14
[plans.team.feature_limits]
searches = { per_month = 100 }
[features.searches]
title = "Web searches"
metered = true
[top_ups.small]
title = "Ten credits"
price = "9.5"
credits = "10"
"""


@pytest.fixture(scope="module")
def clock() -> Clock:
    """The API's and the worker's."""
    return Clock()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def app(clock: Clock, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Running]:
    """One application for this module's tests, with plans of its own."""
    path: Path = tmp_path_factory.mktemp("plans") / "plans.toml"
    path.write_text(PLANS)
    async with application(clock=clock, plans=load_plans(path)) as running:
        yield running


STATUS = "x-subscription-status"
pytestmark = pytest.mark.asyncio(loop_scope="module")


async def subscribed(app: Running, admin: Person, person: Person, **changed: Any) -> dict[str, Any]:
    """The person is on the plan `team` with two seats from now on, but for what is changed."""
    body = {"account_id": person.id, "plan": "team", "status": "active", "seats": 2, "reference": "r"}
    body["occurred_at"] = format_instant(app.services.clock())
    answer = await app.ask("PUT", "/billing/subscription", body | changed, token=admin.token)
    assert answer.status == 200, answer
    shown: dict[str, Any] = answer.json
    return shown


async def change(app: Running, person: Person, body: dict[str, Any], **how: Any) -> Answer:
    """The owner wants something."""
    return await app.ask("POST", "/billing/subscription/change", body, token=person.token, **how)


async def standing(app: Running, key: str, until: Callable[[Any], bool] = lambda _: True) -> Any:
    """The subscription, as soon as it is so: idle accounts are woken by the sweeper."""
    async with asyncio.timeout(10):
        while True:
            answer = await app.ask("GET", "/billing/subscription", api_key=key)
            assert answer.status == 200, answer
            if until(answer.json):
                return answer.json
            await asyncio.sleep(0.01)


async def test_the_pricing_page_needs_nothing_else(app: Running) -> None:
    """In the file's order, each with price, limits and features; what features are called, and what is sold beside."""
    answer = await app.ask("GET", "/billing/plans")
    assert [plan["id"] for plan in answer.json["data"]] == ["free", "lite", "team"]
    team = answer.json["data"][2]
    assert team["price"] == {"amount": "15.000000", "currency": "USD", "period": "month", "per_seat": True}
    assert (team["limits"]["api_keys"], team["limits"]["seats"], team["trial_days"]) == (5, None, 14)
    assert team["feature_limits"] == {"searches": {"per_day": None, "per_month": 100}}
    assert {"id": "searches", "title": "Web searches", "metered": True} in answer.json["features"]
    assert {each["id"] for each in answer.json["features"]} == {"basic_models", "organizations", "searches"}
    price = {"amount": "9.500000", "currency": "USD"}
    small = {"id": "small", "title": "Ten credits", "price": price, "credits": "10.000000"}
    assert answer.json["top_ups"] == [small]


async def test_a_year_in_a_second(app: Running, admin: Person, clock: Clock) -> None:
    """Nobody does anything: the sweeper renews month by month, and only the last month's credits are there."""
    person = await app.register()
    key = (await app.key(person))["key"]
    shown = await subscribed(app, admin, person)
    assert (shown["status"], shown["renews_by_itself"]) == ("active", True)
    first_end = shown["period_end"]
    with clock.moved(366 * DAY):
        now = format_instant(clock())
        shown = await standing(app, key, lambda shown: shown["period_end"] > now)
        assert shown["remaining"]["credits"] == shown["remaining"]["plan_credits"] == "30.000000"
        assert shown["period_start"] > first_end
        listed = await app.ask("GET", "/billing/credits/transactions?limit=100", api_key=key)
        amounts = [(each["kind"], each["source"], each["amount"]) for each in listed.json["data"]]
        assert amounts.count(("grant", "plan", "30.000000")) == 13
        assert amounts.count(("expiry", None, "-30.000000")) == 12


async def test_a_trial_that_nobody_pays_for(app: Running, admin: Person, clock: Clock) -> None:
    """It lasts the plan's days, goes on for a week past due, and then leaves the limits of the free plan."""
    person = await app.register()
    key = (await app.key(person))["key"]
    assert (await subscribed(app, admin, person, status="trialing"))["limits"]["api_keys"] == 5
    with clock.moved(15 * DAY):
        shown = await standing(app, key, lambda shown: shown["status"] == "past_due")
        assert (shown["limits"]["api_keys"], shown["grace_until"] > format_instant(clock())) == (5, True)
    with clock.moved(22 * DAY):
        shown = await standing(app, key, lambda shown: shown["status"] == "canceled")
        assert (shown["plan"], shown["limits"]["api_keys"], shown["grace_until"]) == ("team", 1, None)
        refused = await app.ask("POST", "/api-keys", {"name": "one more"}, api_key=key)
        assert (refused.status, refused.code) == (403, "api_key_limit")


async def test_change_200(app: Running, admin: Person, clock: Clock) -> None:
    """Cancelled for the period's end, thought better of it, fewer seats: as the answer says, and the next read too."""
    person = await app.register()
    key = (await app.key(person))["key"]
    ends = (await subscribed(app, admin, person))["period_end"]
    answer = await change(app, person, {"cancel": True})
    assert answer.status == 200, answer
    scheduled = {"effective_at": ends, "cancel": True, "plan": "team", "seats": 2}
    assert (answer.json["scheduled"], answer.json["status"]) == (scheduled, "active")
    shown = await standing(app, key)
    assert {name: shown[name] for name in answer.json} == answer.json
    assert (await change(app, person, {"cancel": False})).json["scheduled"] is None
    fewer = await change(app, person, {"seats": 1, "when": "now"})
    assert (fewer.json["seats"], fewer.json["scheduled"]) == (1, None)
    assert (await change(app, person, {"plan": "lite"})).json["scheduled"]["plan"] == "lite"
    with clock.moved(32 * DAY):
        shown = await standing(app, key, lambda shown: shown["plan"] == "lite" and shown["period_start"] >= ends)
        assert (shown["status"], shown["scheduled"]) == ("active", None)
        assert shown["remaining"]["plan_credits"] == "4.000000"


async def test_cancelled_now(app: Running, admin: Person) -> None:
    """The plan is gone with the answer, the credits stay until the period's end."""
    person = await app.register()
    key = (await app.key(person))["key"]
    await subscribed(app, admin, person)
    answer = await change(app, person, {"cancel": True, "when": "now"}, idempotency_key="once")
    assert (answer.json["status"], answer.json["limits"]["api_keys"]) == ("canceled", 1)
    assert (await standing(app, key))["remaining"]["credits"] == "30.000000"
    again = await change(app, person, {"cancel": True, "when": "now"}, idempotency_key="once")
    assert again.json == answer.json
    assert (await change(app, person, {"cancel": True})).code == "no_subscription"


async def test_change_402(app: Running, admin: Person) -> None:
    """What costs more is bought; no call does that where nobody takes the money here."""
    person = await app.register()
    await subscribed(app, admin, person)
    refused = await change(app, person, {"seats": 3, "when": "now"})
    assert (refused.status, refused.code) == (402, "upgrade_not_paid")
    assert refused.json["error"]["checkout"] is None
    await subscribed(app, admin, person, plan="lite", seats=1, reference="s")
    refused = await change(app, person, {"plan": "team"})
    assert (refused.code, refused.json["error"]["plan"]) == ("upgrade_not_paid", "team")


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ({}, 400, "invalid_subscription"),
        ({"plan": "lite", "cancel": True}, 400, "invalid_subscription"),
        ({"plan": "gold"}, 400, "unknown_plan"),
        ({"seats": 0}, 400, "invalid_request"),
        ({"seats": 100_001}, 400, "invalid_request"),
        ({"cancel": "yes"}, 400, "invalid_request"),
        ({"cancel": True, "when": "later"}, 400, "invalid_request"),
        ({"plan": "lite", "seats": 2}, 400, "invalid_subscription"),
    ],
)
async def test_change_400(app: Running, admin: Person, body: dict[str, Any], status: int, code: str) -> None:
    """What cannot be meant changes nothing."""
    person = await app.register()
    key = (await app.key(person))["key"]
    await subscribed(app, admin, person)
    refused = await change(app, person, body)
    assert (refused.status, refused.code) == (status, code)
    assert (await standing(app, key))["scheduled"] is None


async def test_change_409(app: Running) -> None:
    """Nobody can end what was never begun."""
    assert (await change(app, await app.register(), {"cancel": True})).code == "no_subscription"


async def test_change_403(app: Running, admin: Person) -> None:
    """A test key ends no subscription, nor one without the scope."""
    person = await app.register()
    await subscribed(app, admin, person)
    for fields, code in (({"mode": "test"}, "live_key_required"), ({"scopes": ["read"]}, "missing_scope")):
        key = (await app.key(person, **fields))["key"]
        refused = await app.ask("POST", "/billing/subscription/change", {"cancel": True}, api_key=key)
        assert (refused.status, refused.code) == (403, code)


async def test_seats_are_those_of_the_organization(app: Running, admin: Person) -> None:
    """Its members take them up."""
    person = await app.register()
    await subscribed(app, admin, person)
    org_id = await organization(app, person)
    body = {"account_id": org_id, "plan": "team", "status": "active", "seats": 7, "reference": "org"}
    body["occurred_at"] = format_instant(app.services.clock())
    assert (await app.ask("PUT", "/billing/subscription", body, token=admin.token)).status == 200
    shown = await app.ask("GET", "/billing/subscription", token=person.token, headers={"X-Organization": org_id})
    assert (shown.json["seats"], shown.json["seats_used"], shown.json["remaining"]["seats"]) == (7, 1, 6)
    assert shown.json["remaining"]["credits"] == "105.000000"


async def test_a_change_of_the_file_changes_nothing_that_was_decided(
    app: Running, admin: Person, clock: Clock, tmp_path: Path
) -> None:
    """Another file, other limits; but credits, period and price stay as they were confirmed, in the next period too."""
    person = await app.register()
    key = (await app.key(person))["key"]
    before = await subscribed(app, admin, person)
    path = tmp_path / "other.toml"
    path.write_text(
        PLANS.replace('monthly_credits = "15"', 'monthly_credits = "99"').replace("api_keys = 5", "api_keys = 6")
    )
    kept = app.services.plans
    try:
        object.__setattr__(app.services, "plans", load_plans(path))
        shown = await standing(app, key)
        assert (shown["period_end"], shown["limits"]["api_keys"]) == (before["period_end"], 6)
        with clock.moved(32 * DAY):
            shown = await standing(app, key, lambda shown: shown["period_start"] >= before["period_end"])
            assert shown["remaining"]["plan_credits"] == "30.000000"
    finally:
        object.__setattr__(app.services, "plans", kept)


async def test_a_closed_plan_is_kept_and_sold_to_nobody(app: Running, admin: Person, tmp_path: Path) -> None:
    """Its limits stay for who is on it, fewer seats of it too; nobody else sees it or can take it."""
    person, other = await app.register(), await app.register()
    path = tmp_path / "closed.toml"
    path.write_text(PLANS.replace('[plans.lite]\ntitle = "Lite"', '[plans.lite]\ntitle = "Lite"\nclosed = true'))
    await subscribed(app, admin, person, plan="lite", seats=1)
    await subscribed(app, admin, other, reference="other")
    kept = app.services.plans
    try:
        object.__setattr__(app.services, "plans", load_plans(path))
        listed = (await app.ask("GET", "/billing/plans")).json["data"]
        assert [plan["id"] for plan in listed] == ["free", "team"]
        shown = (await app.ask("GET", "/billing/subscription", token=person.token)).json
        assert (shown["plan"], shown["limits"]["requests_per_minute"]) == ("lite", 20)
        assert (await change(app, person, {"plan": "lite", "when": "period_end"})).status == 200
        assert (await change(app, other, {"plan": "lite"})).code == "not_for_sale"
        pages = {"success_url": "https://a.example/", "cancel_url": "https://a.example/"}
        bought = await app.ask("POST", "/billing/checkout", pages | {"plan": "lite"}, token=other.token)
        assert (bought.status, bought.code) == (400, "not_for_sale")
        assert (await subscribed(app, admin, other, plan="lite", seats=1, reference="by hand"))["plan"] == "lite"
    finally:
        object.__setattr__(app.services, "plans", kept)


@pytest.mark.parametrize(
    ("closed", "seats", "wanted", "body"),
    [
        (False, 2, {"seats": 3}, {"plan": "team", "seats": 3}),
        (False, None, {"plan": "team", "seats": 2}, {"plan": "team", "seats": 2}),
        (True, 2, {"seats": 3}, None),
    ],
)
async def test_change_402_names_a_call_that_is_let_buy(
    closed: bool, seats: int | None, wanted: dict[str, Any], body: dict[str, Any] | None
) -> None:
    """As many seats as were refused, by a checkout; none for a plan that is closed, which no checkout sells."""
    shipped = sold_plans()
    plans = Plans(
        {name: each if name != "team" else structs.replace(each, closed=closed) for name, each in shipped.items()}
    )
    billing = BillingSettings(provider="stripe", stripe_secret_key="sk_test_none")
    async with application(billing=billing, plans=plans) as app:
        person, plan = await app.register(), "pro" if seats is None else "team"
        confirmed = ConfirmSubscription(
            plan=plan,
            terms=terms_of(plans[plan]),
            status="active",
            seats=seats,
            renews_by_itself=True,
            occurred_at=app.services.clock(),
            reference="before there was a provider",
        )
        await app.command(f"account:{person.id}", confirmed)
        refused = await change(app, person, wanted)
        assert (refused.status, refused.code) == (402, "upgrade_not_paid")
        checkout = refused.json["error"]["checkout"]
        assert checkout == (body and {"method": "POST", "path": "/billing/checkout", "body": body})


async def test_what_a_provider_bills_ends_without_its_news(clock: Clock) -> None:
    """Past due with the period, which billable answers say; the plan goes on in its grace, and then it is canceled."""
    billing = BillingSettings(provider="stripe", stripe_secret_key="sk_test_none")
    chat = {"model": "fs-basic", "messages": [{"role": "user", "content": "hello"}]}
    async with application(clock=clock, billing=billing) as app:
        admin, person = await app.admin(), await app.register()
        key = (await app.key(person))["key"]
        assert (await subscribed(app, admin, person, seats=1, plan="pro"))["renews_by_itself"] is False
        assert (await change(app, person, {"cancel": True})).code == "billed_elsewhere"
        for ahead, status, limit in ((32 * DAY, "past_due", 60), (40 * DAY, "canceled", 10)):
            with clock.moved(ahead):
                shown = await standing(app, key, lambda shown, status=status: shown["status"] == status)  # type: ignore[misc]
                assert shown["limits"]["requests_per_minute"] == limit
                said = ""
                async with asyncio.timeout(10):
                    while said != status:
                        said = (await app.ask("POST", "/v1/chat/completions", chat, api_key=key)).headers[STATUS]
