"""The late correction of a hold that was closed: a release after its settle, a settle after it ran out."""

from collections.abc import Sequence

from domain.account import ledger
from domain.account.ledger import Burn, ClosedHold, Grant, HeldFor, Ledger, burn_plan
from domain.account.usage import NOTHING_USED, Usage, cost, price_served
from domain.instant import Instant
from domain.message import Event
from domain.money import MicroCredits

CORRECTION_PRIORITY = 0
"""Credits given back by a correction are burnt before all others."""


class HoldCorrected(Event, HeldFor, frozen=True, kw_only=True, omit_defaults=True, tag="hold.corrected"):
    """The one late correction. `difference` is added to the cost: positive is charged, negative is given back."""

    hold_id: str
    grant_id: str
    difference: MicroCredits
    charged: MicroCredits
    owed: MicroCredits
    burns: tuple[Burn, ...]
    repaid: MicroCredits
    usage: Usage
    """What is true now."""
    replaced: Usage
    """What was booked before."""
    model: str
    key_id: str | None
    price_version: str
    closed_at: Instant
    """When the hold was closed: usage is corrected in the bucket of that time."""
    corrected_at: Instant
    balance: MicroCredits
    debt: MicroCredits
    latency_ms: int = 0
    """Of a settle that came late; 0 where it is not known."""
    message_day: Instant | None = None
    """Start of the day in which its message was counted."""
    standard: bool = False
    """Charged at the price of the standard tier, not at that which was asked for."""


def correction(
    credits: Ledger, closed: ClosedHold, usage: Usage, at: Instant, *, latency_ms: int = 0, standard: bool = False
) -> Sequence[HoldCorrected]:
    """What a settle or release that came late changes about a closed hold; nothing where it says what is known."""
    price = price_served(closed.hold.price, standard=standard)
    total = cost(usage, price)
    if total == closed.cost and usage == (closed.usage or NOTHING_USED):
        return []
    difference = total - closed.cost
    charged = min(max(difference, 0), credits.available)
    owed = max(difference, 0) - charged
    returned = max(-difference, 0)
    repaid = min(credits.debt, returned)
    return [
        HoldCorrected(
            hold_id=closed.hold.id,
            grant_id=f"correction_{closed.hold.id}",
            difference=difference,
            charged=charged,
            owed=owed,
            burns=burn_plan(credits.grants.values(), charged),
            repaid=repaid,
            usage=usage,
            replaced=closed.usage or NOTHING_USED,
            model=closed.hold.model,
            key_id=closed.hold.key_id,
            price_version=price.version,
            closed_at=closed.closed_at,
            corrected_at=at,
            balance=credits.balance - charged + returned - repaid,
            debt=credits.debt + owed - repaid,
            latency_ms=latency_ms,
            message_day=closed.hold.message_day,
            standard=standard,
            user_id=closed.hold.user_id,
            project_id=closed.hold.project_id,
            operation=closed.hold.operation,
            agent_id=closed.hold.agent_id,
        )
    ]


def correct(credits: Ledger, event: HoldCorrected) -> None:
    """Writes it into the ledger: the hold is not corrected again. Changes `credits`."""
    credits.debt += event.owed - event.repaid
    ledger.burn(credits, event.burns)
    credits.closed.pop(event.hold_id, None)
    credits.expired.pop(event.hold_id, None)
    returned = max(-event.difference, 0) - event.repaid
    grant = Grant(
        id=event.grant_id,
        source="correction",
        priority=CORRECTION_PRIORITY,
        remaining=returned,
        granted_at=event.corrected_at,
    )
    ledger.put_grant(credits, grant)
    ledger.reckon_wake(credits)
