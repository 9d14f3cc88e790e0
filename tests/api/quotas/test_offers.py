"""What a refusal offers: only what would have allowed it, and the smallest step first."""

from functools import partial
from typing import Any

import pytest
from msgspec.structs import replace

from api.account_plan import AccountPlan
from api.errors import ApiError
from api.plan_features import Feature
from api.plans import Plan, Plans, TopUp, load_plans
from api.quotas.offers import Seller, explain, offer
from api.quotas.plan_credits import credits_at_once
from domain.account.plan_terms import FeatureLimit
from domain.account.subscription_period import PeriodCredits
from domain.instant import DAY, SECOND
from domain.money import MICRO

SHIPPED = load_plans()
SEARCHES = Feature(id="searches", title="Searches", metered=True)
PLANS = Plans(
    {
        **SHIPPED,
        "pro": replace(
            SHIPPED["pro"], features=("searches",), feature_limits={"searches": FeatureLimit(per_day=10, per_month=20)}
        ),
        "team": replace(SHIPPED["team"], features=("searches",)),
    },
    features={**SHIPPED.features, "searches": SEARCHES},
)
TOP_UPS = {name: TopUp(id=name, title=name, price=price, credits=price) for name, price in (("s", 10), ("l", 1_000))}
SELLING = Plans(dict(PLANS), features=PLANS.features, top_ups=TOP_UPS)
FREE = AccountPlan(account_id="user_1", plan=PLANS["free"], status="active", seats=1)
PRO = replace(FREE, plan=PLANS["pro"])
ALL = Seller(sells=lambda _thing: True)


@pytest.mark.parametrize(
    ("code", "detail", "missing", "upgrade"),
    [
        ("feature_not_in_plan", {"feature": "sso"}, {"feature": "sso"}, ["enterprise"]),
        ("messages_quota_exceeded", {"used": 100}, {"messages": 1}, ["team", "pro", "enterprise"]),
        ("messages_quota_exceeded", {"used": 1_000}, {"messages": 1}, ["team", "enterprise"]),
        (
            "feature_quota_exceeded",
            {"quota": "searches.per_day", "used": 3, "requested": 7, "limit": 5},
            {"feature": "searches", "amount": 5},
            ["team", "pro"],
        ),
        (
            "feature_quota_exceeded",
            {"quota": "searches.per_day", "used": 3, "requested": 8, "limit": 5},
            {"feature": "searches", "amount": 6},
            ["team"],
        ),
        ("rate_limited", {"limit_name": "account-minute", "limit": 100}, {"requests": 1}, ["team", "enterprise"]),
        ("rate_limited", {"limit_name": "key-minute", "limit": 1}, {"requests": 1}, []),
        ("insufficient_credits", {"required": 9, "available": 4}, {"credits": "0.000005"}, ["team", "pro"]),
        ("debt_outstanding", {"debt": 7}, {"credits": "0.000008"}, ["team", "pro"]),
        ("debt_outstanding", {"debt": 7, "required": 5}, {"credits": "0.000012"}, ["team", "pro"]),
        ("key_credit_limit_exceeded", {"required": 9, "available": 4}, {"key_credits": "0.000005"}, []),
    ],
)
def test_what_would_allow_it(code: str, detail: dict[str, Any], missing: Any, upgrade: list[str]) -> None:
    """Every plan that is named allows it, no other one does."""
    found = offer(code, detail, FREE, PLANS, ALL)
    assert (found["missing"], found["upgrade"]) == (missing, upgrade)
    buyable = [plan for plan in upgrade if PLANS[plan].price]
    assert found["checkout"] == (
        {"method": "POST", "path": "/billing/checkout", "body": {"plan": buyable[0]}} if buyable else None
    )


@pytest.mark.parametrize(("required", "top_up"), [(5, "s"), (10, "s"), (11, "l"), (15_000_001, "l")])
def test_credits_are_topped_up(required: int, top_up: str) -> None:
    """The cheapest that is enough, else the largest."""
    found = offer("insufficient_credits", {"required": required, "available": 0}, PRO, SELLING, ALL)
    assert found["checkout"]["body"] == {"top_up": top_up}


def on_team(seats: int) -> AccountPlan:
    """On the plan by the seat, whose credits it has been granted for a period that begins now."""
    plan = PLANS["team"]
    granted = PeriodCredits(since=0, until=30 * DAY, amount=plan.credits_for(seats))
    return replace(FREE, plan=plan, seats=seats, period=(0, 30 * DAY), period_credits=granted)


@pytest.mark.parametrize(
    ("required", "body"),
    [(1_000, {"top_up": "l"}), (1_001, {"plan": "team"}), (15_000_001, {"plan": "pro"}), (20_000_001, {"top_up": "l"})],
)
def test_a_plan_that_is_enough_comes_before_a_top_up_that_is_not(required: int, body: dict[str, str]) -> None:
    """What is named first helps by itself; where nothing does, the largest top-up is bought several times."""
    found = offer("insufficient_credits", {"required": required, "available": 0}, FREE, SELLING, ALL)
    assert found["checkout"]["body"] == body
    assert found["price"]["per_seat"] is (body == {"plan": "team"})


def test_only_plans_that_grant_enough_are_named() -> None:
    """For one seat, beyond what the account's own seats have been granted: more would have to be bought."""
    for subscription, required, upgrade in (
        (FREE, 15 * MICRO, ["team", "pro"]),
        (FREE, 20 * MICRO, ["pro"]),
        (FREE, 20 * MICRO + 1, []),
        (on_team(1), 5 * MICRO, ["pro"]),
        (on_team(1), 5 * MICRO + 1, []),
        (on_team(3), 1, []),
    ):
        seller = replace(ALL, grants=partial(credits_at_once, known=subscription, now=0))
        found = offer("insufficient_credits", {"required": required, "available": 0}, subscription, PLANS, seller)
        assert found["upgrade"] == upgrade


def test_only_what_is_sold_is_offered() -> None:
    """A plan or a top-up without a price at the provider cannot be checked out."""
    detail = {"required": 5, "available": 0}
    no_pack = Seller(sells=lambda thing: isinstance(thing, Plan) and thing.id != "pro")
    found = offer("insufficient_credits", detail, FREE, SELLING, no_pack)
    assert found["checkout"]["body"] == {"plan": "team"}
    no_team = Seller(sells=lambda thing: isinstance(thing, Plan) and thing.id != "team")
    found = offer("insufficient_credits", detail, FREE, SELLING, no_team)
    assert found["checkout"]["body"] == {"plan": "pro"}
    nothing = offer("insufficient_credits", detail, FREE, SELLING, Seller(sells=lambda _thing: False))
    assert (nothing["price"], nothing["checkout"]) == (None, None)


def test_the_cheapest_that_fits_is_offered_whatever_the_order() -> None:
    """By what a month of the account's seats costs; the first in the file of those that cost the same."""
    named = {name: replace(SHIPPED["pro"], id=name, price=price) for name, price in (("b", 30), ("c", 20), ("d", 20))}
    by_seat = replace(SHIPPED["team"], id="a", price=8)
    plans = Plans(
        {"free": SHIPPED["free"], **named, "a": by_seat, "custom": replace(named["b"], id="custom", price=None)}
    )
    detail = {"used": 100}
    one = offer("messages_quota_exceeded", detail, FREE, plans, ALL)
    assert (one["upgrade"], one["checkout"]["body"]) == (["a", "c", "d", "b", "custom"], {"plan": "a"})
    three = replace(FREE, plan=replace(by_seat, id="old"), seats=3)
    many = offer("messages_quota_exceeded", detail, three, plans, ALL)
    assert (many["upgrade"], many["checkout"]["body"]) == (["c", "d", "a", "b", "custom"], {"plan": "c"})
    only = Plans({"free": SHIPPED["free"], "a": by_seat})
    seated = offer("messages_quota_exceeded", detail, three, only, ALL)
    assert seated["checkout"]["body"] == {"plan": "a", "seats": 3}


@pytest.mark.parametrize(("debt", "required", "top_up"), [(4, 6, "s"), (5, 6, "l"), (10, 0, "l"), (9, 0, "s")])
def test_a_top_up_covers_the_debt_and_what_is_missing(debt: int, required: int, top_up: str) -> None:
    """What only repays the debt leaves nothing for the request."""
    found = offer("debt_outstanding", {"debt": debt, "required": required}, PRO, SELLING, ALL)
    assert found["checkout"]["body"] == {"top_up": top_up}


def test_a_closed_plan_is_offered_to_nobody() -> None:
    """Who is on it keeps it."""
    plans = Plans({**PLANS, "team": replace(PLANS["team"], closed=True)})
    found = offer("messages_quota_exceeded", {"used": 100}, FREE, plans, ALL)
    assert (found["upgrade"], found["checkout"]["body"]) == (["pro", "enterprise"], {"plan": "pro"})


def test_no_call_is_named_that_would_be_refused() -> None:
    """Where nobody takes the money here, the operator is asked: what it costs and where is told all the same."""
    detail = {"required": 5, "available": 0}
    none = Seller(sells=lambda _thing: True, by_call=False, pricing_url="https://example.com/pricing")
    for selling, amount in ((SELLING, "0.000010"), (PLANS, "15.000000")):
        found = offer("insufficient_credits", detail, FREE, selling, none)
        assert (found["checkout"], found["price"]["amount"]) == (None, amount)
        assert found["pricing_url"] == "https://example.com/pricing"
    nothing = offer("key_credit_limit_exceeded", detail, FREE, PLANS, none)
    assert (nothing["checkout"], "pricing_url" in nothing) == (None, False)


def test_nothing_is_offered_where_nothing_can_be_bought() -> None:
    """Such as for a model without a price."""
    assert offer("model_unpriced", {}, FREE, PLANS, ALL) == {}


def test_a_refusal_keeps_what_it_said() -> None:
    """What is known already is not replaced; the time to wait is that of the quota."""
    error = ApiError("feature_not_in_plan", feature="organizations", upgrade=["mine"])
    explain(error, FREE, PLANS, 0, ALL)
    assert (error.detail["upgrade"], error.detail["missing"]) == (["mine"], {"feature": "organizations"})
    waiting = ApiError("messages_quota_exceeded", kind="too_many", used=1, resets_at="1970-01-01T00:01:00Z")
    explain(waiting, None, PLANS, SECOND // 2, ALL)
    assert waiting.headers == {"Retry-After": "60"}
    explain(waiting, None, PLANS, -SECOND, ALL)
    assert waiting.headers == {"Retry-After": "61", "x-should-retry": "false"}
