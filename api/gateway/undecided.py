"""Holds of which nobody knows whether their command was written: released again until it can come no more.

A command that was handed to a producer which then broke may arrive after the release that was sent through the next
one. That release finds no hold, so it proves nothing before the command's deadline has passed.
"""

import asyncio
import time
from collections.abc import Callable

import msgspec
from msgspec import Struct, structs

from api.commands import Commands
from api.ids import random_hex, uuid7
from domain.envelope import Envelope
from domain.instant import SECOND, Instant
from eventstore.errors import StoreError
from eventstore.records import Outcome
from telemetry import logs, metrics

LOOK_EVERY_S = 0.25
PAUSE_S, PAUSE_S_MAX = 0.5, 15.0
"""A release is looked at after this, the one that follows it after twice as long, and so on."""
CLOCKS_DIFFER: Instant = 5 * SECOND
UNDECIDED_MAX = 10_000
LOOKED_UP_AT_ONCE = 1_000

_undecided = metrics.gauge("holds_undecided", "Holds that are released until their commands can come no more.")
_refusal = msgspec.json.Decoder(dict[str, object])


class _Release(Struct, kw_only=True):
    envelope: Envelope
    until: Instant
    """The deadline of the hold's command."""
    pause_s: float = PAUSE_S
    due: float = 0.0
    """When it is looked at next, in monotonic seconds."""


class Undecided:
    """Sends with `deliver`, and asks `commands` what became of it. `run` until it is cancelled."""

    def __init__(self, commands: Commands, clock: Callable[[], Instant], deliver: Callable[[Envelope], None]) -> None:
        self._commands = commands
        self._clock = clock
        self._deliver = deliver
        self._open: dict[str, _Release] = {}
        self._news = asyncio.Event()

    def release(self, envelope: Envelope, until: Instant) -> None:
        """Sends the release, and again as long as it finds no hold and the hold's command may come `until` then."""
        if len(self._open) >= UNDECIDED_MAX:
            lost = self._open.pop(next(iter(self._open)))
            logs.get().error("undecided_hold_forgotten", stream=lost.envelope.header.stream)
        self._send(_Release(envelope=envelope, until=until))

    def _send(self, release: _Release) -> None:
        release.due = time.monotonic() + release.pause_s
        self._open[release.envelope.header.id] = release
        self._deliver(release.envelope)
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
                logs.get().warning("undecided_holds_wait", error=type(error).__name__)
            except Exception:  # noqa: BLE001 (whatever it is, the next ones must still be released)
                logs.get().exception("undecided_holds_wait")

    async def _look(self) -> None:
        now, clock = time.monotonic(), self._clock()
        due = [each for each in self._open.values() if each.due <= now][:LOOKED_UP_AT_ONCE]
        pairs = {(self._commands.shard(each.envelope.header.stream), each.envelope.header.id) for each in due}
        found = await self._commands.poller.read(pairs) if pairs else {}
        for each in due:
            outcome = found.get(each.envelope.header.id)
            if outcome is not None and _found_nothing(outcome) and outcome.at <= each.until:
                self._again(each)
            elif outcome is not None or clock > each.until + CLOCKS_DIFFER:
                # Whatever is decided from now on finds the hold, or its command is refused for its deadline.
                del self._open[each.envelope.header.id]
            else:
                each.due = now + LOOK_EVERY_S

    def _again(self, release: _Release) -> None:
        """Under another id, since the outcome of this one is final."""
        del self._open[release.envelope.header.id]
        header = structs.replace(release.envelope.header, id=uuid7(), attempt=random_hex(), issued_at=self._clock())
        self._send(
            _Release(
                envelope=Envelope(header=header, body=release.envelope.body),
                until=release.until,
                pause_s=min(release.pause_s * 2, PAUSE_S_MAX),
            )
        )


def _found_nothing(outcome: Outcome) -> bool:
    return outcome.status == "rejected" and _refusal.decode(outcome.data).get("code") == "hold_not_found"
