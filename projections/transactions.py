"""Every movement of an account's balance, one document each; their sum is the balance (I6)."""

from typing import Literal, TypedDict

from msgspec import Struct

from domain.account.claw_backs import CreditsGivenBack, CreditsTakenBack
from domain.account.credits import CreditsGranted, DebtRepaid, GrantExpired
from domain.account.hold_corrections import HoldCorrected
from domain.account.holds import HoldClosed
from domain.account.usage import Usage
from domain.instant import Instant
from domain.money import MicroCredits
from domain.recorded import Recorded
from eventstore.shards import shard_of
from projections.documents import DocumentReader
from projections.paging import Cursor, Page, read_page
from projections.projection import Projection


class Transaction(Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """A movement. `amount` is signed; `balance` and `debt` are after it; `owed` is what became debt."""

    id: str
    account_id: str
    kind: Literal["grant", "expiry", "charge", "correction", "repayment", "claw_back", "give_back"]
    amount: MicroCredits
    balance: MicroCredits
    at: Instant
    version: int
    command_id: str
    debt: MicroCredits = 0
    owed: MicroCredits = 0
    repaid: MicroCredits = 0
    reason: str | None = None
    source: str | None = None
    reference: str | None = None
    grant_id: str | None = None
    hold_id: str | None = None
    model: str | None = None
    key_id: str | None = None
    usage: Usage | None = None
    price_version: str | None = None
    request_id: str | None = None


def transaction_id(account_id: str, version: int) -> str:
    """The id of the transaction that the account's event number `version` made."""
    return f"txn_{account_id.rpartition('_')[2]}_{version}"


def grant_transaction(account_id: str, grant_id: str) -> str:
    """A grant's transaction is named after the grant: the answer that made it knows no place in the log.

    A grant that is not named by chance, such as that of a plan's period, has its like in other accounts.
    """
    if grant_id.startswith("grant_"):
        return f"txn_{grant_id.removeprefix('grant_')}"
    return f"txn_{account_id.rpartition('_')[2]}_{grant_id}"


def _id(recorded: Recorded) -> str:
    """What names the transaction that an event made, in the read model as for clients."""
    event = recorded.event
    if isinstance(event, CreditsGranted):
        return grant_transaction(recorded.entity_id, event.grant_id)
    return transaction_id(recorded.entity_id, recorded.version)


def _key(recorded: Recorded) -> str | None:
    event = recorded.event
    moved = not isinstance(event, HoldClosed) or event.cost > 0
    return _id(recorded) if moved else None


def _evolve(_document: Transaction | None, recorded: Recorded) -> Transaction | None:
    match recorded.event:
        case HoldClosed() as event:
            return _charged(recorded, event)
        case CreditsGranted() as event:
            return _granted(recorded, event)
        case GrantExpired() as event:
            return Transaction(
                **_place(recorded),
                kind="expiry",
                amount=-event.amount,
                balance=event.balance,
                reason="expired",
                grant_id=event.grant_id,
            )
        case DebtRepaid() as event:
            return Transaction(
                **_place(recorded),
                kind="repayment",
                amount=-event.amount,
                balance=event.balance,
                debt=event.debt,
                repaid=event.amount,
                reason="debt repaid",
            )
        case CreditsTakenBack() as event:
            return _taken_back(recorded, event)
        case CreditsGivenBack() as event:
            return _given_back(recorded, event)
        case HoldCorrected() as event:
            return _corrected(recorded, event)
        case _:
            return None


class _Place(TypedDict):
    id: str
    account_id: str
    at: Instant
    version: int
    command_id: str


def _place(recorded: Recorded) -> _Place:
    """What every movement takes from where its event stands."""
    return {
        "id": _id(recorded),
        "account_id": recorded.entity_id,
        "at": recorded.at,
        "version": recorded.version,
        "command_id": recorded.metadata.command_id,
    }


def _granted(recorded: Recorded, event: CreditsGranted) -> Transaction:
    return Transaction(
        **_place(recorded),
        kind="grant",
        amount=event.amount - event.repaid,
        balance=event.balance,
        debt=event.debt,
        repaid=event.repaid,
        reason=event.reason,
        source=event.source,
        reference=event.reference,
        grant_id=event.grant_id,
    )


def _charged(recorded: Recorded, event: HoldClosed) -> Transaction:
    return Transaction(
        **_place(recorded),
        kind="charge",
        amount=-event.charged,
        balance=event.balance,
        debt=event.debt,
        owed=event.owed,
        reason=event.reason,
        hold_id=event.hold_id,
        model=event.model,
        key_id=event.key_id,
        usage=event.usage,
        price_version=event.price_version,
        request_id=event.request_id,
    )


def _taken_back(recorded: Recorded, event: CreditsTakenBack) -> Transaction:
    return Transaction(
        **_place(recorded),
        kind="claw_back",
        amount=-event.charged,
        balance=event.balance,
        debt=event.debt,
        owed=event.owed,
        reason=event.reason,
        reference=event.payment_id,
        grant_id=event.grant_id,
    )


def _given_back(recorded: Recorded, event: CreditsGivenBack) -> Transaction:
    return Transaction(
        **_place(recorded),
        kind="give_back",
        amount=event.amount - event.repaid,
        balance=event.balance,
        debt=event.debt,
        repaid=event.repaid,
        reason=event.reason,
        source=event.source,
        reference=event.payment_id,
        grant_id=event.grant_id,
    )


def _corrected(recorded: Recorded, event: HoldCorrected) -> Transaction:
    return Transaction(
        **_place(recorded),
        kind="correction",
        amount=max(-event.difference, 0) - event.repaid - event.charged,
        balance=event.balance,
        debt=event.debt,
        owed=event.owed,
        repaid=event.repaid,
        reason="late correction",
        hold_id=event.hold_id,
        model=event.model,
        key_id=event.key_id,
        usage=event.usage,
        price_version=event.price_version,
    )


MOVEMENTS = (
    CreditsGranted,
    GrantExpired,
    DebtRepaid,
    CreditsTakenBack,
    CreditsGivenBack,
    HoldClosed,
    HoldCorrected,
)

PROJECTION = Projection(
    collection="transactions",
    version=2,
    document=Transaction,
    events=MOVEMENTS,
    key=_key,
    evolve=_evolve,
    owner=lambda transaction: transaction.account_id,
    sort=lambda transaction: f"{transaction.version:012d}",
    begun_by=MOVEMENTS,
    written_once=True,
    done=lambda _transaction: True,
)


async def get_transaction(
    documents: DocumentReader, shards: int, account_id: str, transaction_id: str
) -> Transaction | None:
    """One movement of the account; those of others are not found."""
    doc = await documents.get(PROJECTION.collection, shard_of(f"account:{account_id}", shards), transaction_id)
    found = None if doc is None else PROJECTION.decode(doc)
    return found if found is not None and found.account_id == account_id else None


async def list_transactions(
    documents: DocumentReader, shards: int, account_id: str, *, limit: int, after: Cursor | None = None
) -> Page[Transaction]:
    """The account's movements, newest first."""
    return await read_page(documents, PROJECTION, shards, f"account:{account_id}", limit=limit, after=after)
