"""What `verify` knows about money: an account's fold event by event (I6, I7), its read models against each other."""

from typing import Any

from domain.account.account import Account
from domain.account.claw_backs import CreditsGivenBack, CreditsTakenBack
from domain.account.credits import CreditsGranted, DebtRepaid, GrantExpired
from domain.account.holds import HoldClosed, HoldCorrected, HoldPlaced
from domain.message import Event
from domain.recorded import Recorded
from eventstore.postgres.pool import DirectConnection
from worker.findings import Findings

# Numbers that are zero and holds that are open do not say so in their documents.
DISAGREEING = """
WITH credits AS (
    SELECT owner, (doc->>'balance')::numeric AS balance, (doc->>'held')::numeric AS held
    FROM rm_credits WHERE shard = $1
), transactions AS (
    SELECT owner,
        sum((doc->>'amount')::numeric) AS moved,
        sum(
            coalesce((doc->>'owed')::numeric, 0) - coalesce((doc->>'repaid')::numeric, 0) - (doc->>'amount')::numeric
        ) FILTER (WHERE doc->>'kind' IN ('charge', 'correction')) AS cost
    FROM rm_transactions WHERE shard = $1 GROUP BY owner
), holds AS (
    SELECT owner,
        sum((doc->>'amount')::numeric) FILTER (WHERE coalesce(doc->>'status', 'open') = 'open') AS held,
        sum(coalesce((doc->>'cost')::numeric, 0)) AS cost
    FROM rm_holds WHERE shard = $1 GROUP BY owner
), days AS (
    SELECT owner, sum(coalesce((doc->>'cost')::numeric, 0)) AS cost
    FROM rm_usage_days WHERE shard = $1 GROUP BY owner
), quarters AS (
    SELECT owner, sum(coalesce((doc->>'cost')::numeric, 0)) AS cost
    FROM rm_usage_quarters WHERE shard = $1 GROUP BY owner
), account AS (
    SELECT owner,
        coalesce(credits.balance, 0) AS balance, coalesce(transactions.moved, 0) AS moved,
        coalesce(credits.held, 0) AS held, coalesce(holds.held, 0) AS open_holds,
        coalesce(transactions.cost, 0) AS charged, coalesce(holds.cost, 0) AS held_cost,
        coalesce(days.cost, 0) AS by_day, coalesce(quarters.cost, 0) AS by_quarter
    FROM credits FULL JOIN transactions USING (owner) FULL JOIN holds USING (owner)
        FULL JOIN days USING (owner) FULL JOIN quarters USING (owner)
)
SELECT *, count(*) OVER () AS total FROM account
WHERE balance <> moved OR held <> open_holds OR balance < held
    OR charged <> held_cost OR charged <> by_day OR charged <> by_quarter
ORDER BY owner
LIMIT $2
"""

CONTRADICTIONS = (
    ("balance", "moved", "the balance is {}, its transactions sum to {}"),
    ("held", "open_holds", "{} is held, the open holds sum to {}"),
    ("charged", "held_cost", "transactions charge {}, the holds came to {}"),
    ("charged", "by_day", "transactions charge {}, the usage by day {}"),
    ("charged", "by_quarter", "transactions charge {}, the usage by quarter hour {}"),
)


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
        match event:
            case HoldPlaced(hold_id=hold_id) if hold_id in credits.holds or credits.ended(hold_id):
                self._wrong(recorded, f"{hold_id} was placed before")
            case HoldClosed(hold_id=hold_id) if hold_id not in credits.holds:
                self._wrong(recorded, f"{hold_id} was not open")
            case HoldCorrected(hold_id=hold_id) if credits.ended(hold_id) is None:
                self._wrong(recorded, f"{hold_id} was not closed, or corrected before")
            case _:
                pass

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

    def _wrong(self, recorded: Recorded, what: str) -> None:
        self._findings.add("money", f"{self._stream} version {recorded.version}", what)


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


async def compare_views(connection: DirectConnection, shard: int, findings: Findings, *, shown_max: int = 20) -> None:
    """Balance, transactions, holds and usage of every account say the same."""
    for row in await connection.fetch(DISAGREEING, shard, shown_max):
        said = [text.format(row[one], row[other]) for one, other, text in CONTRADICTIONS if row[one] != row[other]]
        if row["balance"] < row["held"]:
            said.append(f"{row['balance']} cannot hold {row['held']}")
        findings.add("money views", f"account:{row['owner']}", "; ".join(said))
