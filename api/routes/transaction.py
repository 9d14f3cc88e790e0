"""One movement of an account's balance, explained from the log."""

import asyncio
from typing import TypeVar

from api.call import Call
from api.errors import ApiError, declare
from api.parts import Services
from api.past_reads import readable_log
from api.route import Route, needs
from api.routes.transactions import transaction_shown
from api.transaction_explained import (
    TransactionExplained,
    burn_shown,
    charge_shown,
    correction_shown,
    event_shown,
    grant_explained,
    hold_explained,
)
from domain.account.claw_backs import CreditsGivenBack, CreditsTakenBack
from domain.account.credits import CreditsGranted
from domain.account.hold_corrections import HoldCorrected
from domain.account.holds import HoldClosed, HoldPlaced
from domain.account.payments import PaymentConfirmed, PaymentDisputed, PaymentRefunded
from domain.account.subscription import SubscriptionConfirmed
from domain.account.subscription_change import SubscriptionRenewed
from domain.message import Event
from domain.recorded import Recorded
from eventstore import codec
from eventstore.shards import shard_of
from projections.holds import get_hold
from projections.transactions import Transaction, get_transaction, grant_transaction

E = TypeVar("E", bound=Event)

declare(
    "transaction_not_found",
    "not_found",
    "The account has no such transaction.",
    "Take the id from `GET /billing/credits/transactions`.",
)


async def show(call: Call[None, None]) -> TransactionExplained:
    """The transaction with the hold, charge, correction and grants behind it, and the events that made them."""
    services, account_id = call.services, call.caller.account_id
    transaction = await get_transaction(services.documents, services.shards, account_id, call.path["id"])
    if transaction is None:
        raise ApiError("transaction_not_found")
    versions = await _versions(services, transaction)
    with readable_log():
        found = await asyncio.gather(*(_event(services, account_id, version) for version in sorted(versions)))
        events = await _with_cause(services, transaction, found)
    own = next(each.event for each in found if each.version == transaction.version)
    placed, closed = _of(events, HoldPlaced), _of(events, HoldClosed)
    corrected, granted = _of(events, HoldCorrected), _of(events, CreditsGranted)
    return TransactionExplained(
        transaction=transaction_shown(transaction),
        events=[event_shown(each) for each in events],
        hold=None if placed is None else hold_explained(placed, closed),
        charge=None if placed is None or closed is None else charge_shown(closed, placed.price),
        correction=None if placed is None or corrected is None else correction_shown(corrected, placed.price),
        grant=None if granted is None else grant_explained(account_id, granted),
        burnt=[burn_shown(account_id, burn) for burn in getattr(own, "burns", ())],
    )


async def _with_cause(services: Services, transaction: Transaction, events: list[Recorded]) -> list[Recorded]:
    """And the payment or the period that it came with: decided by the same command, written just before it."""
    if transaction.kind not in ("grant", "claw_back", "give_back"):
        return events
    own = events[-1]
    behind = max(own.version - 3, 0)
    before = await services.store.stream_events(own.shard, own.stream, behind, own.version - 1 - behind)
    for stored in reversed(before):
        found = codec.recorded(stored)
        if found.metadata.command_id == transaction.command_id and _is_cause(found.event, own.event):
            return [*events[:-1], found, own]
    return events


def _is_cause(event: Event, own: Event) -> bool:
    match event, own:
        case ((SubscriptionConfirmed() | SubscriptionRenewed()), CreditsGranted(source="plan")):
            return event.period_credits is not None
        case PaymentConfirmed(), CreditsGranted():
            return event.grant_id == own.grant_id
        case ((PaymentConfirmed() | PaymentRefunded() | PaymentDisputed()), (CreditsTakenBack() | CreditsGivenBack())):
            return event.payment_id == own.payment_id
        case _:
            return False


async def _versions(services: Services, transaction: Transaction) -> set[int]:
    """Where in the account's stream the events behind a transaction stand: four at most."""
    versions = {transaction.version}
    account_id = transaction.account_id
    if transaction.hold_id is not None:
        hold = await get_hold(services.documents, services.shards, account_id, transaction.hold_id)
        if hold is not None:
            versions |= {hold.placed_version, hold.closed_version, hold.corrected_version}
    elif transaction.grant_id is not None:
        name = grant_transaction(account_id, transaction.grant_id)
        granted = await get_transaction(services.documents, services.shards, account_id, name)
        if granted is not None:
            versions.add(granted.version)
    return versions - {0}


async def _event(services: Services, account_id: str, version: int) -> Recorded:
    """The event at its place; the read models say that it is there."""
    stream = f"account:{account_id}"
    found = await services.store.stream_events(shard_of(stream, services.shards), stream, version - 1, 1)
    return codec.recorded(found[0])


def _of(events: list[Recorded], kind: type[E]) -> E | None:
    return next((each.event for each in events if isinstance(each.event, kind)), None)


ROUTES = (
    Route(
        method="GET",
        path="/billing/credits/transactions/{id}",
        handler=show,
        summary="Explain a credit transaction",
        description=(
            "The request, its tokens by kind and who counted them, the prices that the hold recorded, hold, "
            "settlement and correction, the grants that paid, and the commands and events behind it all."
        ),
        tag="billing",
        access=needs("billing:read"),
        answers={200: TransactionExplained},
        errors=("transaction_not_found", "history_unreadable"),
    ),
)
