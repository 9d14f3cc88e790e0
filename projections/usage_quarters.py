"""Usage by quarter of an hour, told apart by everything a request says about itself: the base of all other sums.

The quarter hours of six hours are one document: few rows to read for a month, and small enough to be written again with
every request.
"""

from functools import lru_cache
from hashlib import blake2b

from msgspec import json

from domain.account.hold_corrections import HoldCorrected
from domain.account.holds import HoldClosed
from domain.account.ledger import CHAT
from domain.recorded import Recorded
from projections.paging import instant_sort
from projections.projection import Projection
from projections.usage import BLOCK, QUARTER, USAGE_EVENTS, UsageSlots, change_of, counted, usage_event


class UsageBlock(UsageSlots, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """Six hours of one model, key, project, user, operation and agent; slots are quarters of an hour."""

    key_id: str | None = None
    project_id: str | None = None
    user_id: str | None = None
    """`None` for requests in an organization's name of which the user is not on record."""
    operation: str = CHAT
    agent_id: str | None = None


def _user(account_id: str, event: HoldClosed | HoldCorrected) -> str | None:
    return event.user_id or (account_id if account_id.startswith("user_") else None)


@lru_cache(maxsize=8_192)
def _digest(*told_apart_by: str | None) -> str:
    return blake2b(json.encode(told_apart_by), digest_size=12).hexdigest()


def _key(recorded: Recorded) -> str:
    event = usage_event(recorded)
    # Keys are many and stand for themselves; all else an account has few of, and its digest is at hand.
    digest = _digest(event.model, event.project_id, event.user_id, event.operation, event.agent_id)
    start = event.closed_at - event.closed_at % BLOCK
    return f"{recorded.entity_id}:{instant_sort(start)}:{event.key_id or ''}:{digest}"


def _evolve(block: UsageBlock | None, recorded: Recorded) -> UsageBlock:
    event = usage_event(recorded)
    block = block or _begun(recorded.entity_id, event)
    return counted(block, (event.closed_at - block.start) // QUARTER, change_of(event))


def _begun(account_id: str, event: HoldClosed | HoldCorrected) -> UsageBlock:
    return UsageBlock(
        account_id=account_id,
        start=event.closed_at - event.closed_at % BLOCK,
        model=event.model,
        key_id=event.key_id,
        project_id=event.project_id,
        user_id=_user(account_id, event),
        operation=event.operation,
        agent_id=event.agent_id,
    )


PROJECTION = Projection(
    collection="usage_quarters",
    version=3,
    document=UsageBlock,
    events=USAGE_EVENTS,
    key=_key,
    evolve=_evolve,
    owner=lambda block: block.account_id,
    sort=lambda block: instant_sort(block.start),
)
