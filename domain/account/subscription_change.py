"""What becomes of a subscription without news: time renews or ends it, its owner cancels it or takes a smaller plan.

trialing ─── period over ───────────────────────▶ past_due ── grace over ──▶ canceled, which leaves the free plan
active ──┬── period over, billed by somebody ───▶ past_due
         └── period over, renews by itself ─────▶ active, for another month and with its credits
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal, TypeAlias

from domain.account import subscription_period
from domain.account.credits import CreditsGranted
from domain.account.plan_terms import FREE, SEATS_MAX, PlanTerms
from domain.account.subscription import (
    ScheduledChange,
    Subscription,
    SubscriptionScheduled,
    SubscriptionStatus,
    answer_of,
    reckon_wake,
)
from domain.account.subscription_period import PeriodCredits
from domain.aggregate import Answer
from domain.errors import Conflict, Invalid, PaymentRequired
from domain.instant import DAY, Instant
from domain.message import Command, Event

if TYPE_CHECKING:
    from domain.account.account import Account

ChangeReason: TypeAlias = Literal["period_ended", "grace_ended", "scheduled", "requested"]


class ChangeSubscription(Command, frozen=True, kw_only=True, tag="subscription.change"):
    """Its owner cancels it, or takes a plan or seats that cost no more. `terms` are those of `plan`.

    With neither of them what was scheduled is dropped.
    """

    category = "account"
    plan: str | None = None
    terms: PlanTerms | None = None
    seats: int | None = None
    cancel: bool = False
    at_period_end: bool = True


class SubscriptionRenewed(Event, frozen=True, kw_only=True, tag="subscription.renewed"):
    """Another period has begun by itself. `skipped` periods before it were left out: nobody had looked for years."""

    plan: str
    status: SubscriptionStatus
    seats: int | None
    period_start: Instant
    period_end: Instant
    period_credits: PeriodCredits | None
    """What the period has been granted with this; `None` where that is nothing."""
    skipped: int
    renewed_at: Instant


class SubscriptionChanged(Event, frozen=True, kw_only=True, tag="subscription.changed"):
    """Plan, seats or status are others, through time or the owner's wish; the period is as it was."""

    reason: ChangeReason
    plan_before: str
    status_before: SubscriptionStatus
    plan: str
    status: SubscriptionStatus
    terms: PlanTerms
    seats: int | None
    grace_until: Instant | None
    changed_at: Instant
    """When it took effect: the end of a period or of the grace, or the moment of the request."""
    asked_at: Instant | None = None
    """When its owner has asked for it: news of what occurred before that come late."""


COMMANDS = (ChangeSubscription,)
EVENTS = (SubscriptionRenewed, SubscriptionChanged, SubscriptionScheduled)
ChangeEvent: TypeAlias = SubscriptionRenewed | SubscriptionChanged | SubscriptionScheduled


def decide(account: "Account", command: ChangeSubscription, at: Instant) -> Sequence[ChangeEvent]:
    """The change, now or scheduled; nothing where it is so already.

    `Conflict` without a subscription of the account's own, or with one that somebody bills: it is changed there.
    `PaymentRequired` for what costs more, `Invalid` for seats that the plan does not have.
    """
    known = account.subscription
    _require_own(known)
    if not command.cancel and command.plan is None and command.seats is None:
        return [SubscriptionScheduled(change=None, scheduled_at=at)] if known.scheduled else []
    change = _wanted(known, command, at)
    if not change.cancel and (change.plan, change.seats) == (known.plan, known.seats):
        return [SubscriptionScheduled(change=None, scheduled_at=at)] if known.scheduled else []
    if not change.cancel:
        _require_no_dearer(known, change)
    if change.effective_at <= at:
        return [_changed(known, change, "requested", at)]
    if known.scheduled is not None and _same(known.scheduled, change):
        return []
    return [SubscriptionScheduled(change=change, scheduled_at=at)]


def _require_own(known: Subscription) -> None:
    if known.terms is None or known.plan == FREE or known.status == "canceled":
        raise Conflict("no_subscription", "The account has no subscription that could be changed.")
    if not known.renews_by_itself:
        raise Conflict("billed_elsewhere", "The subscription is changed where it is paid for.")


def _wanted(known: Subscription, command: ChangeSubscription, at: Instant) -> ScheduledChange:
    assert known.terms is not None
    cancel = command.cancel or command.plan == FREE
    other = command.plan is not None and command.plan != known.plan and not cancel
    terms = command.terms if other and command.terms is not None else known.terms
    seats = known.seats if command.seats is None else command.seats
    if other and command.seats is None:
        # A plan by the seat is paid for by the seat: none named is no room for everybody.
        seats = (known.seats or 1) if terms.per_seat else None
    most = SEATS_MAX if terms.seats is None else terms.seats
    if seats is not None and not 1 <= seats <= most:
        raise Invalid("invalid_subscription", f"seats must be 1 to {most} with this plan.", param="seats")
    later = command.at_period_end and known.status != "past_due" and known.period_end is not None
    return ScheduledChange(
        plan=command.plan if other and command.plan is not None else known.plan,
        terms=terms,
        seats=seats,
        cancel=cancel,
        effective_at=known.period_end if later and known.period_end is not None else at,
        requested_at=at,
    )


def _require_no_dearer(known: Subscription, change: ScheduledChange) -> None:
    """Neither its price nor the credits that it is granted: those are worth their price."""
    assert known.terms is not None
    now, then = known.terms.price_of(known.seats), change.terms.price_of(change.seats)
    dearer = (then is None and change.plan != known.plan) or (now is not None and then is not None and then > now)
    more = change.terms.credits_for(change.seats) > known.terms.credits_for(known.seats)
    if dearer or more:
        raise PaymentRequired(
            "upgrade_not_paid", "What costs more has to be bought.", plan=change.plan, seats=change.seats
        )


def _same(scheduled: ScheduledChange, change: ScheduledChange) -> bool:
    if scheduled.cancel or change.cancel:
        return scheduled.cancel == change.cancel
    return (scheduled.plan, scheduled.seats) == (change.plan, change.seats)


def _changed(
    known: Subscription, change: ScheduledChange, reason: ChangeReason, changed_at: Instant
) -> SubscriptionChanged:
    assert known.terms is not None
    return SubscriptionChanged(
        reason=reason,
        plan_before=known.plan,
        status_before=known.status,
        plan=known.plan if change.cancel else change.plan,
        status="canceled" if change.cancel else known.status,
        terms=known.terms if change.cancel else change.terms,
        seats=known.seats if change.cancel else change.seats,
        grace_until=known.grace_until,
        changed_at=changed_at,
        asked_at=change.requested_at,
    )


def due(account: "Account", at: Instant) -> Sequence[ChangeEvent | CreditsGranted]:
    """The next thing that time has done by `at`: a scheduled change, a renewal, the end of a period or of the grace."""
    known = account.subscription
    if not known.wakes_by(at) or known.terms is None:
        return []
    if known.status == "past_due":
        return [_moved(known, "canceled", "grace_ended")]
    if known.scheduled is not None and known.scheduled.effective_at <= at:
        return [_changed(known, known.scheduled, "scheduled", known.scheduled.effective_at)]
    if known.status == "active" and known.renews_by_itself:
        return _renewal(account, known.terms, at)
    return [_moved(known, "past_due", "period_ended")]


def _moved(known: Subscription, status: SubscriptionStatus, reason: ChangeReason) -> SubscriptionChanged:
    assert known.terms is not None
    assert known.wake_at is not None
    grace_until = known.wake_at + known.terms.grace_days * DAY if status == "past_due" else known.grace_until
    return SubscriptionChanged(
        reason=reason,
        plan_before=known.plan,
        status_before=known.status,
        plan=known.plan,
        status=status,
        terms=known.terms,
        seats=known.seats,
        grace_until=grace_until,
        changed_at=known.wake_at,
    )


def _renewal(account: "Account", terms: PlanTerms, at: Instant) -> Sequence[SubscriptionRenewed | CreditsGranted]:
    known = account.subscription
    assert known.period_end is not None
    start, skipped = subscription_period.after_missed(known.period_end, at, known.anchor_day)
    end = subscription_period.end_of(start, known.anchor_day)
    entitled = subscription_period.entitlement(known.plan, terms, known.seats)
    credits, amount = subscription_period.credited(known.period_credits, start, end, entitled)
    renewed = SubscriptionRenewed(
        plan=known.plan,
        status=known.status,
        seats=known.seats,
        period_start=start,
        period_end=end,
        period_credits=credits if amount else None,
        skipped=skipped,
        renewed_at=at,
    )
    return [renewed, *subscription_period.grant(account, known.plan, credits, amount, end, at)]


def evolve(subscription: Subscription, event: ChangeEvent) -> None:
    """Writes a renewal or a change down; a change that has come leaves nothing scheduled."""
    match event:
        case SubscriptionRenewed():
            subscription.period_start = event.period_start
            subscription.period_end = event.period_end
            subscription.period_credits = event.period_credits or subscription.period_credits
        case SubscriptionChanged():
            subscription.plan = event.plan
            subscription.status = event.status
            subscription.terms = event.terms
            subscription.seats = event.seats
            subscription.grace_until = event.grace_until
            subscription.occurred_at = max(subscription.occurred_at, event.asked_at or subscription.occurred_at)
            if event.reason in ("scheduled", "requested") or event.status == "canceled":
                subscription.scheduled = None
        case SubscriptionScheduled():
            subscription.scheduled = event.change
    reckon_wake(subscription)


def answer(account: "Account", _command: ChangeSubscription, _events: Sequence[Event]) -> Answer:
    """The subscription after the change."""
    return answer_of(account)
