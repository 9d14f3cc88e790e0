"""The subscription of an account: shown, and confirmed by the payment side."""

from typing import Annotated, TypeAlias

from msgspec import Meta, Struct
from msgspec.structs import replace

from api.account_plan import subscription_in_force, terms_of
from api.accounts import require_account
from api.call import Call
from api.command_log.commands import data_of
from api.credits_shown import Reference
from api.errors import ApiError, declare
from api.identity.acting import is_org_id
from api.ids import derived
from api.parts import Services
from api.plain_text import is_plain
from api.plans import Plans
from api.quotas.features import window_shown
from api.quotas.windows import asked_messages, standing
from api.rfc3339 import parse_instant
from api.route import Route, needs
from api.subscription_shown import SubscriptionShown, answered_fields, subscription_fields
from domain.account.holds import Sweep
from domain.account.plan_terms import SEATS_MAX
from domain.account.subscription import ConfirmSubscription, SubscriptionStatus, check
from domain.account.subscription_period import SOURCE
from domain.instant import MINUTE, Instant
from domain.member import MEMBERS_MAX
from domain.money import format_credits
from eventstore.records import Outcome
from projections.credits import CreditsView, get_credits
from projections.members import list_members

AHEAD_MAX: Instant = 5 * MINUTE
"""How far the payment side's clock may be ahead of ours: news of the far future would outlast all that follow."""

declare("unknown_plan", "invalid", "There is no such plan.", "Use an id that GET /billing/plans lists.")
declare(
    "invalid_subscription",
    "invalid",
    "The subscription cannot be right.",
    "`param` names the field: periods begin within a year and end later, `seats` fit the plan, news are past.",
)
declare(
    "subscription_reference_conflict",
    "conflict",
    "Other news came under this reference before.",
    "Use a new reference for new news; the same one only to repeat a request unchanged.",
)

Moment: TypeAlias = Annotated[str, Meta(description="RFC 3339.", extra_json_schema={"format": "date-time"})]


class SubscriptionNews(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the payment side knows. The latest `occurred_at` holds; put no personal data into `reference`.

    Without `period_start` the period starts when this is applied, without `period_end` it lasts a month. Without
    `seats` a plan by the seat has as many as the account had with it, or one at first.
    """

    account_id: Annotated[str, Meta(max_length=100)]
    plan: Annotated[str, Meta(min_length=1, max_length=100, description="An id of `GET /billing/plans`.")]
    status: SubscriptionStatus
    occurred_at: Moment
    reference: Reference
    period_start: Moment | None = None
    period_end: Moment | None = None
    seats: Annotated[int, Meta(ge=1, le=SEATS_MAX)] | None = None


class Remaining(Struct, frozen=True, kw_only=True):
    """What is left right now; null is unlimited. Requests as far as this process knows, at most 0.1 s old."""

    credits: str
    plan_credits: str
    """Those of the credits that the plan has granted; they run out with their period."""
    seats: int | None
    """How many more people the account has room for."""
    messages_per_day: int | None
    requests_per_minute: int | None
    requests_per_day: int | None


class SubscriptionStanding(SubscriptionShown, frozen=True, kw_only=True):
    """The subscription, and what is used and left of what it allows."""

    seats_used: int
    """By the members of an organization, or the user alone."""
    remaining: Remaining


class SubscriptionConfirmation(SubscriptionShown, frozen=True, kw_only=True):
    """The subscription after the news. `applied` is false where newer ones were known already."""

    applied: bool
    seats_used: int
    """By the members of an organization, or the user alone. Where it is more than `seats` nobody new is let in."""


async def show(call: Call[None, None]) -> SubscriptionStanding:
    """The subscription of the caller's account."""
    services = call.services
    account_id = call.caller.account_id
    view = replace(await subscription_in_force(services.documents, services.shards, account_id), account_id=account_id)
    credits = await get_credits(services.documents, services.shards, account_id)
    fields, people = subscription_fields(services.plans, view), await _people(services, account_id)
    left = {state.rule.name: state.remaining for state in services.rate_limits.standing(call.caller)}
    remaining = Remaining(
        credits=format_credits(credits.available),
        plan_credits=format_credits(sum(grant.remaining for grant in credits.grants if grant.source == SOURCE)),
        seats=None if fields["seats"] is None else max(fields["seats"] - people, 0),
        messages_per_day=_messages(call, credits),
        requests_per_minute=left.get("account-minute"),
        requests_per_day=left.get("account-day"),
    )
    return SubscriptionStanding(seats_used=people, remaining=remaining, **fields)


def _messages(call: Call[None, None], credits: CreditsView) -> int | None:
    """What is left of the day's messages, in the account's time zone."""
    services, subscription, now = call.services, call.caller.subscription, call.services.clock()
    assert subscription is not None
    asked = asked_messages(subscription, now, enforced=services.settings.limits)
    return None if asked is None else window_shown(standing(credits.messages, asked, now)).remaining


async def _people(services: Services, account_id: str) -> int:
    """Who takes up a seat: the members of an organization, or the user alone."""
    if not is_org_id(account_id):
        return 1
    return len((await list_members(services.documents, services.shards, account_id, limit=MEMBERS_MAX)).items)


async def confirm(call: Call[SubscriptionNews, None]) -> SubscriptionConfirmation:
    """Takes news from the payment side: once for each account and reference, older ones never over newer ones."""
    body, services = call.body, call.services
    command = _command(call)
    await require_account(services, body.account_id)
    told = (command.plan, command.status, command.occurred_at, command.period_start, command.period_end, command.seats)
    draft = call.draft(
        f"account:{body.account_id}",
        account=body.account_id,
        command_id=derived("subscription.confirm", body.account_id, body.reference),
        # Of what was told and not of the request, so that another service may repeat it.
        fingerprint=services.lookup.digest("subscription.confirm", repr(told).encode()),
    )
    if call.idempotency_key is not None:
        # The reference names the command, so the key needs one of its own; see `api.routes.credits`.
        await call.draft(f"account:{call.caller.account_id}").remember(Sweep())
    try:
        outcome = await draft.submit(command)
    except ApiError as error:
        if error.code == "idempotency_key_reused":
            raise ApiError("subscription_reference_conflict", param="reference") from None
        raise
    # Other processes see the stamp within a second; this one takes the new limits now.
    services.identities.cache.stamped((f"account:{body.account_id}",))
    return _confirmed(services.plans, body.account_id, outcome, await _people(services, body.account_id))


def _command(call: Call[SubscriptionNews, None]) -> ConfirmSubscription:
    body, services = call.body, call.services
    if call.caller.mode == "test":
        raise ApiError("live_key_required")
    if not is_plain(body.reference):
        raise ApiError("invalid_text", param="reference")
    plan = services.plans.get(body.plan)
    if plan is None:
        raise ApiError("unknown_plan", f"There is no such plan; there are: {', '.join(services.plans)}.", param="plan")
    occurred_at = parse_instant(body.occurred_at, name="occurred_at", code="invalid_subscription")
    if occurred_at > services.clock() + AHEAD_MAX:
        raise ApiError("invalid_subscription", "occurred_at must not lie in the future.", param="occurred_at")
    command = ConfirmSubscription(
        plan=plan.id,
        status=body.status,
        terms=terms_of(plan),
        occurred_at=occurred_at,
        reference=body.reference,
        period_start=_moment(body.period_start, "period_start"),
        period_end=_moment(body.period_end, "period_end"),
        seats=body.seats,
        renews_by_itself=services.billing.name == "none",
    )
    check(command, services.clock())
    return command


def _moment(text: str | None, name: str) -> Instant | None:
    return None if text is None else parse_instant(text, name=name, code="invalid_subscription")


def _confirmed(plans: Plans, account_id: str, outcome: Outcome, people: int) -> SubscriptionConfirmation:
    """The subscription is the outcome's alone, so that a repeat says what the first answer said."""
    data = data_of(outcome)
    applied = data.pop("applied")
    return SubscriptionConfirmation(applied=applied, seats_used=people, **answered_fields(plans, account_id, data))


ROUTES = (
    Route(
        method="GET",
        path="/billing/subscription",
        handler=show,
        summary="Show the subscription",
        tag="billing",
        access=needs("billing:read", while_suspended=True),
        answers={200: SubscriptionStanding},
    ),
    Route(
        method="PUT",
        path="/billing/subscription",
        handler=confirm,
        summary="Confirm a subscription",
        description=(
            "For admins and their service keys: what the payment side confirmed. The same reference again changes"
            " nothing, and older news never overwrite newer ones."
        ),
        tag="billing",
        access=needs("billing:write", role="admin", fresh=True),
        body=SubscriptionNews,
        answers={200: SubscriptionConfirmation},
        errors=(
            "unknown_plan",
            "invalid_subscription",
            "invalid_text",
            "live_key_required",
            "account_not_found",
            "subscription_reference_conflict",
        ),
        write=True,
        example={
            "account_id": "user_00000000000000000000000000000000",
            "plan": "pro",
            "status": "active",
            "period_start": "2026-11-01T00:00:00Z",
            "period_end": "2026-12-01T00:00:00Z",
            "occurred_at": "2026-11-01T00:00:00Z",
            "reference": "subscription-1001",
        },
    ),
)
