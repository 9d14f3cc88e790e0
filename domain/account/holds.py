"""Holds: credits set aside before a billable operation, and the one thing that ends each of them (I7).

hold ── settle ──▶ settled  ── a release that comes late books it back
     ├─ release ─▶ released
     └─ time ────▶ expired  ── a settle that comes late books the difference
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, TypeAlias

from domain.account import ledger
from domain.account.admission import admit
from domain.account.credits import balance_answer
from domain.account.hold_corrections import HoldCorrected, correct, correction
from domain.account.ledger import Burn, ClosedHold, HeldFor, Hold, Ledger, burn_plan
from domain.account.quota_windows import Asked, Counted
from domain.account.quotas import MESSAGES, QuotaReached, reached
from domain.account.usage import NOTHING_USED, Price, Usage, cost, price_served, require_usage
from domain.aggregate import Answer
from domain.errors import Conflict, NotFound
from domain.instant import Instant
from domain.message import Command, Event
from domain.money import MicroCredits

if TYPE_CHECKING:
    from domain.account.account import Account


class PlaceHold(Command, HeldFor, frozen=True, kw_only=True, omit_defaults=True, tag="hold.place"):
    """Sets aside `amount`, or what is available if that is at least `amount_min`."""

    category = "account"
    hold_id: str
    amount: MicroCredits
    amount_min: MicroCredits
    model: str
    price: Price
    expires_at: Instant
    key_id: str | None = None
    messages: Asked | None = None
    """The plan's messages of the account's day; `None` where they are unlimited."""


class ReportProgress(Command, frozen=True, kw_only=True, tag="hold.progress"):
    """Says what a running operation has delivered so far, in case nobody lives to settle it."""

    category = "account"
    shed = False
    hold_id: str
    usage: Usage


class SettleHold(Command, frozen=True, kw_only=True, omit_defaults=True, tag="hold.settle"):
    """Charges what was used, at the price that the hold recorded."""

    category = "account"
    shed = False
    hold_id: str
    usage: Usage
    latency_ms: int = 0
    request_id: str | None = None
    standard: bool = False
    """The provider has served it as any other request, though a tier of service was asked for."""


class ReleaseHold(Command, frozen=True, kw_only=True, tag="hold.release"):
    """Gives everything back: nothing was delivered."""

    category = "account"
    shed = False
    hold_id: str
    reason: str


class Sweep(Command, frozen=True, kw_only=True, tag="account.sweep"):
    """Wakes an idle account: what is due happens before any command is decided, so there is nothing left to do."""

    category = "account"
    shed = False


class HoldPlaced(Event, HeldFor, frozen=True, kw_only=True, omit_defaults=True, tag="hold.placed"):
    """`amount` is set aside until `expires_at`."""

    hold_id: str
    amount: MicroCredits
    model: str
    price: Price
    placed_at: Instant
    expires_at: Instant
    key_id: str | None
    messages: Counted | None = None
    """The account's day with this message counted, where messages are limited."""


class HoldProgressed(Event, frozen=True, kw_only=True, tag="hold.progressed"):
    """The operation had delivered `usage` by now."""

    hold_id: str
    usage: Usage


class HoldClosed(Event, HeldFor, frozen=True, kw_only=True, omit_defaults=True, tag="hold.closed"):
    """The one end of a hold. `cost` = `charged` + `owed`; `charged` was burnt from grants, `owed` became debt."""

    hold_id: str
    how: ledger.Closing
    reason: str | None
    amount: MicroCredits
    cost: MicroCredits
    charged: MicroCredits
    owed: MicroCredits
    burns: tuple[Burn, ...]
    usage: Usage
    model: str
    key_id: str | None
    price_version: str
    latency_ms: int
    request_id: str | None
    closed_at: Instant
    balance: MicroCredits
    debt: MicroCredits
    message_day: Instant | None = None
    """Start of the day in which its message was counted."""
    standard: bool = False
    """Charged at the price of the standard tier, not at that which was asked for."""


COMMANDS = (PlaceHold, ReportProgress, SettleHold, ReleaseHold, Sweep)
EVENTS = (HoldPlaced, HoldProgressed, HoldClosed, HoldCorrected)
HoldCommand: TypeAlias = PlaceHold | ReportProgress | SettleHold | ReleaseHold | Sweep
HoldEvent: TypeAlias = HoldPlaced | HoldProgressed | HoldClosed | HoldCorrected


def decide(account: "Account", command: HoldCommand, at: Instant) -> Sequence[HoldEvent | QuotaReached]:
    """See each command. `NotFound` for a hold that never was, `Conflict` for one that is closed for good."""
    credits = account.credits
    match command:
        case PlaceHold():
            return _place(account, command, at)
        case SettleHold():
            return _settle(credits, command, at)
        case ReportProgress():
            return _progress(credits, command)
        case ReleaseHold():
            return _release(credits, command, at)
        case Sweep():
            return []


def _place(account: "Account", command: PlaceHold, at: Instant) -> Sequence[HoldEvent | QuotaReached]:
    credits = account.credits
    if command.hold_id in credits.holds:
        return []
    if credits.ended(command.hold_id) is not None:
        raise Conflict("hold_closed", "The hold was closed before.")
    admitted = admit(account, command, at)
    events: list[HoldEvent | QuotaReached] = [
        HoldPlaced(
            hold_id=command.hold_id,
            amount=admitted.amount,
            model=command.model,
            price=command.price,
            placed_at=at,
            expires_at=command.expires_at,
            key_id=command.key_id,
            messages=admitted.messages,
            user_id=command.user_id,
            project_id=command.project_id,
            operation=command.operation,
            agent_id=command.agent_id,
        )
    ]
    if admitted.messages is not None:
        events += reached(MESSAGES, account.quotas.messages, admitted.messages, at)
    return events


def _progress(credits: Ledger, command: ReportProgress) -> Sequence[HoldEvent]:
    require_usage(command.usage)
    hold = credits.holds.get(command.hold_id)
    if hold is None:
        _require_closed(credits, command.hold_id)
        return []
    if hold.progress == command.usage:
        return []
    return [HoldProgressed(hold_id=hold.id, usage=command.usage)]


def _settle(credits: Ledger, command: SettleHold, at: Instant) -> Sequence[HoldEvent]:
    require_usage(command.usage)
    hold = credits.holds.get(command.hold_id)
    if hold is not None:
        return [_closing(credits, hold, "settled", command.usage, at, settle=command)]
    closed = _require_closed(credits, command.hold_id)
    if closed.how == "settled" and closed.usage == command.usage:
        return []
    if closed.how != "expired":
        raise Conflict("hold_closed", "The hold was closed before.")
    return correction(credits, closed, command.usage, at, latency_ms=command.latency_ms, standard=command.standard)


def _release(credits: Ledger, command: ReleaseHold, at: Instant) -> Sequence[HoldEvent]:
    hold = credits.holds.get(command.hold_id)
    if hold is not None:
        return [_closing(credits, hold, "released", NOTHING_USED, at, reason=command.reason)]
    closed = _require_closed(credits, command.hold_id)
    if closed.how == "released":
        return []
    return correction(credits, closed, NOTHING_USED, at)


def _require_closed(credits: Ledger, hold_id: str) -> ClosedHold:
    closed = credits.ended(hold_id)
    if closed is None:
        raise NotFound("hold_not_found", "There is no such hold, or it was closed too long ago to be corrected.")
    return closed


def _closing(
    credits: Ledger,
    hold: Hold,
    how: ledger.Closing,
    usage: Usage,
    at: Instant,
    *,
    settle: SettleHold | None = None,
    reason: str | None = None,
) -> HoldClosed:
    standard = settle is not None and settle.standard
    price = price_served(hold.price, standard=standard)
    total = cost(usage, price)
    charged = min(total, hold.amount + credits.available)
    return HoldClosed(
        hold_id=hold.id,
        how=how,
        reason=reason,
        amount=hold.amount,
        cost=total,
        charged=charged,
        owed=total - charged,
        burns=burn_plan(credits.grants.values(), charged),
        usage=usage,
        model=hold.model,
        key_id=hold.key_id,
        price_version=price.version,
        latency_ms=settle.latency_ms if settle else 0,
        request_id=settle.request_id if settle else None,
        closed_at=at,
        balance=credits.balance - charged,
        debt=credits.debt + total - charged,
        message_day=hold.message_day,
        standard=standard,
        user_id=hold.user_id,
        project_id=hold.project_id,
        operation=hold.operation,
        agent_id=hold.agent_id,
    )


def due(credits: Ledger, at: Instant) -> HoldClosed | None:
    """The end of the first hold that has run out by `at`: charged at its last progress, free without any."""
    if credits.wake_at is None or credits.wake_at > at:
        return None
    first = ledger.first_to_expire(credits)
    if first is None or first.expires_at > at:
        return None
    usage = first.progress or NOTHING_USED
    return _closing(credits, first, "expired", usage, at, reason="expired")


def evolve(credits: Ledger, event: HoldEvent) -> None:
    """Writes a hold's beginning, progress, end or correction into the ledger."""
    match event:
        case HoldPlaced():
            ledger.open_hold(credits, _hold(event))
        case HoldClosed():
            credits.debt += event.owed
            ledger.burn(credits, event.burns)
            hold = credits.holds[event.hold_id]
            closed = ClosedHold(hold=hold, how=event.how, cost=event.cost, usage=event.usage, closed_at=event.closed_at)
            ledger.close_hold(credits, closed)
        case HoldProgressed():
            credits.holds[event.hold_id].progress = event.usage
        case HoldCorrected():
            correct(credits, event)


def _hold(event: HoldPlaced) -> Hold:
    return Hold(
        id=event.hold_id,
        amount=event.amount,
        model=event.model,
        price=event.price,
        placed_at=event.placed_at,
        expires_at=event.expires_at,
        key_id=event.key_id,
        message_day=None if event.messages is None else event.messages.starts_at,
        user_id=event.user_id,
        project_id=event.project_id,
        operation=event.operation,
        agent_id=event.agent_id,
    )


def answer(account: "Account", command: HoldCommand, events: Sequence[Event]) -> Answer:
    """What was held or charged, and the balance after it."""
    credits = account.credits
    data = balance_answer(credits)
    for event in events:
        match event:
            case HoldPlaced(hold_id=hold_id) if isinstance(command, PlaceHold) and hold_id == command.hold_id:
                data |= {"hold_id": hold_id, "amount": event.amount, "expires_at": event.expires_at}
                if event.messages is not None:
                    data["messages"] = event.messages
            case HoldClosed(how=how) if how != "expired":
                data |= {"cost": event.cost, "charged": event.charged, "owed": event.owed}
            case HoldCorrected():
                data |= {"difference": event.difference}
    return data
