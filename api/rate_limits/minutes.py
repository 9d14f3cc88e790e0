"""Minutes of API keys that are over: handed, with the totals of all processes, to whoever puts them on record.

Every process reports the keys that it served, soon after the minute's end; a minute that nobody reported for half a
minute, since its process was killed, is any process's to report. Several reports of a minute are one (`api_key_use`).
"""

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from time import monotonic
from typing import TypeAlias

import structlog

from api.api_key_use import KeyUse
from api.background import ended
from api.caller import Caller
from api.rate_limits.rules import KEY
from eventstore.rates import RateMinute, RateStore
from projections.api_keys import find_api_key
from projections.documents import DocumentReader

EVERY_S = 5.0
SERVED_S = 90.0
"""How long a key counts as served at least: longer than its minute lasts, and takes to settle."""
AT_ONCE = 200
CALLERS_MAX = 20_000
"""Keys whose last caller is remembered, the least recently used go first: a process that saw it tells from where."""

Record: TypeAlias = Callable[[KeyUse], Awaitable[bool]]

_log = structlog.get_logger()


class KeyMinutes:
    """`seen` with every request of a key; `start` before the first, `stop` after the last.

    What it is started with puts one minute on record and answers whether the log has it.
    """

    def __init__(self, store: RateStore, documents: DocumentReader, *, callers_max: int = CALLERS_MAX) -> None:
        self._store = store
        self._documents = documents
        self._callers_max = callers_max
        self._callers: OrderedDict[str, Caller] = OrderedDict()
        self._served: tuple[set[str], set[str]] = (set(), set())
        """Keys that were served lately, and those before them."""
        self._turned_at = monotonic()
        self._task: asyncio.Task[None] | None = None

    def seen(self, caller: Caller) -> None:
        """Remembers the caller, if it is a key."""
        key_id = caller.key_id
        if key_id is None:
            return
        self._callers[key_id] = caller
        self._callers.move_to_end(key_id)
        if len(self._served[0]) < self._callers_max:
            self._served[0].add(key_id)
        if len(self._callers) > self._callers_max:
            self._callers.popitem(last=False)

    def start(self, record: Record) -> None:
        """Begins to report."""
        self._task = asyncio.create_task(self._run(record), name="key_minutes")

    async def stop(self) -> None:
        """Ends it; what is not reported yet another process will report."""
        await ended(self._task)
        self._task = None

    async def report(self, record: Record) -> int:
        """Reports what is over, a bounded number; answers how many are on record now."""
        served = self._served[0] | self._served[1]
        ended = await self._store.ended_minutes([KEY + key_id for key_id in served], AT_ONCE)
        done = [minute for minute in ended if await self._reported(minute, record)]
        if done:
            await self._store.minutes_reported(done)
        if monotonic() - self._turned_at > SERVED_S:
            self._served, self._turned_at = (set(), self._served[0]), monotonic()
        return len(done)

    async def _reported(self, minute: RateMinute, record: Record) -> bool:
        use = await self._use(minute)
        return use is None or await record(use)

    async def _use(self, minute: RateMinute) -> KeyUse | None:
        """What is to be put on record; `None` of a key that is gone, as after its account was erased."""
        key_id = minute.subject.removeprefix(KEY)
        caller = self._callers.get(key_id)
        account_id, user_id = ("", "") if caller is None else (caller.account_id, caller.user_id)
        if caller is None:
            key = await find_api_key(self._documents, key_id)
            if key is None:
                return None
            account_id, user_id = key.account_id, key.created_by
        return KeyUse(
            account_id=account_id,
            user_id=user_id,
            key_id=key_id,
            minute=minute.minute,
            count=minute.admitted,
            refused=minute.refused,
            last_at=minute.last_at,
            address="" if caller is None else caller.address,
            user_agent="" if caller is None else caller.user_agent,
        )

    async def _run(self, record: Record) -> None:
        while True:
            await asyncio.sleep(EVERY_S)
            try:
                while await self.report(record) == AT_ONCE:
                    pass
            except Exception as error:  # noqa: BLE001 - whatever it is, the minutes are still there next time
                _log.warning("key_minutes_not_reported", error=type(error).__name__)
