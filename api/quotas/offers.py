"""What would help somebody who was refused: what is missing, which plans have it, what that costs, how to buy it.

The same for the refusals of the gateway, which decides, and the answers of `POST /billing/eligibility`, which only
asks.
"""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from msgspec import Struct

from api.account_plan import AccountPlan
from api.billing.provider import BillingProvider
from api.errors import ApiError
from api.plans import Plan, Plans, TopUp
from api.quotas.plan_credits import credits_at_once
from api.rfc3339 import parse_instant
from domain.instant import SECOND, Instant
from domain.money import MicroCredits, format_credits

Detail = Mapping[str, Any]
Wanted = Callable[[Plan], bool]

CHECKOUT = "/billing/checkout"
PORTAL = "/billing/portal"
SDK_WAIT_S = 60


class Seller(Struct, frozen=True, kw_only=True):
    """What may be bought, and where a plan is: in the provider's portal, or by a checkout."""

    sells: Callable[[Plan | TopUp], bool]
    in_portal: bool = False
    by_call: bool = True
    """False: nothing is bought by a call of ours. The operator sells by means of its own."""
    by_seat: bool = True
    """Whether a checkout takes a number of seats."""
    pricing_url: str | None = None
    """The operator's page for people who want to buy."""
    grants: Callable[[Plan, int], MicroCredits] = Plan.credits_for
    """What taking a plan for so many seats brings at once."""


def seller_to(
    account_id: str, subscription: AccountPlan | None, billing: BillingProvider, pricing_url: str | None, now: Instant
) -> Seller:
    """For an account; the subscription may be another's, whose limits it has: it buys one of its own then."""
    own = subscription is not None and subscription.account_id == account_id
    billed_as = subscription.billed_as if own and subscription is not None else None
    return Seller(
        sells=billing.sells,
        in_portal=billed_as is not None and billing.changes_in_portal(billed_as),
        by_call=billing.name != "none",
        by_seat=billing.name == "stripe",
        pricing_url=pricing_url,
        grants=partial(credits_at_once, known=subscription, now=now)
        if own and subscription is not None
        else Plan.credits_for,
    )


def explain(error: ApiError, subscription: AccountPlan | None, plans: Plans, now: Instant, seller: Seller) -> None:
    """Adds to a refusal what would help, and until when to wait. Changes `error`; most are left as they are."""
    if error.kind == "too_many" and "resets_at" in error.detail:
        wait_s = -(-(parse_instant(error.detail["resets_at"], name="resets_at") - now) // SECOND)
        error.headers = {**error.headers, **_wait(max(wait_s, 1))}
    if subscription is not None:
        error.detail = {**offer(error.code, error.detail, subscription, plans, seller), **error.detail}


def _wait(wait_s: int) -> dict[str, str]:
    """OpenAI's SDKs heed no `Retry-After` of more than a minute, and repeat at once unless they are told not to."""
    never = {"x-should-retry": "false"} if wait_s > SDK_WAIT_S else {}
    return {"Retry-After": str(wait_s), **never}


def offer(code: str, detail: Detail, subscription: AccountPlan, plans: Plans, seller: Seller) -> dict[str, Any]:
    """`missing`, `upgrade`, `price` and `checkout` for a refusal's code; empty where nothing can be bought."""
    found = _NEEDS.get(code)
    if found is None:
        return {}
    missing, wanted = found(detail, subscription, seller)
    fitting = _cheapest_first(
        [plan for plan in plans.on_offer if plan.id != subscription.plan.id and wanted(plan)], _seats(subscription)
    )
    packs = [each for each in plans.top_ups.values() if seller.sells(each)] if code in _BY_CREDITS else []
    sold = [plan for plan in fitting if plan.price and seller.sells(plan)]
    offered = _bought(sold, _top_up(packs, detail, or_any=not sold), _seats(subscription), seller)
    if seller.pricing_url is not None and (fitting or packs):
        offered["pricing_url"] = seller.pricing_url
    return {"missing": missing, "upgrade": [plan.id for plan in fitting], **offered}


def _seats(subscription: AccountPlan) -> int:
    """How many seats another plan would be bought with: as many as are paid for."""
    return (subscription.seats or 1) if subscription.plan.per_seat else 1


def _cheapest_first(fitting: list[Plan], seats: int) -> list[Plan]:
    """By what a month of the account's seats costs; plans by agreement last, and ties as they are in the file."""
    prices = {plan.id: plan.price_of(seats) for plan in fitting}
    return sorted(fitting, key=lambda plan: (prices[plan.id] is None, prices[plan.id] or 0))


def _bought(sold: list[Plan], top_up: TopUp | None, seats: int, seller: Seller) -> dict[str, Any]:
    """The smallest step that helps: a top-up, or the first plan."""
    if top_up is not None:
        price = {"amount": format_credits(top_up.price), "currency": "USD", "period": None, "per_seat": False}
        return {"price": price, "checkout": checkout_call({"top_up": top_up.id}) if seller.by_call else None}
    if not sold:
        return {"price": None, "checkout": None}
    plan = sold[0]
    price = {"amount": format_credits(plan.price or 0), "currency": "USD", "period": "month", "per_seat": plan.per_seat}
    body = {"plan": plan.id} | ({"seats": seats} if plan.per_seat and seats > 1 and seller.by_seat else {})
    call = {"method": "POST", "path": PORTAL, "body": {}} if seller.in_portal else checkout_call(body)
    return {"price": price, "checkout": call if seller.by_call else None}


def checkout_call(body: Mapping[str, Any]) -> dict[str, Any]:
    """The call that begins a purchase; the addresses of the pages to come back to are the caller's to add."""
    return {"method": "POST", "path": CHECKOUT, "body": body}


def _top_up(packs: list[TopUp], detail: Detail, *, or_any: bool) -> TopUp | None:
    """The cheapest that is enough; else, with `or_any`, the one with the most credits: it is bought several times."""
    needed = _short(detail)
    enough = [each for each in packs if each.credits >= needed]
    if enough:
        return min(enough, key=lambda each: (each.price, each.id))
    return max(packs, key=lambda each: (each.credits, each.id), default=None) if or_any else None


def _short(detail: Detail) -> MicroCredits:
    """What has to come in for the request to pass: debt is repaid first, and something must be left of it then."""
    if "debt" in detail:
        return int(detail["debt"]) + max(int(detail.get("required", 0)), 1)
    return max(int(detail.get("required", 0)) - int(detail.get("available", 0)), 0)


def _credits(detail: Detail, subscription: AccountPlan, seller: Seller) -> tuple[dict[str, Any], Wanted]:
    """What the plan grants at once has to be enough: the rest of it comes when it helps no more."""
    short, seats = _short(detail), _seats(subscription)
    return {"credits": format_credits(short)}, lambda plan: seller.grants(plan, seats) >= max(short, 1)


def _feature(detail: Detail, _subscription: AccountPlan, _seller: Seller) -> tuple[dict[str, Any], Wanted]:
    feature = str(detail["feature"])
    return {"feature": feature}, lambda plan: feature in plan.features


def _organizations(detail: Detail, _subscription: AccountPlan, _seller: Seller) -> tuple[dict[str, Any], Wanted]:
    needed = detail["limit"] + 1
    return {"organizations": 1}, lambda plan: "organizations" in plan.features and _allows(plan.organizations, needed)


def _messages(detail: Detail, _subscription: AccountPlan, _seller: Seller) -> tuple[dict[str, Any], Wanted]:
    return {"messages": 1}, lambda plan: _allows(plan.messages_per_day, detail["used"] + 1)


def _metered(detail: Detail, _subscription: AccountPlan, _seller: Seller) -> tuple[dict[str, Any], Wanted]:
    feature, _, period = str(detail["quota"]).rpartition(".")
    needed = detail["used"] + detail["requested"]

    def wanted(plan: Plan) -> bool:
        limits = plan.feature_limits.get(feature)
        return feature in plan.features and (limits is None or _allows(getattr(limits, period), needed))

    return {"feature": feature, "amount": needed - detail["limit"]}, wanted


def _requests(detail: Detail, _subscription: AccountPlan, _seller: Seller) -> tuple[dict[str, Any], Wanted]:
    name, limit = detail["limit_name"], detail["limit"]
    if name not in _RATES:  # the key's own
        return {"requests": 1}, lambda _plan: False
    return {"requests": 1}, lambda plan: _allows(getattr(plan, _RATES[name]), limit + 1)


def _key_credits(detail: Detail, _subscription: AccountPlan, _seller: Seller) -> tuple[dict[str, Any], Wanted]:
    return {"key_credits": format_credits(_short(detail))}, lambda _plan: False


def _allows(limit: int | None, needed: int) -> bool:
    return limit is None or limit >= needed


_RATES = {"account-minute": "requests_per_minute", "account-day": "requests_per_day"}
_BY_CREDITS = frozenset({"insufficient_credits", "debt_outstanding"})
_NEEDS: Mapping[str, Callable[[Detail, AccountPlan, Seller], tuple[dict[str, Any], Wanted]]] = {
    "insufficient_credits": _credits,
    "debt_outstanding": _credits,
    "key_credit_limit_exceeded": _key_credits,
    "feature_not_in_plan": _feature,
    "organizations_used_up": _organizations,
    "messages_quota_exceeded": _messages,
    "feature_quota_exceeded": _metered,
    "rate_limited": _requests,
}
"""What is missing by a refusal's code, and which plans would allow it."""
