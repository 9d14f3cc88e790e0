"""One effect for one `Idempotency-Key`: only the attempt that won the hold calls the provider, repeats get its answer.

A hold that ended without a charge frees the key: the next attempt goes on under an id derived from the one before.
"""

import asyncio
import time
from typing import TYPE_CHECKING, Any

from api.call import Reply
from api.command_log.commands import data_of
from api.errors import ApiError, declare
from api.gateway.answers import Keeping, Kept
from api.gateway.job import ChatJob
from api.gateway.request import ChatRequest
from api.gateway.settlement import Placed, Settlement, cost_comment, cost_headers
from api.ids import derived
from eventstore.records import Outcome
from projections.holds import HoldView, get_hold

if TYPE_CHECKING:
    from api.call import Call

GENERATIONS_MAX = 100
"""So often one key can fail without a charge."""
FIRST_WAITED_S = 20.0
"""How long a repeat waits for the first attempt that is still under way."""
LOOK_AGAIN_S, LOOK_AGAIN_S_MAX, LOOK_AGAIN_FACTOR = 0.05, 1.0, 1.5
"""Pauses between looks at its hold, ever longer: an answer that took long already is not missed by one more."""
NEVER_AGAIN = {"x-should-retry": "false"}
"""OpenAI's SDKs repeat a 409 unless they are told not to."""

declare(
    "in_progress",
    "conflict",
    "The first request with this Idempotency-Key is still under way.",
    "Repeat after the seconds in Retry-After; the answer will be the first request's.",
)
declare(
    "answer_lost",
    "conflict",
    "The first request with this Idempotency-Key was charged, but its answer is not there any more.",
    "`cost` was charged, once; use a new key to ask again. Answers are kept for 24 hours.",
)
declare(
    "answer_too_large",
    "conflict",
    "The first request with this Idempotency-Key was answered with more than can be kept.",
    "`cost` was charged, once; use a new key to ask again. Answers up to 1 MB are kept.",
)


class Winner:
    """The attempt that may call the provider."""

    def __init__(self, job: ChatJob, placed: Placed, keeping: Keeping) -> None:
        self.job = job
        self.placed = placed
        self.keeping = keeping


async def win_or_repeat(call: "Call[Any, Any]", request: ChatRequest) -> Winner | Reply:
    """The right to call the provider, or the answer that an earlier request with the key got.

    422 `idempotency_key_reused`, 409 `in_progress`, `answer_lost` and `answer_too_large`, 503 `overloaded`, and what
    refuses holds.
    """
    generation: str | None = None
    for _ in range(GENERATIONS_MAX):
        job = ChatJob(call, request, generation=generation)
        outcome = await job.decided()
        mine = outcome.attempt == job.hold.attempt
        if mine or outcome.status != "applied" or outcome.fingerprint != job.hold.fingerprint:
            return Winner(job, job.hold.accept(outcome), _keeping(call, outcome))
        job.hold.forgo()
        kept = await _answer_of(call, outcome)
        if kept is not None:
            return _repeated(kept)
        generation = derived(outcome.command_id, "retry")
    raise ApiError("in_progress")


def _keeping(call: "Call[Any, Any]", outcome: Outcome) -> Keeping:
    return Keeping(call, shard=outcome.shard, command_id=outcome.command_id, attempt=outcome.attempt)


async def _answer_of(call: "Call[Any, Any]", outcome: Outcome) -> Kept | None:
    """What the winner has answered, once its hold has ended; `None` if it ended without a charge.

    The answer is kept before the settle is sent, so a hold that is charged and has none will never have one.
    """
    hold = await _ended(call, data_of(outcome)["hold_id"])
    withheld = hold.corrected and hold.cost == 0
    if withheld or (hold.status != "settled" and hold.cost == 0):
        return None
    kept = await _keeping(call, outcome).read()
    if kept is None:
        raise ApiError("answer_lost", headers=NEVER_AGAIN, cost=hold.cost, hold_id=hold.id)
    if kept.too_large:
        raise ApiError("answer_too_large", headers=NEVER_AGAIN, cost=hold.cost, hold_id=hold.id)
    return kept


async def _ended(call: "Call[Any, Any]", hold_id: str) -> HoldView:
    """The hold, when it is over; 409 `in_progress` while it is not, 503 `overloaded` where too many wait already."""
    hold = await _over(call, hold_id)
    if hold is not None:
        return hold
    with call.services.metering.repeating():
        until, pause = time.monotonic() + FIRST_WAITED_S, LOOK_AGAIN_S
        while time.monotonic() + pause < until:
            await asyncio.sleep(pause)
            hold = await _over(call, hold_id)
            if hold is not None:
                return hold
            pause = min(pause * LOOK_AGAIN_FACTOR, LOOK_AGAIN_S_MAX)
    raise ApiError("in_progress", headers={"Retry-After": "2"}, hold_id=hold_id)


async def _over(call: "Call[Any, Any]", hold_id: str) -> HoldView | None:
    services = call.services
    hold = await get_hold(services.documents, services.shards, call.caller.account_id, hold_id)
    return hold if hold is not None and hold.status != "open" else None


def _repeated(kept: Kept) -> Reply:
    settlement = Settlement(cost=kept.cost, remaining=kept.remaining, settled=True)
    if not kept.tail:
        return Reply(status=200, body=kept.body, headers=cost_headers(settlement), media_type=kept.media_type)
    return Reply(status=200, body=kept.body + cost_comment(settlement) + kept.tail, media_type=kept.media_type)
