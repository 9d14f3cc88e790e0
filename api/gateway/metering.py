"""What all metered calls of a process share: what is open, who has ample credits, and commands that must not be lost.

Progress of long calls is reported from one loop, and commands whose acknowledgement nobody waits for leave through one
bounded buffer: no call has a task or a timer of its own for either.
"""

import asyncio
import contextlib
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import Protocol

from api.command_log.bus import Ack, BusError
from api.command_log.commands import Commands
from api.errors import ApiError, declare
from api.gateway.client_watch import ClientWatch
from api.gateway.undecided import Undecided
from domain.account.quota_windows import Counted
from domain.envelope import Envelope
from domain.instant import Instant
from domain.money import MicroCredits
from eventstore.errors import StoreError
from projections.credits import get_credits
from projections.documents import DocumentReader
from telemetry import logs, metrics

ACK_S = 5.0
"""How long the acknowledgement of a settle is waited for."""
AGAIN_S = 0.1
"""The log may be back in a moment."""
AMPLE_FACTOR = 10
"""Credits are ample when this many times the estimate is free: then the provider need not wait for the hold."""
VIEW_S = 5.0
"""How old a known balance may be for that. It only ever saves waiting: the hold itself is always decided."""
MESSAGES_AMPLE_FACTOR, MESSAGES_AMPLE_MIN = 2, 10
"""Messages are ample when twice a minute's requests are left, and some more for what a rate limit lets overshoot."""
VIEWS_MAX = 50_000
UNSENT_MAX = 10_000
REPEATS_MAX = 1_000
"""Repeats that wait at a time for the first requests under their keys: each of them asks the store now and then."""
SENT_AT_ONCE = 256
TICK_S = 0.25
PAUSE_S_MAX = 5.0
STOP_S = 10.0
"""How long a process that ends tries to send what waits."""

declare(
    "metering_overloaded",
    "unavailable",
    "Too many charges wait for the command log.",
    "Try again after the seconds in Retry-After; nothing was charged.",
)


_unsent = metrics.gauge("settles_unsent", "Settles and releases that wait for the command log.")


class Reporting(Protocol):
    """An open call that says now and then what it has delivered."""

    def tick(self, now: float) -> Envelope | None:
        """A report that is due at `now` (monotonic seconds), if any."""
        ...


class Metering:
    """See the module. `start` in the running loop; `stop` sends what is left, for a bounded time."""

    def __init__(
        self, *, commands: Commands, documents: DocumentReader, shards: int, clock: Callable[[], Instant]
    ) -> None:
        self.commands = commands
        self.documents = documents
        self.shards = shards
        self.clock = clock
        self._views: dict[str, tuple[MicroCredits, float]] = {}
        """What is available, and until when that is believed."""
        self._messages: dict[str, tuple[int | None, float]] = {}
        """What is left of an account's day of messages, and until when that is believed."""
        self._reserved: dict[str, MicroCredits] = {}
        self._unsent: deque[Envelope] = deque()
        self._waiting = asyncio.Event()
        self._empty = asyncio.Event()
        self._empty.set()
        self._reporting: set[Reporting] = set()
        self._repeats = 0
        self.watches: set[ClientWatch] = set()
        """Requests whose clients are listened to once they take longer than a tick."""
        self.undecided = Undecided(commands, clock, self.deliver)
        """Takes back holds, and keys, that may still be made afterwards."""
        self._loops: list[asyncio.Task[None]] = []

    def start(self) -> None:
        """Starts the loops. Clients are listened to in one of their own, which never waits for the log."""
        loops = (self._deliver_all, self._report_all, self._listen_all, self.undecided.run)
        self._loops = [asyncio.create_task(loop(), name=loop.__name__) for loop in loops]

    async def stop(self) -> None:
        """Sends what waits in the buffer, as far as that is possible in time, and stops."""
        if self._loops:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._empty.wait(), STOP_S)
        if self._unsent:
            logs.get().error("settles_abandoned", count=len(self._unsent))
        for loop in self._loops:
            loop.cancel()
        await asyncio.gather(*self._loops, return_exceptions=True)
        self._loops = []

    def admit(self) -> None:
        """503 when the buffer is half full: no new debts to the log before the old ones are paid."""
        self.commands.poller.admit()
        if len(self._unsent) > UNSENT_MAX // 2:
            raise ApiError("metering_overloaded", headers={"Retry-After": "5"})

    @contextlib.contextmanager
    def repeating(self) -> Iterator[None]:
        """For the length of the block a repeat waits; 503 `overloaded` where too many do already."""
        if self._repeats >= REPEATS_MAX:
            raise ApiError("overloaded", headers={"Retry-After": "2"})
        self._repeats += 1
        try:
            yield
        finally:
            self._repeats -= 1

    # What an account has, as far as this process knows.

    def reserve(self, account_id: str, amount: MicroCredits) -> None:
        """Counts an open estimate of this process; a negative amount takes one back."""
        total = self._reserved.get(account_id, 0) + amount
        if total:
            self._reserved[account_id] = total
        else:
            self._reserved.pop(account_id, None)

    def saw(self, account_id: str, available: MicroCredits) -> None:
        """Remembers what an outcome has told."""
        if len(self._views) >= VIEWS_MAX:
            self._views.clear()
        self._views[account_id] = (available, time.monotonic() + VIEW_S)

    async def has_ample(self, account_id: str, amount: MicroCredits) -> bool:
        """Whether what is available, less this process's open estimates, is ten times the amount."""
        view = self._views.get(account_id)
        if view is None or view[1] < time.monotonic():
            try:
                credits = await get_credits(self.documents, self.shards, account_id)
            except StoreError:
                return False
            self.saw(account_id, credits.available if credits.debt == 0 else 0)
            view = self._views[account_id]
        return view[0] - self._reserved.get(account_id, 0) >= AMPLE_FACTOR * amount

    def saw_messages(self, account_id: str, counted: Counted) -> None:
        """Remembers what an outcome has told of the account's day of messages."""
        if len(self._messages) >= VIEWS_MAX:
            self._messages.clear()
        self._messages[account_id] = (counted.left, time.monotonic() + VIEW_S)

    def has_many_messages(self, account_id: str, per_minute: int | None) -> bool:
        """Whether none of the messages that may be under way can be the one behind the last of the day.

        The account's rate limit, which all processes share, bounds how many can have begun since the outcome that was
        seen; without one there is no bound.
        """
        left, until = self._messages.get(account_id, (0, 0.0))
        if left is None or per_minute is None or until < time.monotonic():
            return False
        return left >= MESSAGES_AMPLE_FACTOR * per_minute + MESSAGES_AMPLE_MIN

    # Progress.

    def report_on(self, call: Reporting) -> None:
        """From now on the call is asked for its progress."""
        self._reporting.add(call)

    def forget(self, call: Reporting) -> None:
        """The call has ended."""
        self._reporting.discard(call)

    async def _listen_all(self) -> None:
        while True:
            await asyncio.sleep(TICK_S)
            for watch in tuple(self.watches):
                watch.listen()

    async def _report_all(self) -> None:
        while True:
            await asyncio.sleep(TICK_S)
            try:
                await self._report_due(time.monotonic())
            except Exception:  # noqa: BLE001 (one call's bug must not end the reports of all)
                logs.get().exception("progress_not_reported")

    async def _report_due(self, now: float) -> None:
        due = [envelope for call in tuple(self._reporting) if (envelope := call.tick(now)) is not None]
        for start in range(0, len(due), SENT_AT_ONCE):
            await self._send_all(due[start : start + SENT_AT_ONCE])

    # Commands that must not be lost.

    async def send(self, envelope: Envelope) -> Ack | None:
        """Sends until it is acknowledged; `None` when it is not in time: it may have arrived or not.

        The bus bounds each single try, and sending again is harmless, as the id is the same.
        """
        until = time.monotonic() + ACK_S
        while True:
            try:
                return await self.commands.send(envelope)
            except BusError:
                if time.monotonic() + AGAIN_S >= until:
                    return None
                await asyncio.sleep(AGAIN_S)

    def deliver(self, envelope: Envelope) -> None:
        """Sends in the background, again and again until it is acknowledged; its id makes repeats harmless."""
        if len(self._unsent) >= UNSENT_MAX:
            lost = self._unsent.popleft()
            logs.get().error("settle_dropped", command_id=lost.header.id, stream=lost.header.stream)
        self._unsent.append(envelope)
        _unsent.set(len(self._unsent))
        self._waiting.set()
        self._empty.clear()

    async def _deliver_all(self) -> None:
        pause = 0.0
        while True:
            await self._waiting.wait()
            batch = [self._unsent[index] for index in range(min(len(self._unsent), SENT_AT_ONCE))]
            acks = await self._send_all(batch)
            sent = {id(envelope) for envelope, acked in zip(batch, acks, strict=True) if acked}
            if len(sent) == len(batch):
                pause = 0.0
            else:
                pause = min(max(pause * 2, TICK_S), PAUSE_S_MAX)
                logs.get().warning("settles_delayed", count=len(self._unsent) - len(sent), retry_in_s=pause)
            self._unsent = deque(envelope for envelope in self._unsent if id(envelope) not in sent)
            _unsent.set(len(self._unsent))
            if not self._unsent:
                self._waiting.clear()
                self._empty.set()
            await asyncio.sleep(pause)

    async def _send_all(self, envelopes: Iterable[Envelope]) -> list[bool]:
        """Sends side by side, in order; answers which need not be sent again: acknowledged, or refused for good."""
        acks = await asyncio.gather(*(self.send(each) for each in envelopes), return_exceptions=True)
        for ack in acks:
            if isinstance(ack, ApiError):
                logs.get().error("metering_command_refused", code=ack.code)
            elif isinstance(ack, BaseException):
                logs.get().error("metering_command_failed", error=type(ack).__name__)
        return [isinstance(ack, Ack | ApiError) for ack in acks]
