"""What a plan allows a day and a month: messages, and whatever else its file meters.

Messages are counted by the holds that begin them (`quota_counts`), other features by `feature.track`. What is used up
is refused here, by the account's single writer, so that a quota is exact whatever runs in parallel. Prices play no
part: a message that costs nothing is a message.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, TypeAlias

from msgspec import Struct, field

from domain.account.quota_windows import Asked, Counted, Counter, Level
from domain.aggregate import Answer
from domain.errors import Invalid, TooMany
from domain.instant import Instant, format_instant
from domain.message import Command, Event
from domain.money import MicroCredits

if TYPE_CHECKING:
    from domain.account.account import Account

MESSAGES = "messages_per_day"
"""The name of the quota of messages; those of features are `{feature}.per_day` and `{feature}.per_month`."""
TRACKED_MAX = 10**12
"""The most that can be tracked at once."""


class TrackFeature(Command, frozen=True, kw_only=True, tag="feature.track"):
    """Uses `amount` of a feature, if day and month allow it. Its command id is derived from feature and reference."""

    category = "account"
    feature: str
    amount: int
    reference: str
    day: Asked
    month: Asked


class FeatureTracked(Event, frozen=True, kw_only=True, tag="feature.tracked"):
    """`amount` of the feature was used; what its day and its month have come to."""

    feature: str
    amount: int
    reference: str
    day: Counted
    month: Counted
    tracked_at: Instant


class QuotaReached(Event, frozen=True, kw_only=True, tag="quota.reached"):
    """80 or 100 % of a quota are used; told once for each window and limit."""

    quota: str
    level: Level
    used: int
    limit: int
    resets_at: Instant
    reached_at: Instant


class CreditsLow(Event, frozen=True, kw_only=True, tag="credits.low"):
    """The balance is below what the account's owner has set; told once until it has been higher again."""

    balance: MicroCredits
    low_balance: MicroCredits
    low_at: Instant


class Metered(Struct, kw_only=True, gc=False):
    """What is used of one feature."""

    day: Counter = field(default_factory=Counter)
    month: Counter = field(default_factory=Counter)


class Quotas(Struct, kw_only=True):
    """What is used, and what of it was told."""

    messages: Counter = field(default_factory=Counter)
    features: dict[str, Metered] = field(default_factory=dict)
    """Those used in a month that is not over: a plan file bounds how many there are."""
    balance_peak: MicroCredits = 0
    """The highest balance since the last notice of a low one."""


COMMANDS = (TrackFeature,)
EVENTS = (FeatureTracked, QuotaReached, CreditsLow)
QuotasEvent: TypeAlias = FeatureTracked | QuotaReached | CreditsLow


def decide(account: "Account", command: TrackFeature, at: Instant) -> Sequence[QuotasEvent]:
    """The use, and what it reaches. `TooMany` where day or month do not allow it: then nothing is used."""
    if not 0 < command.amount <= TRACKED_MAX:
        raise Invalid("invalid_feature_amount", f"amount must be 1 to {TRACKED_MAX}.", param="amount")
    known = account.quotas.features.get(command.feature) or Metered()
    day = known.day.with_more(command.day, command.amount, at)
    month = known.month.with_more(command.month, command.amount, at)
    for name, counted in ((f"{command.feature}.per_day", day), (f"{command.feature}.per_month", month)):
        if counted.limit is not None and counted.used > counted.limit:
            raise _used_up("feature_quota_exceeded", "What the plan has of this feature", name, counted, command.amount)
    return [
        FeatureTracked(
            feature=command.feature,
            amount=command.amount,
            reference=command.reference,
            day=day,
            month=month,
            tracked_at=at,
        ),
        *reached(f"{command.feature}.per_day", known.day, day, at),
        *reached(f"{command.feature}.per_month", known.month, month, at),
    ]


def count_message(quotas: Quotas, asked: Asked, at: Instant) -> Counted:
    """The day with one message more; `TooMany` `messages_quota_exceeded` where it has no more."""
    counted = quotas.messages.with_more(asked, 1, at)
    if counted.limit is not None and counted.used > counted.limit:
        raise _used_up("messages_quota_exceeded", "The plan's messages of this day", MESSAGES, counted, 1)
    return counted


def reached(quota: str, counter: Counter, counted: Counted, at: Instant) -> Sequence[QuotaReached]:
    """The notice that `counted` calls for, if any: rare, so nearly always nothing."""
    new = counter.newly_reached(counted)
    if not new or counted.limit is None:
        return ()
    return (
        QuotaReached(
            quota=quota,
            level=new,
            used=counted.used,
            limit=counted.limit,
            resets_at=counted.ends_at,
            reached_at=at,
        ),
    )


def _used_up(code: str, what: str, quota: str, counted: Counted, amount: int) -> TooMany:
    """`used` is what was used before this."""
    return TooMany(
        code,
        f"{what} are used up." if code == "messages_quota_exceeded" else f"{what} is used up.",
        quota=quota,
        limit=counted.limit,
        used=counted.used - amount,
        requested=amount,
        resets_at=format_instant(counted.ends_at),
    )


def low(account: "Account", at: Instant) -> Sequence[CreditsLow]:
    """The notice of a balance that has fallen below what the account's owner has set, if it is to be told."""
    balance, low_balance = account.credits.balance, account.preferences.low_balance
    if balance >= low_balance or low_balance > account.quotas.balance_peak:
        return ()
    return (CreditsLow(balance=balance, low_balance=low_balance, low_at=at),)


def evolve(quotas: Quotas, event: QuotasEvent) -> None:
    """Writes down what was used and told."""
    match event:
        case FeatureTracked():
            _track(quotas, event)
        case QuotaReached():
            _counter(quotas, event.quota).tell(event.level, event.limit)
        case CreditsLow():
            quotas.balance_peak = event.balance


def _track(quotas: Quotas, event: FeatureTracked) -> None:
    known = quotas.features.get(event.feature)
    if known is None:
        for feature in [name for name, each in quotas.features.items() if each.month.ends_at <= event.tracked_at]:
            del quotas.features[feature]
        known = quotas.features[event.feature] = Metered()
    known.day.take(event.day)
    known.month.take(event.month)


def _counter(quotas: Quotas, quota: str) -> Counter:
    if quota == MESSAGES:
        return quotas.messages
    feature, _, period = quota.rpartition(".")
    metered = quotas.features[feature]
    return metered.day if period == "per_day" else metered.month


def answer(account: "Account", command: TrackFeature, _events: Sequence[Event]) -> Answer:
    """What day and month have come to: `[starts_at, ends_at, used, limit]` each."""
    metered = account.quotas.features[command.feature]
    return {
        "day": [metered.day.starts_at, metered.day.ends_at, metered.day.used, command.day.limit],
        "month": [metered.month.starts_at, metered.month.ends_at, metered.month.used, command.month.limit],
    }
