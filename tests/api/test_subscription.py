"""The subscription over HTTP: confirmed by the payment side, in any order, and what it allows from then on."""

from typing import Any

import pytest

from api.account_plan import account_plan
from api.plans import load_plans
from api.rfc3339 import format_instant
from domain.account.plan_terms import PlanTerms
from domain.instant import DAY, HOUR
from eventstore.clock import system_clock
from projections.subscriptions import SubscriptionView
from tests.api.running import Answer, Person, Running

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def confirm(app: Running, admin: Person, account_id: str, reference: str = "r", **changed: Any) -> Answer:
    """News that are good but for what is changed."""
    body = {"account_id": account_id, "plan": "pro", "status": "active", "occurred_at": "2026-01-01T00:00:00Z"}
    return await app.ask("PUT", "/billing/subscription", body | {"reference": reference} | changed, token=admin.token)


async def test_free_at_first(app: Running) -> None:
    """An account that never subscribed has the free plan's limits and features."""
    person = await app.register()
    shown = await app.ask("GET", "/billing/subscription", token=person.token)
    assert shown.status == 200
    assert (shown.json["plan"], shown.json["status"], shown.json["seats"]) == ("free", "active", 1)
    assert shown.json["limits"]["requests_per_minute"] == 10
    assert shown.json["features"] == ["basic_models"]


async def test_confirm_200(app: Running, admin: Person) -> None:
    """Confirmed is what is shown, to the user too, and the answer is the same as the next read."""
    person = await app.register()
    now = system_clock()
    period = {"period_start": format_instant(now - DAY), "period_end": format_instant(now + 27 * DAY)}
    answer = await confirm(app, admin, person.id, plan="team", seats=7, **period)
    assert answer.status == 200, answer
    assert answer.json.pop("applied") is True
    assert (answer.json["plan"], answer.json["seats"], answer.json["period_end"]) == ("team", 7, period["period_end"])
    assert answer.json["limits"]["requests_per_minute"] == 120
    shown = (await app.ask("GET", "/billing/subscription", token=person.token)).json
    left = {"credits": "105.000000", "plan_credits": "105.000000", "seats": 6}
    assert shown.pop("remaining") == left | dict.fromkeys(
        ("messages_per_day", "requests_per_minute", "requests_per_day")
    )
    assert shown["seats_used"] == 1
    assert shown == answer.json
    assert (await app.ask("GET", "/users/me", token=person.token)).json["plan"] == "team"


async def test_older_news_never_overwrite(app: Running, admin: Person) -> None:
    """News that come late change nothing and say so; the same reference again answers what it answered first."""
    person = await app.register()
    newer = await confirm(app, admin, person.id, "newer", plan="team", occurred_at="2026-02-01T00:00:00Z")
    older = await confirm(app, admin, person.id, "older")
    assert (older.status, older.json["applied"], older.json["plan"]) == (200, False, "team")
    service = await app.key(admin, scopes=["billing:write"])
    body = {"account_id": person.id, "plan": "team", "status": "active", "reference": "newer"}
    again = await app.ask(
        "PUT", "/billing/subscription", body | {"occurred_at": "2026-02-01T00:00:00Z"}, api_key=service["key"]
    )
    assert (again.status, again.json) == (200, newer.json)


async def test_a_reference_has_one_meaning(app: Running, admin: Person) -> None:
    """Other news under a reference that was used are refused, whatever they say."""
    person = await app.register()
    await confirm(app, admin, person.id)
    assert (await confirm(app, admin, person.id, plan="team")).code == "subscription_reference_conflict"
    assert (await confirm(app, admin, person.id)).status == 200


@pytest.mark.parametrize(
    ("wrong", "code"),
    [
        ({"plan": "gold"}, "unknown_plan"),
        ({"status": "paused"}, "invalid_request"),
        ({"occurred_at": "soon"}, "invalid_subscription"),
        ({"occurred_at": format_instant(system_clock() + HOUR)}, "invalid_subscription"),
        ({"period_start": "2026-02-01T00:00:00Z", "period_end": "2026-01-01T00:00:00Z"}, "invalid_subscription"),
        ({"seats": 0}, "invalid_request"),
        ({"seats": 2}, "invalid_subscription"),
        ({"reference": "\t"}, "invalid_text"),
        ({"trial": True}, "invalid_request"),
    ],
)
async def test_confirm_refused(app: Running, admin: Person, wrong: dict[str, Any], code: str) -> None:
    """What cannot be is refused before it is written, so the reference is still free for the right news."""
    person = await app.register()
    refused = await confirm(app, admin, person.id, **wrong)
    assert refused.code == code
    assert refused.status == 400
    assert (await confirm(app, admin, person.id)).json["applied"] is True


@pytest.mark.parametrize("account_id", ["user_" + "0" * 32, "nobody", ""])
async def test_confirm_404(app: Running, admin: Person, account_id: str) -> None:
    """Nobody cannot subscribe."""
    refused = await confirm(app, admin, account_id)
    assert (refused.status, refused.code) == (404, "account_not_found")


async def test_confirm_403(app: Running, admin: Person) -> None:
    """Users confirm nothing, nor do keys without the scope, nor test keys."""
    person = await app.register()
    assert (await confirm(app, person, person.id)).code == "missing_scope"
    for fields, code in (({"scopes": ["write"]}, "missing_scope"), ({"scopes": ["admin"], "mode": "test"}, None)):
        key = await app.key(admin, **fields)
        body = {"account_id": person.id, "plan": "pro", "status": "active", "reference": "r"}
        answer = await app.ask(
            "PUT", "/billing/subscription", body | {"occurred_at": "2026-01-01T00:00:00Z"}, api_key=key["key"]
        )
        assert (answer.status, answer.code) == (403, code or "live_key_required")


async def test_the_number_of_keys_is_the_plans(app: Running, admin: Person) -> None:
    """A downgrade keeps the keys that there are and refuses more; an upgrade makes room again."""
    person = await app.register()
    for _ in range(25):
        await app.key(person)

    async def another() -> int:
        return (await app.ask("POST", "/api-keys", {"name": "one more"}, token=person.token)).status

    assert await another() == 403
    await confirm(app, admin, person.id, "up")
    assert await another() == 201
    await confirm(app, admin, person.id, "down", status="canceled", occurred_at="2026-02-01T00:00:00Z")
    assert await another() == 403
    listed = await app.ask("GET", "/api-keys?limit=100", token=person.token)
    assert [key["status"] for key in listed.json["data"]] == ["active"] * 26


async def test_billable_answers_say_how_it_stands(app: Running, admin: Person) -> None:
    """The header is on what costs, refusals included, and follows the news at once on the process that took them."""
    person = await app.register()
    body = {"model": "fs-basic", "messages": [{"role": "user", "content": "hello"}]}
    first = await app.ask("POST", "/v1/chat/completions", body, token=person.token)
    assert (first.status, first.headers["x-subscription-status"]) == (402, "active")
    await confirm(app, admin, person.id, status="past_due")
    second = await app.ask("POST", "/v1/chat/completions", body, token=person.token)
    assert second.headers["x-subscription-status"] == "past_due"
    assert "x-subscription-status" not in (await app.ask("GET", "/users/me", token=person.token)).headers


async def test_a_plan_that_is_gone_goes_on_as_confirmed() -> None:
    """An operator who takes a plan off the file takes it from nobody who has it."""
    terms = PlanTerms(
        messages_per_day=None,
        requests_per_minute=77,
        requests_per_day=None,
        agent_slots=1,
        api_keys=9,
        seats=4,
        features=("basic_models", "old_feature"),
    )
    plans = load_plans()
    gone = account_plan(plans, SubscriptionView(account_id="a", plan="gold", terms=terms))
    assert (gone.plan.id, gone.plan.requests_per_minute, gone.plan.api_keys, gone.seats) == ("gold", 77, 9, 4)
    kept = account_plan(plans, SubscriptionView(account_id="a", plan="pro", terms=terms))
    assert (kept.plan, kept.plan.requests_per_minute) == (plans["pro"], 60)
    ended = account_plan(plans, SubscriptionView(account_id="a", plan="gold", terms=terms, status="canceled", seats=4))
    assert (ended.plan, ended.seats) == (plans.free, 1)
