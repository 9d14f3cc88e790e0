"""Requests that the API itself refused to somebody it knows: counted, and put on the account's record each minute.

401 of a key that is known, 402, 403 and 429, unless a worker decided so, which is on record by command. Best effort: a
process that is killed loses what it has counted since the last minute. Refused claims about money do not wait for the
minute's end: each is on record before it is answered. Who is unknown is in the metrics alone.
"""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING

import structlog
from msgspec import Struct

from api.background import ended
from api.caller import Caller
from api.command_log.bus import BusError
from api.errors import ApiError, declare
from api.ids import random_hex, uuid7
from api.origin import seal_origin
from api.sealing import Erased, Sealer
from domain.audit import ENTRIES_MAX, RecordRefusals, RefusalCount
from domain.envelope import Actor, Envelope, Header
from domain.instant import MINUTE, Instant
from eventstore.errors import StoreError
from telemetry import metrics

if TYPE_CHECKING:
    from api.command_log.commands import Commands

FLUSH_S = 60.0
STOP_S = 5.0
"""How long the last counts may hold up the end of the process."""
COUNTS_MAX = 10_000
"""Principals and codes that are counted at a time; those beyond it are counted in a metric alone."""
KINDS = frozenset({"unauthenticated", "payment_required", "forbidden", "too_many"})
CLAIMS = frozenset({"payment_required", "forbidden"})
SYSTEM = Actor(kind="system", id="api")

declare(
    "too_many_refusals",
    "invalid",
    "There are too many refusals in one record.",
    "Report the request id to the operator.",
)

_log = structlog.get_logger()
_uncounted = metrics.counter("refusals_unrecorded", "Refused requests that no audit trail has, for want of room.")


class _Count(Struct):
    caller: Caller
    """Of the last one."""
    route: str
    count: int = 0


class RefusedRequests:
    """`note` costs a look-up; `flush` sends one command for each account."""

    def __init__(
        self, *, commands: "Commands", sealer: Sealer, clock: Callable[[], Instant], flush_s: float = FLUSH_S
    ) -> None:
        self._commands = commands
        self._sealer = sealer
        self._clock = clock
        self._flush_s = flush_s
        self._counts: dict[tuple[str, str, str | None, str], _Count] = {}
        self._minute: Instant = 0
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begins to flush, once a minute."""
        self._task = asyncio.create_task(self._run(), name="refused-requests")

    async def stop(self) -> None:
        """Flushes what is left and ends."""
        await ended(self._task)
        try:
            async with asyncio.timeout(STOP_S):
                await self.flush()
        except TimeoutError:
            _log.warning("refusals_lost", reason="the log did not take them in time")

    def note(self, caller: Caller, error: ApiError, route: str) -> None:
        """Counts a refusal, if it is one that belongs into a trail."""
        if not _belongs(caller, error, KINDS):
            return
        key = (caller.account_id, caller.user_id, caller.key_id, error.code)
        found = self._counts.get(key)
        if found is None:
            if len(self._counts) >= COUNTS_MAX:
                _uncounted.inc()
                return
            if not self._counts:
                now = self._clock()
                self._minute = now - now % MINUTE
            found = self._counts[key] = _Count(caller=caller, route=route)
        found.caller, found.route = caller, route
        found.count += 1

    async def record(self, caller: Caller, error: ApiError, route: str) -> None:
        """Puts one refusal on record at once; while the log does not take it, it is counted as others are.

        What is refused for its rate alone is counted in any case, so that nobody can fill the log with it.
        """
        if _belongs(caller, error, CLAIMS):
            now = self._clock()
            with suppress(StoreError, OSError):
                entry = await self._entry(error.code, _Count(caller=caller, route=route, count=1))
                if await self._send(caller.account_id, now - now % MINUTE, [entry]):
                    return
        self.note(caller, error, route)

    async def flush(self) -> None:
        """Puts everything that was counted on record. What cannot be sent is lost, and said so in the log."""
        counts, self._counts, minute = self._counts, {}, self._minute
        by_account: dict[str, list[RefusalCount]] = {}
        for (account, _, _, code), each in counts.items():
            try:
                by_account.setdefault(account, []).append(await self._entry(code, each))
            except (StoreError, OSError) as error:
                _log.warning("refusals_lost", reason=type(error).__name__)
        for account, entries in by_account.items():
            for start in range(0, len(entries), ENTRIES_MAX):
                await self._send(account, minute, entries[start : start + ENTRIES_MAX])

    async def _entry(self, code: str, each: _Count) -> RefusalCount:
        caller = each.caller
        origin: str | None = None
        with suppress(Erased):
            origin = await seal_origin(self._sealer, f"user:{caller.user_id}", caller.address, caller.user_agent)
        return RefusalCount(actor=caller.actor(origin), code=code, route=each.route, count=each.count)

    async def _send(self, account: str, minute: Instant, entries: list[RefusalCount]) -> bool:
        stream = f"audit:{account}"
        header = Header(
            id=uuid7(), attempt=random_hex(), stream=stream, account=account, actor=SYSTEM, issued_at=self._clock()
        )
        command = RecordRefusals(minute=minute, refusals=tuple(entries))
        try:
            await self._commands.send(Envelope(header=header, body=command))
        except (ApiError, BusError, OSError) as error:
            _log.warning("refusals_lost", account_id=account, reason=str(error) or type(error).__name__)
            return False
        return True

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(self._flush_s)
            try:
                await self.flush()
            except Exception:  # noqa: BLE001  # a bug of ours; the next minute tries again
                _log.exception("refusals_not_recorded")


def _belongs(caller: Caller, error: ApiError, kinds: frozenset[str]) -> bool:
    return error.kind in kinds and not error.decided and bool(caller.account_id)
