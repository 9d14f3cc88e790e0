"""Payments for one and the same period of a plan: its credits stand as long as one that covers them does.

Two checkout pages that were open at once, or a provider that collects twice, bring a second payment for a period that
is granted once. What was paid beyond what the plan grants is spare; money that leaves takes the spare first, and only
what is beyond that takes credits. A payment that is alone with its period has no spare.
"""

from collections.abc import Mapping

from domain.account.payment import Bought, PaidPeriod, Payment
from domain.account.subscription_period import PeriodCredits, credited
from domain.instant import DAY, Instant
from domain.money import MicroCredits

NEAR: Instant = DAY
"""How far two payments for one period may lie apart: as long as a page to pay on can be open."""


def to_take(payments: Mapping[str, Payment], payment_id: str) -> dict[str, MicroCredits]:
    """How many credits should be away, by payment: of the one that is named and of those for the same period.

    A function of what is known of them, so that news may come in any order.
    """
    together = same_period(payments, payment_id)
    spare = _spare([each.bought for each in together.values() if each.bought is not None])
    away = {}
    for name, payment in sorted(together.items(), key=_newest_first):
        forgiven = min(payment.gone(), spare)
        spare -= forgiven
        away[name] = payment.gone() - forgiven
    return away


def _newest_first(named: tuple[str, Payment]) -> tuple[Instant, str]:
    bought = named[1].bought
    return (0 if bought is None or bought.period is None else -bought.period.since, named[0])


def same_period(payments: Mapping[str, Payment], payment_id: str) -> dict[str, Payment]:
    """The payment, and the others that cover its period."""
    payment = payments[payment_id]
    found = {payment_id: payment}
    if payment.bought is not None and payment.bought.period is not None and not payment.replaced:
        bought = payment.bought
        found |= {
            name: each
            for name, each in payments.items()
            if each.bought is not None and not each.replaced and covers_same(each.bought, bought)
        }
    return found


def covers_same(one: Bought, other: Bought) -> bool:
    """Whether both are for the same period of a plan."""
    return one.period is not None and other.period is not None and near(one.period, other.period)


def near(one: PaidPeriod, other: PaidPeriod) -> bool:
    """Whether two periods that were paid for are one and the same of the plan."""
    return abs(one.since - other.since) <= NEAR and abs(one.until - other.until) <= NEAR


def _spare(bought: list[Bought]) -> MicroCredits:
    """What was paid for beyond what the periods were granted; the dearest payment alone has none."""
    if len(bought) <= 1:
        return 0
    granted = max(_granted(bought), *(each.credits for each in bought))
    return max(sum(each.credits for each in bought) - granted, 0)


def _granted(bought: list[Bought]) -> MicroCredits:
    """What the plan grants for these periods, as it does it: what was granted before counts."""
    known: PeriodCredits | None = None
    total = 0
    for period in sorted((each.period for each in bought if each.period is not None), key=lambda each: each.since):
        known, more = credited(known, period.since, period.until, period.entitled)
        total += more
    return total
