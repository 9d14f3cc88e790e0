"""Reminds accounts of what they have forgotten of payments, where there are news of them (decision 0035)."""

from collections.abc import Sequence

from msgspec import structs

from api.billing.provider import Told
from api.errors import declare
from api.ids import derived
from domain.account.payments import PAYMENTS_MAX, ConfirmPayment, DisputePayment, RefundPayment
from projections.documents import DocumentReader
from projections.payments import recall
from projections.payments_told import get_payments_told

declare(
    "payment_forgotten",
    "conflict",
    "News of an old payment came while others were told; nothing of it was applied.",
    "Send the event again: what the payment was is read anew. Stripe does so by itself.",
)


async def reminded(documents: DocumentReader, shards: int, told: Sequence[Told]) -> Sequence[Told]:
    """The same news, saying what the account may have forgotten of their payments.

    They are other commands then: one that was refused because what was read was too old may come again.
    """
    return [await _reminded(documents, shards, each) for each in told]


async def _reminded(documents: DocumentReader, shards: int, told: Told) -> Told:
    command = told.command
    if not isinstance(command, ConfirmPayment | RefundPayment | DisputePayment):
        return told
    count = await get_payments_told(documents, shards, told.account_id)
    if count <= PAYMENTS_MAX:
        return told  # nothing can be forgotten yet
    buying = None
    if isinstance(command, ConfirmPayment) and command.period is not None:
        buying = (command.occurred_at, command.period)
    recalled = await recall(documents, shards, told.account_id, command.payment_id, told=count, buying=buying)
    return structs.replace(
        told,
        command=structs.replace(command, recalled=recalled),
        command_id=derived("recalled", told.command_id, str(recalled.told)),
    )
