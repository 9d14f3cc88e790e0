"""What an account remembers of one payment: what it bought, and how much of the money has left again."""

from typing import Literal, TypeAlias

from msgspec import Struct, field

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


class Bought(Struct, kw_only=True, frozen=True, gc=False):
    """What a payment was for, and on which terms it was granted."""

    grant_id: str
    credits: MicroCredits
    paid_cents: int
    priority: int
    expires_at: Instant | None
    source: str
    granted_at: Instant


class Payment(Struct, kw_only=True, omit_defaults=True):
    """`bought` is `None` while only refunds or disputes are known; `taken` is what was taken back and not returned."""

    bought: Bought | None = None
    refunded_cents: int = 0
    refunded_at: Instant = -1
    disputes: dict[str, Dispute] = field(default_factory=dict)
    taken: MicroCredits = 0

    def to_take(self) -> MicroCredits:
        """How much of what was granted should be away by what is known."""
        if self.bought is None or self.bought.paid_cents == 0:
            return 0
        disputed = sum(each.amount_cents for each in self.disputes.values() if each.status != "won")
        gone = min(self.refunded_cents + disputed, self.bought.paid_cents)
        return self.bought.credits * gone // self.bought.paid_cents
