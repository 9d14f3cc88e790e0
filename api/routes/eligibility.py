"""`POST /billing/eligibility`: whether something would be let in, without doing it."""

from typing import Annotated, Any

from msgspec import Meta, Struct

from api.account_plan import AccountPlan
from api.api_key_spending import spent_by_key
from api.call import Call
from api.eligibility import Facts, feature_refusal, model_refusal
from api.errors import ApiError, declare
from api.gateway.estimate import dearest_amount
from api.gateway.job import price_for, usable_model
from api.quotas.guard import require_feature
from api.quotas.offers import explain, seller_to
from api.rate_limits.headers import refusal_of
from api.route import Route, needs
from domain.account.quotas import TRACKED_MAX
from domain.money import format_credits
from projections.credits import CreditsView, get_credits
from projections.feature_uses import get_feature_uses

TOKENS_MAX = 10**9

declare(
    "invalid_question",
    "invalid",
    "Name one of model, agent and feature; tokens goes with a model, amount with a feature.",
    "Ask for one thing at a time, with what goes with it.",
)
declare(
    "agent_not_found",
    "not_found",
    "There is no such agent.",
    "Ask for a `model` or a `feature`: no agent is on offer here.",
)


class Question(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One of `model`, `agent` and `feature`. `tokens` are those of prompt and answer together."""

    model: Annotated[str, Meta(min_length=1, max_length=200)] | None = None
    tokens: Annotated[int, Meta(ge=1, le=TOKENS_MAX)] | None = None
    agent: Annotated[str, Meta(min_length=1, max_length=200)] | None = None
    feature: Annotated[str, Meta(min_length=1, max_length=50)] | None = None
    amount: Annotated[int, Meta(ge=1, le=TRACKED_MAX)] | None = None


class OfferPrice(Struct, frozen=True, kw_only=True):
    """US dollars; `period` is null for what is bought once."""

    amount: str
    currency: str
    period: str | None
    per_seat: bool = False


class CheckoutCall(Struct, frozen=True, kw_only=True):
    """The call that buys it."""

    method: str
    path: str
    body: dict[str, str | int]


class Slots(Struct, frozen=True, kw_only=True):
    """Agents that the plan has room for; null is unlimited."""

    limit: int | None
    used: int
    remaining: int | None


class Eligibility(Struct, frozen=True, kw_only=True):
    """Whether it would be let in now; if not, the code and the fields of the refusal that it would meet."""

    allowed: bool
    reason: str | None
    """The error's code."""
    message: str | None
    plan: str
    missing: dict[str, Any] | None = None
    upgrade: list[str] = []  # msgspec copies the default
    """Plans that would allow it."""
    price: OfferPrice | None = None
    """Of the smallest step that helps."""
    checkout: CheckoutCall | None = None
    """Null where nothing is bought by a call: the operator sells then."""
    pricing_url: str | None = None
    """The operator's page for people who want to buy, where there is one."""
    resets_at: str | None = None
    """When time alone will allow it."""
    cost: str | None = None
    """Of a model: what so many tokens cost at most."""
    available: str | None = None
    """Of a model: the account's credits."""
    slots: Slots | None = None
    """Of an agent."""


async def ask(call: Call[Question, None]) -> Eligibility:
    """Decides as the gateway would, on what the read models show, and reserves nothing."""
    body = call.body
    named = [each for each in (body.model, body.agent, body.feature) if each is not None]
    if len(named) != 1 or (body.tokens and not body.model) or (body.amount and not body.feature):
        raise ApiError("invalid_question")
    subscription = call.caller.subscription
    assert subscription is not None
    more: dict[str, Any] = {}
    try:
        _check_caller(call)
        if body.model is not None:
            refusal = await _model(call, body.model, subscription, more)
        elif body.feature is not None:
            refusal = await _feature(call, body.feature, subscription)
        else:
            refusal = _agent(subscription, more)
    except ApiError as error:
        refusal = error
    return _answered(call, subscription, refusal, more)


def _check_caller(call: Call[Question, None]) -> None:
    """What the endpoint refuses before any route is asked: the next request has this one counted already."""
    if call.caller.suspended:
        raise ApiError("account_suspended")
    used_up = call.services.rate_limits.used_up(call.caller)
    if used_up is not None:
        raise refusal_of(used_up)


async def _model(
    call: Call[Question, None], name: str, subscription: AccountPlan, more: dict[str, Any]
) -> ApiError | None:
    if "models:invoke" not in call.caller.scopes:
        raise ApiError("missing_scope", required_scope="models:invoke")
    price = price_for(call, usable_model(call, name))
    facts = await _facts(call, subscription)
    tokens = call.body.tokens or 1
    more |= {
        "cost": format_credits(dearest_amount(tokens, price)),
        "available": format_credits(facts.credits.available),
    }
    return model_refusal(facts, name, price, tokens)


async def _feature(call: Call[Question, None], feature: str, subscription: AccountPlan) -> ApiError | None:
    if feature not in call.services.plans.features:
        raise ApiError("feature_not_found", param="feature")
    require_feature(subscription, feature)
    services, account_id = call.services, call.caller.account_id
    facts = Facts(
        subscription=subscription,
        credits=CreditsView(account_id=account_id),  # features cost no credits
        uses=await get_feature_uses(services.documents, services.shards, account_id),
        now=services.clock(),
        enforced=services.settings.limits,
    )
    return feature_refusal(facts, feature, call.body.amount or 1)


def _agent(subscription: AccountPlan, more: dict[str, Any]) -> ApiError:
    """No agent can be hired yet, so none is known; what the plan has room for is said all the same."""
    limit = subscription.plan.agent_slots
    more["slots"] = Slots(limit=limit, used=0, remaining=limit)
    return ApiError("agent_not_found", param="agent")


async def _facts(call: Call[Question, None], subscription: AccountPlan) -> Facts:
    services, caller = call.services, call.caller
    account_id = caller.account_id
    credits = await get_credits(services.documents, services.shards, account_id)
    now = services.clock()
    spent = held = 0
    if caller.key_id is not None and caller.limits.credit_limit is not None:
        spent, held = await spent_by_key(services, account_id, caller.key_id, caller.limits.credit_period, now)
    return Facts(
        subscription=subscription,
        credits=credits,
        now=now,
        suspended=caller.suspended,
        enforced=services.settings.limits,
        key_id=caller.key_id,
        limits=caller.limits,
        key_spent=spent,
        key_held=held,
    )


def _answered(
    call: Call[Question, None], subscription: AccountPlan, refusal: ApiError | None, more: dict[str, Any]
) -> Eligibility:
    if refusal is None:
        return Eligibility(allowed=True, reason=None, message=None, plan=subscription.plan.id, **more)
    services = call.services
    now, pricing_url = services.clock(), services.settings.billing.pricing_url
    seller = seller_to(call.caller.account_id, subscription, services.billing, pricing_url, now)
    explain(refusal, subscription, services.plans, now, seller)
    detail = refusal.detail
    price, checkout = detail.get("price"), detail.get("checkout")
    return Eligibility(
        allowed=False,
        reason=refusal.code,
        message=refusal.message,
        plan=subscription.plan.id,
        missing=detail.get("missing"),
        upgrade=detail.get("upgrade", []),
        price=None if price is None else OfferPrice(**price),
        checkout=None if checkout is None else CheckoutCall(**checkout),
        pricing_url=detail.get("pricing_url"),
        resets_at=detail.get("resets_at"),
        **more,
    )


ROUTES = (
    Route(
        method="POST",
        path="/billing/eligibility",
        handler=ask,
        summary="Check eligibility",
        description=(
            "Answers for a model and a number of tokens, a feature, or an agent, with the code that enforces it and"
            " without doing anything. A refusal says what is missing, which plans would allow it, and the call that"
            " buys it."
        ),
        tag="billing",
        access=needs("billing:read", while_suspended=True, project=True),
        body=Question,
        answers={200: Eligibility},
        errors=("invalid_question",),
        example={"model": "fs-basic", "tokens": 1000},
    ),
)
