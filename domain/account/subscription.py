"""The subscription of an account: which plan was paid for, as the payment side confirmed it.

News come in any order and more than once; the latest by `occurred_at`, and of one moment by `reference`, is what holds,
so that every order of arrival ends in the same state. What time makes of it, and its owner, is in
`subscription_change`.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Literal, TypeAlias

from msgspec import Struct, structs

from domain.account import subscription_period
from domain.account.credits import CreditsGranted
from domain.account.paid_periods import NEAR, near
from domain.account.payment import Bought, PaidPeriod
from domain.account.payments import PaymentReplaced
from domain.account.plan_terms import FREE, SEATS_MAX, PlanTerms
from domain.account.subscription_period import LATEST, PERIOD_MAX, START_AHEAD_MAX, PeriodCredits
from domain.aggregate import Answer
from domain.errors import Invalid
from domain.instant import DAY, Instant
from domain.message import Command, Event
from domain.money import AMOUNT_MAX, MicroCredits

if TYPE_CHECKING:
    from domain.account.account import Account

SubscriptionStatus: TypeAlias = Literal["trialing", "active", "past_due", "canceled"]


class ConfirmSubscription(Command, frozen=True, kw_only=True, tag="subscription.confirm"):
    """Tells what was paid for. Its command id is derived from account and reference, so one reference counts once."""

    category = "account"
    shed = False  # it has happened, whether we are busy or not
    plan: str
    status: SubscriptionStatus
    terms: PlanTerms
    occurred_at: Instant
    reference: str
    period_start: Instant | None = None
    """`None`: it starts when the command is applied."""
    period_end: Instant | None = None
    """`None`: it lasts a month, a trial the plan's days."""
    seats: int | None = None
    """`None` of a plan by the seat: as many as the account had with it, or one."""
    paid: bool = True
    """False: the period has begun, but its money is still to come. It is granted nothing until news say that it has."""
    credits_paid: MicroCredits | None = None
    """Of a period that was not billed as it is now, as by a change in its midst: the credits that its payments stand
    for so far. It is granted no more. `None`: what the plan grants for the whole of it."""
    renews_by_itself: bool | None = None
    """When its period ends: renewed where nobody bills it, else past due. `None`: time changes nothing, as it was
    before there were periods."""


class SubscriptionConfirmed(Event, frozen=True, kw_only=True, tag="subscription.confirmed"):
    """The subscription as it is from now on; `occurred_at` is when the payment side saw it."""

    plan: str
    status: SubscriptionStatus
    terms: PlanTerms
    occurred_at: Instant
    reference: str
    period_start: Instant | None
    period_end: Instant | None
    seats: int | None
    confirmed_at: Instant
    plan_before: str | None = None
    status_before: SubscriptionStatus | None = None
    renews_by_itself: bool | None = None
    anchor_day: int = 1
    """The day of the month on which periods begin, of those months that have it."""
    grace_until: Instant | None = None
    """Until when a subscription that is past due goes on; kept when that is over, until it is paid again."""
    period_credits: PeriodCredits | None = None
    """What the period has been granted with this; `None` where that is nothing."""
    scheduled_kept: bool = False
    """What was to change at the period's end still is: its owner has asked for it after this had occurred."""
    repeated: bool = False
    """Nothing is new but `occurred_at` and `reference`: nobody needs to be told."""


class ScheduledChange(Struct, frozen=True, kw_only=True):
    """What becomes of the subscription when its period ends: it is canceled, or goes on with this plan and seats."""

    plan: str
    terms: PlanTerms
    seats: int | None
    cancel: bool
    effective_at: Instant
    requested_at: Instant


class SubscriptionScheduled(Event, frozen=True, kw_only=True, tag="subscription.scheduled"):
    """What will change when the period ends; `None` drops what was to."""

    change: ScheduledChange | None
    scheduled_at: Instant


class Subscription(Struct, kw_only=True):
    """The latest news. `terms` is `None` while nothing was ever confirmed: the plan is free then."""

    plan: str = FREE
    status: SubscriptionStatus = "active"
    terms: PlanTerms | None = None
    occurred_at: Instant = -1
    reference: str = ""
    period_start: Instant | None = None
    period_end: Instant | None = None
    seats: int | None = None
    renews_by_itself: bool | None = None
    anchor_day: int = 1
    grace_until: Instant | None = None
    period_credits: PeriodCredits | None = None
    scheduled: ScheduledChange | None = None
    wake_at: Instant | None = None
    """When time changes it next."""

    def wakes_by(self, at: Instant) -> bool:
        """Tells whether time has changed it by `at`."""
        return self.wake_at is not None and self.wake_at <= at


COMMANDS = (ConfirmSubscription,)
EVENTS = (SubscriptionConfirmed,)


def decide(
    account: "Account", command: ConfirmSubscription, at: Instant
) -> Sequence[SubscriptionConfirmed | SubscriptionScheduled | CreditsGranted | PaymentReplaced]:
    """The news and the credits of their period, unless newer ones are known: then nothing.

    `Invalid` on a period or a number of seats that is none.
    """
    check(command, at)
    known = account.subscription
    if (command.occurred_at, command.reference) <= (known.occurred_at, known.reference):
        return []
    command = structs.replace(command, seats=_seats(known, command))
    start, end = _period(known, command, at)
    replaced = _replaced(account, command, start, end)
    credits, amount = _credits(account, command, start, end, replaced)
    confirmed = SubscriptionConfirmed(
        plan=command.plan,
        status=command.status,
        terms=command.terms,
        occurred_at=command.occurred_at,
        reference=command.reference,
        period_start=start,
        period_end=end,
        seats=command.seats,
        confirmed_at=at,
        plan_before=known.plan,
        status_before=known.status,
        renews_by_itself=command.renews_by_itself,
        anchor_day=known.anchor_day if start is None else subscription_period.anchor_day(start, end),
        grace_until=_grace_until(known, command, at),
        period_credits=credits if amount else None,
        scheduled_kept=_keeps_scheduled(known, command),
    )
    confirmed = structs.replace(confirmed, repeated=_is_known(known, confirmed))
    if end is None:
        return [confirmed]
    grants = subscription_period.grant(account, command.plan, credits, amount, end, at)
    return [
        confirmed,
        *_rescheduled(known, confirmed, end),
        *grants,
        *(PaymentReplaced(payment_id=name) for name in replaced),
    ]


def check(command: ConfirmSubscription, at: Instant | None = None) -> None:
    """`Invalid` on what can never be right. Whoever sends the command asks first: a refusal would be final.

    `at` is when it is told, and when a period starts that says no start of its own.
    """
    start, end, seats = command.period_start, command.period_end, command.seats
    for name, moment in (("period_start", start), ("period_end", end)):
        if moment is not None and not 0 <= moment <= LATEST:
            raise Invalid("invalid_subscription", f"{name} must lie between 1970 and 2200.", param=name)
    if start is not None and at is not None and start > at + START_AHEAD_MAX:
        raise Invalid("invalid_subscription", "period_start must lie within a year from now.", param="period_start")
    too_long = end is not None and start is None and at is not None and end > at + PERIOD_MAX
    if too_long or (start is not None and end is not None and not start < end <= start + PERIOD_MAX):
        message = "period_start must lie before period_end, by three years at most."
        raise Invalid("invalid_subscription", message, param="period_end")
    most = SEATS_MAX if command.terms.seats is None else command.terms.seats
    if seats is not None and not 1 <= seats <= most:
        raise Invalid("invalid_subscription", f"seats must be 1 to {most} with this plan.", param="seats")
    if command.terms.credits_for(seats) > AMOUNT_MAX:
        message = "The credits of so many seats are more than can be granted at once."
        raise Invalid("invalid_subscription", message, param="seats")


def _seats(known: Subscription, command: ConfirmSubscription) -> int | None:
    """Those that were told. A plan by the seat is paid for by the seat: else as many as it had, and one at first."""
    if command.seats is not None or not command.terms.per_seat:
        return command.seats
    before = known.seats if known.plan == command.plan and known.seats is not None else 1
    return before if command.terms.seats is None else min(before, command.terms.seats)


def _period(known: Subscription, command: ConfirmSubscription, at: Instant) -> tuple[Instant | None, Instant | None]:
    """The period of the news; news of what is not paid leave the running one, unless they say another."""
    start, end = command.period_start, command.period_end
    if command.renews_by_itself is None:
        return start, end
    if command.status in ("past_due", "canceled") and start is None and end in (None, known.period_end):
        start, end = known.period_start, known.period_end
    if start is None:
        start = at if end is None or at < end else subscription_period.begin_of(end)
    if end is None:
        trial_days = command.terms.trial_days if command.status == "trialing" else 0
        end = start + trial_days * DAY if trial_days else subscription_period.month_from(start)
    return start, end


def _credits(
    account: "Account",
    command: ConfirmSubscription,
    start: Instant | None,
    end: Instant | None,
    replaced: Mapping[str, MicroCredits],
) -> tuple[PeriodCredits | None, int]:
    """What the period has been granted then, and how much of it is still missing; nothing for what is not paid."""
    known = account.subscription
    if not _grants(command):
        return known.period_credits, 0
    assert start is not None
    assert end is not None
    entitled = subscription_period.entitlement(command.plan, command.terms, command.seats)
    if command.credits_paid is not None:
        entitled = min(entitled, command.credits_paid)
    before = known.period_credits
    if before is not None and replaced:
        before = structs.replace(before, amount=max(before.amount - sum(replaced.values()), 0))
    return subscription_period.credited(before, start, end, entitled)


def _grants(command: ConfirmSubscription) -> bool:
    return command.renews_by_itself is not None and command.paid and command.status in ("trialing", "active")


def _replaced(
    account: "Account", command: ConfirmSubscription, start: Instant | None, end: Instant | None
) -> Mapping[str, MicroCredits]:
    """What was taken back of the period before, by payment, where the plan is bought anew: that counts no more.

    Not of a payment that is left in part and for the very period that is paid again: both pay for it then, and what
    the new one has to spare makes up for what the other has lost (`paid_periods`).
    """
    known = account.subscription
    before = known.period_credits
    if not _grants(command) or known.status != "canceled" or before is None or start is None or start <= before.since:
        return {}
    assert end is not None
    anew = PaidPeriod(since=start, until=end, entitled=0)
    return {
        name: each.taken
        for name, each in account.payments.by_id.items()
        if each.taken
        and not each.replaced
        and each.bought is not None
        and _paid_for(each.bought, before)
        and not _shares(each.bought, each.taken, anew)
    }


def _shares(bought: Bought, taken: MicroCredits, anew: PaidPeriod) -> bool:
    return taken < bought.credits and bought.period is not None and near(bought.period, anew)


def _paid_for(bought: Bought, credits: PeriodCredits) -> bool:
    if bought.source != subscription_period.SOURCE or bought.expires_at is None:
        return False
    return abs(bought.expires_at - credits.until) <= NEAR


def _grace_until(known: Subscription, command: ConfirmSubscription, at: Instant) -> Instant | None:
    """A payment that fails again and again lengthens no grace, and gives no other one when it is over."""
    if command.status != "past_due":
        return None
    return at + command.terms.grace_days * DAY if known.grace_until is None else known.grace_until


def _keeps_scheduled(known: Subscription, command: ConfirmSubscription) -> bool:
    scheduled = known.scheduled
    return scheduled is not None and command.status != "canceled" and command.occurred_at <= scheduled.requested_at


def _is_known(known: Subscription, confirmed: SubscriptionConfirmed) -> bool:
    """Whether the news say only what is known, grant nothing, and leave what is scheduled."""
    names = ("plan", "status", "terms", "period_start", "period_end", "seats", "renews_by_itself", "grace_until")
    same = all(getattr(known, name) == getattr(confirmed, name) for name in names)
    return same and confirmed.period_credits is None and (known.scheduled is None or confirmed.scheduled_kept)


def _rescheduled(known: Subscription, confirmed: SubscriptionConfirmed, end: Instant) -> list[SubscriptionScheduled]:
    """What was to change at the period's end still does, where that is another now."""
    change = known.scheduled if confirmed.scheduled_kept else None
    if change is None or change.effective_at == end or confirmed.status == "past_due":
        return []
    moved = structs.replace(change, effective_at=end)
    return [SubscriptionScheduled(change=moved, scheduled_at=confirmed.confirmed_at)]


def evolve(subscription: Subscription, event: SubscriptionConfirmed) -> None:
    """Writes the news down."""
    subscription.plan = event.plan
    subscription.status = event.status
    subscription.terms = event.terms
    subscription.occurred_at = event.occurred_at
    subscription.reference = event.reference
    subscription.period_start = event.period_start
    subscription.period_end = event.period_end
    subscription.seats = event.seats
    subscription.renews_by_itself = event.renews_by_itself
    subscription.anchor_day = event.anchor_day
    subscription.grace_until = event.grace_until
    subscription.period_credits = event.period_credits or subscription.period_credits
    if not event.scheduled_kept:
        subscription.scheduled = None
    reckon_wake(subscription)


def reckon_wake(subscription: Subscription) -> None:
    """Sets `wake_at`: the end of the period or of the grace, which the free plan has not. Changes `subscription`."""
    if subscription.renews_by_itself is None or subscription.plan == FREE:
        subscription.wake_at = None
    elif subscription.status in ("trialing", "active"):
        ends = subscription.period_end
        change = subscription.scheduled
        subscription.wake_at = ends if change is None or ends is None else min(ends, change.effective_at)
    else:
        subscription.wake_at = subscription.grace_until if subscription.status == "past_due" else None


def answer(account: "Account", _command: ConfirmSubscription, events: Sequence[Event]) -> Answer:
    """Whether the news were news, and the subscription after them."""
    return {"applied": any(isinstance(event, SubscriptionConfirmed) for event in events)} | answer_of(account)


def answer_of(account: "Account") -> Answer:
    """The subscription as it is now."""
    now = account.subscription
    change = now.scheduled
    return {
        "plan": now.plan,
        "status": now.status,
        "period_start": now.period_start,
        "period_end": now.period_end,
        "seats": now.seats,
        "occurred_at": now.occurred_at,
        "reference": now.reference,
        "renews_by_itself": now.renews_by_itself,
        "grace_until": now.grace_until,
        "scheduled": None
        if change is None
        else {
            "effective_at": change.effective_at,
            "cancel": change.cancel,
            "plan": change.plan,
            "seats": change.seats,
        },
    }
