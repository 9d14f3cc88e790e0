"""Goes on with erasures whose request did not end them: its process was killed, or the billing provider was away.

Every process does, so one is enough; each step can be repeated, so several do no harm. An erasure is finished when the
provider, too, has been told: only then is it forgotten that there was one. One that cannot be finished is tried ever
more rarely, by each process for itself.
"""

import asyncio
from typing import TYPE_CHECKING

import structlog
from msgspec import Struct

from api.background import ended, now_and_then
from api.errors import ApiError, refusal
from api.ids import random_hex, uuid7
from api.leaving import Leaver, end_subscription, forget_invited, go_on_leaving
from domain.envelope import Actor, Envelope, Header
from domain.erasure import EraseUser, FinishErasure
from domain.instant import MINUTE, SECOND, Instant
from domain.message import Command
from eventstore.records import Outcome
from projections.erasures import ErasureView, get_erasure, list_erasures

if TYPE_CHECKING:
    from api.parts import Services

EVERY_S = 15.0
LEFT_ALONE: Instant = 30 * SECOND
"""How long an erasure is its request's alone."""
WAIT_S = 10.0
FIRST_PAUSE: Instant = 15 * SECOND
"""How long one is let be after it could not be finished; twice as long after each further try."""
PAUSE_MAX: Instant = 15 * MINUTE
PAGE = 100
SYSTEM = Actor(kind="system", id="erasure")

_log = structlog.get_logger()


class _Pause(Struct, frozen=True, kw_only=True):
    """One is let be until then, for so long."""

    until: Instant
    length: Instant


class UnfinishedErasures:
    """`start` in the running loop, `stop` before the services end."""

    def __init__(self, services: "Services", *, every_s: float = EVERY_S, left_alone: Instant = LEFT_ALONE) -> None:
        self._services = services
        self._every_s = every_s
        self._left_alone = left_alone
        self._pauses: dict[str, _Pause] = {}
        """By the user; of those alone that could not be finished at the last try."""
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begins to look, now and then."""
        looking = now_and_then(self._every_s, self.step, failed="erasures_wait")
        self._task = asyncio.create_task(looking, name="unfinished_erasures")

    async def stop(self) -> None:
        """Ends it; another process goes on."""
        await ended(self._task)
        self._task = None

    async def step(self) -> None:
        """Looks at all of them once, the oldest first; one that cannot be finished holds up no other."""
        after, open_still = None, set()
        while True:
            page = await list_erasures(self._services.documents, limit=PAGE, after=after)
            ready = [view for view in page.items if view.begun_at + self._left_alone <= self._services.clock()]
            for view in ready:
                open_still.add(view.user_id)
                pause = self._pauses.get(view.user_id)
                if pause is None or pause.until <= self._services.clock():
                    await self._try(view)
            if page.next_after is None or len(ready) < len(page.items):
                break
            after = page.next_after
        self._pauses = {user_id: pause for user_id, pause in self._pauses.items() if user_id in open_still}

    async def _try(self, view: ErasureView) -> None:
        try:
            over = await self._go_on(view)
        except Exception as error:  # noqa: BLE001  # whatever it is, those behind it do not wait for a mend
            over = await self._is_overtaken(view)
            if not over:
                why = error.code if isinstance(error, ApiError) else type(error).__name__
                _log.warning("erasure_waits", user_id=view.user_id, erased=view.erased, error=why)
        if over:
            self._pauses.pop(view.user_id, None)
        else:
            self._pause(view)

    async def _is_overtaken(self, view: ErasureView) -> bool:
        """Somebody else has gone on with it meanwhile, so that it failed here says nothing."""
        found = await get_erasure(self._services.documents, self._services.shards, view.user_id)
        return found != view

    def _pause(self, view: ErasureView) -> None:
        before = self._pauses.get(view.user_id)
        length = FIRST_PAUSE if before is None else min(2 * before.length, PAUSE_MAX)
        self._pauses[view.user_id] = _Pause(until=self._services.clock() + length, length=length)

    async def _go_on(self, view: ErasureView) -> bool:
        """Whether it is over now."""
        user = f"user:{view.user_id}"
        leaver = Leaver(services=self._services, user_id=view.user_id, send=self._send)
        if not view.erased:  # the address is free once that is done, and another's invitations are not looked for
            await go_on_leaving(leaver, view.erasure_id)
            await forget_invited(leaver, view.email_hash)
        told = await end_subscription(leaver)
        if not view.erased:
            await self._send(user, EraseUser(erasure_id=view.erasure_id))
            self._services.identities.cache.stamped((view.user_id,))
            self._services.sealer.forget(user, f"account:{view.user_id}")
            _log.info("erasure_gone_on_with", user_id=view.user_id)
        if told:
            await self._send(user, FinishErasure(erasure_id=view.erasure_id))
        return told

    async def _send(self, stream: str, command: Command) -> Outcome:
        services = self._services
        header = Header(
            id=uuid7(),
            attempt=random_hex(),
            stream=stream,
            account=stream.partition(":")[2],
            actor=SYSTEM,
            issued_at=services.clock(),
        )
        ack = await services.commands.send(Envelope(header=header, body=command))
        outcome = await services.commands.outcome(ack.shard, header.id, header.attempt, WAIT_S)
        if outcome is None:
            raise ApiError("outcome_unknown")
        if outcome.status != "applied":
            raise refusal(outcome.data) if outcome.status == "rejected" else ApiError("command_failed")
        return outcome
