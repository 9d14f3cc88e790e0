"""Tells the log how far its shards are applied, beside the rounds: none of them waits for it.

A store that was restored to an older state is recognised by offsets that were committed beyond it, so what is lost in
its last moments would go unseen for as long as positions are kept back here.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Mapping

import structlog

from worker.source import LogUnavailable

log = structlog.get_logger(__name__)

COMMIT_EVERY_S = 0.1
COMMIT_AGAIN_S = 2.0
"""After a commit that failed; what has been applied meanwhile is in the next one."""
REPEAT_S = 5.0
"""What is not new is committed again: a worker that was frozen may have written older positions over it."""


class Committer:
    """Commits the newest positions in the background, one commit at a time, while there are new ones.

    That a commit fails is only said: no decision of a lane depends on it.
    """

    def __init__(
        self,
        commit: Callable[[Mapping[int, int]], Awaitable[None]],
        *,
        every_s: float = COMMIT_EVERY_S,
        again_s: float = COMMIT_AGAIN_S,
        repeat_s: float = REPEAT_S,
    ) -> None:
        self._commit = commit
        self._every_s = every_s
        self._again_s = again_s
        self._repeat_s = repeat_s
        self._newest: dict[int, int] = {}
        self._told: dict[int, int] = {}
        self._news = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def progressed(self, positions: Mapping[int, int]) -> None:
        """These shards, and no others, are applied up to these offsets."""
        if positions != self._newest:
            self._newest = dict(positions)
            self._news.set()
            if self._task is None:
                self._task = asyncio.create_task(self._run(), name="committer")

    async def _run(self) -> None:
        while True:
            try:
                async with asyncio.timeout(self._repeat_s):
                    await self._news.wait()
            except TimeoutError:
                self._told = {}
            self._news.clear()
            await asyncio.sleep(self._every_s if await self._tell() else self._again_s)

    async def _tell(self) -> bool:
        newest = self._newest
        news = {shard: offset for shard, offset in newest.items() if self._told.get(shard) != offset}
        try:
            if news:
                await self._commit(news)
        except (LogUnavailable, OSError) as error:
            log.warning("positions_not_committed", reason=str(error) or type(error).__name__)
            self._news.set()
            return False
        self._told = newest
        return True

    async def close(self) -> None:
        """Ends it; whoever wants the last positions committed does that after."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
