"""Ends at Autumn what an erased user would be billed for, for ever: by the outbox, so that no outage there keeps it.

Repeating it is harmless, since only what Autumn still shows is ended.
"""

from typing import TYPE_CHECKING

from domain.erasure import UserErased
from domain.instant import DAY, Instant
from domain.recorded import Recorded
from eventstore.outbox import Delivery
from worker.outgoing.target import ATTEMPT_S, Attempt

if TYPE_CHECKING:
    from autumn_sdk import Autumn
    from autumn_sdk.models import GetCustomerSubscription

KIND = "subscriptions.end"
TAG = "user.erased"
KEPT: Instant = 30 * DAY
"""How long it is tried; then it is the operator's."""
_NOT_FOUND = 404
_CALL_MS = int(ATTEMPT_S * 1_000) // 4


def ending(target: str, shard: int, recorded: Recorded, at: Instant) -> Delivery | None:
    """What ends the subscriptions of the user whose erasure is recorded; `None` for all other events."""
    if not isinstance(recorded.event, UserErased):
        return None
    return Delivery(
        target=target,
        shard=shard,
        account=recorded.entity_id,
        seq=recorded.seq,
        id=f"end_{recorded.entity_id}",
        type=KIND,
        body=b"{}",
        created_at=at,
        due_at=at,
    )


async def end(client: "Autumn", delivery: Delivery) -> Attempt:
    """One attempt: what there is, is ended at once, and what was paid for the period stays paid."""
    from autumn_sdk.errors import AutumnError
    from httpx import HTTPError

    try:
        customer = await client.customers.get_async(customer_id=delivery.account, timeout_ms=_CALL_MS)
        for each in customer.subscriptions:
            if not each.auto_enable:  # the free plan, which is given anew to whoever has none
                await _end_one(client, delivery, each)
    except AutumnError as error:
        if error.status_code == _NOT_FOUND:
            return Attempt(taken=True)  # nobody to be billed
        return Attempt(taken=False, problem=f"status {error.status_code}")
    except (HTTPError, OSError) as error:
        return Attempt(taken=False, problem=type(error).__name__)
    return Attempt(taken=True)


async def _end_one(client: "Autumn", delivery: Delivery, subscription: "GetCustomerSubscription") -> None:
    """No idempotency key: a repeat after a failure in the middle is meant to try again, and finds it gone if not."""
    from autumn_sdk.errors import AutumnError

    try:
        await client.billing.update_async(
            customer_id=delivery.account,
            plan_id=subscription.plan_id,
            subscription_id=subscription.id,
            cancel_action="cancel_immediately",
            proration_behavior="none",
            timeout_ms=_CALL_MS,
        )
    except AutumnError as error:
        if error.status_code != _NOT_FOUND:  # it has ended meanwhile
            raise
