"""What an API key may use beside what its account may: rates of requests, and credits in a period."""

from typing import Literal, TypeAlias

from msgspec import UNSET, Struct, UnsetType, structs

from domain.errors import Invalid
from domain.money import AMOUNT_MAX, MicroCredits

CreditPeriod: TypeAlias = Literal["total", "day", "month"]
"""Over what a credit limit counts: for ever, or by days or calendar months in UTC."""

REQUESTS_MAX = 1_000_000_000


class KeyLimits(Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """What a key may use, beside what its account may; `None` is no limit of its own."""

    requests_per_minute: int | None = None
    requests_per_day: int | None = None
    credit_limit: MicroCredits | None = None
    credit_period: CreditPeriod = "total"


NO_LIMITS = KeyLimits()


class RateLimit(Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """The rates among a key's limits, which are changed together."""

    requests_per_minute: int | None = None
    requests_per_day: int | None = None


class CreditLimit(Struct, frozen=True, kw_only=True, gc=False):
    """The most that a key may spend in a period."""

    amount: MicroCredits
    period: CreditPeriod


def changed_limits(
    limits: KeyLimits, rate_limit: RateLimit | UnsetType | None, credit_limit: CreditLimit | UnsetType | None
) -> KeyLimits:
    """The limits after a change: `None` takes the rates or the credit limit away, what is left out stays."""
    if rate_limit is not UNSET:
        rates = rate_limit or RateLimit()
        limits = structs.replace(
            limits, requests_per_minute=rates.requests_per_minute, requests_per_day=rates.requests_per_day
        )
    if credit_limit is UNSET:
        return limits
    if credit_limit is None:
        return structs.replace(limits, credit_limit=None, credit_period="total")
    return structs.replace(limits, credit_limit=credit_limit.amount, credit_period=credit_limit.period)


def require_limits(limits: KeyLimits) -> None:
    """`Invalid` for a rate or an amount that is none."""
    rates = (limits.requests_per_minute, limits.requests_per_day)
    if not all(rate is None or 1 <= rate <= REQUESTS_MAX for rate in rates):
        raise Invalid("invalid_limit", "A rate must lie between 1 and 1000000000 requests.", param="rate_limit")
    if limits.credit_limit is not None and not 0 <= limits.credit_limit <= AMOUNT_MAX:
        raise Invalid("invalid_amount", "A credit limit must lie between 0 and 1000000000.", param="credit_limit")
