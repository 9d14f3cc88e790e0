"""What `verify` knows about money: an account's fold, event by event, against sums kept naively beside it (I6, I7)."""

from typing import Any

from domain.account.account import Account
from domain.account.claw_backs import CreditsGivenBack, CreditsTakenBack
from domain.account.credits import CreditsGranted, DebtRepaid, GrantExpired
from domain.account.hold_corrections import HoldCorrected
from domain.account.holds import HoldClosed, HoldPlaced
from domain.account.usage import Price, cost, price_served
from domain.message import Event
from domain.money import MicroCredits
from domain.recorded import Recorded
from worker.findings import Findings


class AccountLedger:
    """The sums of one account's events, added up naively beside the fold that decides."""

    def __init__(self, stream: str, findings: Findings) -> None:
        self._stream = stream
        self._findings = findings
        self._balance = 0
        self._debt = 0

    def before(self, account: Account, recorded: Recorded) -> None:
        """Each hold begins once, ends once, and is corrected at most once (I7)."""
        credits, event = account.credits, recorded.event
        self._check_arithmetic(account, recorded)
        match event:
            case HoldPlaced(hold_id=hold_id) if hold_id in credits.holds or credits.ended(hold_id):
                self._wrong(recorded, f"{hold_id} was placed before")
            case HoldClosed(hold_id=hold_id) if hold_id not in credits.holds:
                self._wrong(recorded, f"{hold_id} was not open")
            case HoldCorrected(hold_id=hold_id) if credits.ended(hold_id) is None:
                self._wrong(recorded, f"{hold_id} was not closed, or corrected before")
            case _:
                pass

    def _check_arithmetic(self, account: Account, recorded: Recorded) -> None:
        """What an event says of itself adds up, and tokens cost what the hold's price says."""
        event, credits = recorded.event, account.credits
        burnt = sum(burn.amount for burn in getattr(event, "burns", ()))
        match event:
            case HoldClosed() | CreditsTakenBack() | HoldCorrected() if burnt != event.charged:
                self._wrong(recorded, f"grants gave {burnt}, it charges {event.charged}")
            case DebtRepaid() if burnt != event.amount:
                self._wrong(recorded, f"grants gave {burnt}, it repays {event.amount}")
            case CreditsTakenBack() if event.amount != event.charged + event.owed:
                self._wrong(recorded, f"takes {event.amount}, of which {event.charged} is charged, {event.owed} owed")
            case CreditsGranted() | CreditsGivenBack() if not 0 <= event.repaid <= event.amount:
                self._wrong(recorded, f"repays {event.repaid} with {event.amount}")
            case _:
                pass
        if isinstance(event, HoldClosed) and (hold := credits.holds.get(event.hold_id)) is not None:
            self._check_cost(recorded, _reckoned(event, hold.price), event.cost, event.charged + event.owed)
        elif isinstance(event, HoldCorrected) and (closed := credits.ended(event.hold_id)) is not None:
            now = _reckoned(event, closed.hold.price)
            more = event.charged + event.owed if event.difference > 0 else event.difference
            self._check_cost(recorded, now, closed.cost + event.difference, closed.cost + more)

    def _check_cost(self, recorded: Recorded, reckoned: MicroCredits, said: MicroCredits, booked: MicroCredits) -> None:
        if reckoned != said:
            self._wrong(recorded, f"the tokens cost {reckoned} at the hold's price, it says {said}")
        if said != booked:
            self._wrong(recorded, f"costs {said}, of which {booked} is charged or owed")

    def after(self, account: Account, recorded: Recorded) -> None:
        """Balance and debt are the sum of what moved them, and nothing that is held is missing (I6)."""
        moved, owed = movement(recorded.event)
        self._balance += moved
        self._debt += owed
        credits = account.credits
        if (credits.balance, credits.debt) != (self._balance, self._debt):
            self._wrong(recorded, f"movements sum to {self._balance}, the ledger says {credits.balance}")
            self._balance, self._debt = credits.balance, credits.debt
        if credits.available < 0:
            self._wrong(recorded, f"{credits.available} is available")
        said: Any = recorded.event
        if moved and (said.balance, getattr(said, "debt", credits.debt)) != (credits.balance, credits.debt):
            self._wrong(recorded, f"the event says {said.balance}, the ledger {credits.balance}")

    def end(self, account: Account) -> None:
        """What the ledger keeps as sums is the sum."""
        credits = account.credits
        if credits.balance != sum(grant.remaining for grant in credits.grants.values()):
            self._findings.add("money", self._stream, "the balance is not the sum of the grants")
        if credits.held != sum(hold.amount for hold in credits.holds.values()):
            self._findings.add("money", self._stream, "what is held is not the sum of the open holds")
        if credits.debt > 0 and credits.available > 0:
            self._findings.add(
                "money", self._stream, f"{credits.debt} is owed although {credits.available} is available"
            )

    def _wrong(self, recorded: Recorded, what: str) -> None:
        self._findings.add("money", f"{self._stream} version {recorded.version}", what)


def _reckoned(event: HoldClosed | HoldCorrected, price: Price) -> MicroCredits:
    """What the tokens cost at the hold's price, in the tier in which they were served."""
    return cost(event.usage, price_served(price, standard=event.standard))


def movement(event: Event) -> tuple[int, int]:
    """What an event adds to balance and debt, in micro-credits."""
    match event:
        case CreditsGranted():
            return event.amount - event.repaid, -event.repaid
        case GrantExpired():
            return -event.amount, 0
        case DebtRepaid():
            return -event.amount, -event.amount
        case HoldClosed():
            return -event.charged, event.owed
        case CreditsTakenBack():
            return -event.charged, event.owed
        case CreditsGivenBack():
            return event.amount - event.repaid, -event.repaid
        case HoldCorrected():
            return max(-event.difference, 0) - event.repaid - event.charged, event.owed - event.repaid
        case _:
            return 0, 0
