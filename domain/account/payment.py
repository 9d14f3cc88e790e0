"""What an account remembers of one payment: what it bought, and how much of the money has left again."""

from collections.abc import Mapping
from typing import Literal, TypeAlias

from msgspec import Struct

from domain.instant import Instant
from domain.money import MicroCredits

DisputeStatus: TypeAlias = Literal["open", "lost", "won"]
_RANK: dict[DisputeStatus, int] = {"open": 0, "lost": 1, "won": 2}
"""Of news of the same moment the one that ended the dispute holds."""


class Dispute(Struct, kw_only=True, frozen=True, gc=False):
    """The newest that is known of a dispute."""

    status: DisputeStatus
    amount_cents: int
    occurred_at: Instant

    def order(self) -> tuple[Instant, int, int]:
        """What is newer is greater; total, so that every order of arrival ends alike."""
        return (self.occurred_at, _RANK[self.status], self.amount_cents)


class PaidPeriod(Struct, kw_only=True, frozen=True, gc=False):
    """The period of a plan that was paid for, and what the plan grants for the whole of it."""

    since: Instant
    until: Instant
    entitled: MicroCredits


class Bought(Struct, kw_only=True, frozen=True, gc=False):
    """What a payment was for, and on which terms it was granted."""

    grant_id: str
    credits: MicroCredits
    paid_cents: int
    priority: int
    expires_at: Instant | None
    source: str
    granted_at: Instant
    period: PaidPeriod | None = None
    """Of a plan's payment; `None` also where it was on record before periods were."""


class Payment(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """`bought` is `None` while only refunds or disputes are known; `taken` is what was taken back and not returned."""

    bought: Bought | None = None
    refunded_cents: int = 0
    refunded_at: Instant = -1
    disputes: Mapping[str, Dispute] = {}  # msgspec copies the default
    taken: MicroCredits = 0
    replaced: bool = False
    """What was taken back was granted anew with another purchase: no other payment gives it back."""

    def disputed_cents(self) -> int:
        """What is kept from us by disputes that are open or lost."""
        return sum(each.amount_cents for each in self.disputes.values() if each.status != "won")

    def gone(self) -> MicroCredits:
        """How much of what was bought has left with the money, by what is known."""
        if self.bought is None or self.bought.paid_cents == 0:
            return 0
        gone = min(self.refunded_cents + self.disputed_cents(), self.bought.paid_cents)
        return self.bought.credits * gone // self.bought.paid_cents
