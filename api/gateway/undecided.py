"""Takes back what nobody knows to be written: sent again until the command that it takes back can come no more.

A command that was handed to a producer which then broke may arrive after the release of its hold, which was sent
through the next producer and found nothing. That proves nothing before the command's deadline has passed.
"""

import asyncio
import time
from collections.abc import Callable

import msgspec
from msgspec import Struct

from api.command_log.commands import Commands, follow_up
from domain.envelope import Envelope
from domain.instant import SECOND, Instant
from eventstore.errors import StoreError
from eventstore.records import Outcome
from telemetry import logs, metrics

LOOK_EVERY_S = 0.25
PAUSE_S, PAUSE_S_MAX = 0.5, 15.0
"""What was sent is looked at after this, the one that follows it after twice as long, and so on."""
CLOCKS_DIFFER: Instant = 5 * SECOND
UNDECIDED_MAX = 10_000
LOOKED_UP_AT_ONCE = 1_000

FOUND_NOTHING = frozenset({"hold_not_found", "api_key_not_found"})

_undecided = metrics.gauge("undecided", "Commands that are taken back until they can come no more.")
_refusal = msgspec.json.Decoder(dict[str, object])


class _Undoing(Struct, kw_only=True):
    envelope: Envelope
    until: Instant
    """The deadline of the command that is taken back."""
    pause_s: float = PAUSE_S
    due: float = 0.0
    """When it is looked at next, in monotonic seconds."""


class Undecided:
    """Sends with `deliver`, and asks `commands` what became of it. `run` until it is cancelled."""

    def __init__(self, commands: Commands, clock: Callable[[], Instant], deliver: Callable[[Envelope], None]) -> None:
        self._commands = commands
        self._clock = clock
        self._deliver = deliver
        self._open: dict[str, _Undoing] = {}
        self._news = asyncio.Event()

    def undo(self, envelope: Envelope, until: Instant) -> None:
        """Sends a command, and again as long as it finds nothing and what it takes back may come `until` then."""
        if len(self._open) >= UNDECIDED_MAX:
            lost = self._open.pop(next(iter(self._open)))
            logs.get().error("undecided_forgotten", stream=lost.envelope.header.stream)
        self._send(_Undoing(envelope=envelope, until=until))

    def _send(self, undoing: _Undoing) -> None:
        undoing.due = time.monotonic() + undoing.pause_s
        self._open[undoing.envelope.header.id] = undoing
        self._deliver(undoing.envelope)
        self._news.set()

    async def run(self) -> None:
        """Looks at what is open, in one query."""
        while True:
            _undecided.set(len(self._open))
            if not self._open:
                self._news.clear()
                await self._news.wait()
            await asyncio.sleep(LOOK_EVERY_S)
            try:
                await self._look()
            except (StoreError, OSError) as error:
                logs.get().warning("undecided_wait", error=type(error).__name__)
            except Exception:  # noqa: BLE001 (whatever it is, the next ones must still be taken back)
                logs.get().exception("undecided_wait")

    async def _look(self) -> None:
        now, clock = time.monotonic(), self._clock()
        due = [each for each in self._open.values() if each.due <= now][:LOOKED_UP_AT_ONCE]
        pairs = {(self._commands.shard(each.envelope.header.stream), each.envelope.header.id) for each in due}
        found = await self._commands.poller.read(pairs) if pairs else {}
        for each in due:
            command_id = each.envelope.header.id
            outcome = found.get(command_id)
            if outcome is not None and _found_nothing(outcome) and outcome.at <= each.until:
                self._again(each)
            elif outcome is not None or clock > each.until + CLOCKS_DIFFER:
                # Whatever is decided from now on finds it, or it is refused for its deadline.
                self._open.pop(command_id, None)
            else:
                each.due = now + LOOK_EVERY_S

    def _again(self, undoing: _Undoing) -> None:
        """Under another id, since the outcome of this one is final."""
        self._open.pop(undoing.envelope.header.id, None)
        self._send(
            _Undoing(
                envelope=follow_up(undoing.envelope, undoing.envelope.body, self._clock()),
                until=undoing.until,
                pause_s=min(undoing.pause_s * 2, PAUSE_S_MAX),
            )
        )


def _found_nothing(outcome: Outcome) -> bool:
    return outcome.status == "rejected" and _refusal.decode(outcome.data).get("code") in FOUND_NOTHING
