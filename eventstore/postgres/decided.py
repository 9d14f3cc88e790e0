"""Word of decided commands: `NOTIFY` in transactions of its own, which no round waits for and nothing depends on.

A transaction that notifies takes a lock of all who do until it is committed. Within rounds, whose commits wait for the
disk, that would put them in a queue; here it is held for the few microseconds of a commit that has nothing to write.
"""

import asyncio
import contextlib
from collections.abc import Callable, Sequence

import asyncpg

from eventstore.postgres.driver_errors import translated
from eventstore.postgres.pool import Part

CHANNEL = "formstate_decided"
IDS_MAX = 100
"""Command ids in one notification: its payload must stay below 8,000 bytes (PostgreSQL's documentation, NOTIFY), and
an id has at most 64."""


class Decided(Part):
    """See `store.DecidedStore`."""

    async def tell_decided(self, command_ids: Sequence[str]) -> None:
        """See `store.DecidedStore`."""
        payloads = [" ".join(command_ids[start : start + IDS_MAX]) for start in range(0, len(command_ids), IDS_MAX)]
        await self._pool.fetch("SELECT pg_notify($1, payload) FROM unnest($2::text[]) AS payload", CHANNEL, payloads)

    async def hear_decided(self, heard: Callable[[Sequence[str]], None], listening: Callable[[], None]) -> None:
        """See `store.DecidedStore`."""
        ended = asyncio.Event()

        def on_notification(_connection: object, _pid: int, _channel: str, payload: object) -> None:
            heard(str(payload).split())

        def on_termination(_connection: object) -> None:
            ended.set()

        connection = await self._pool.acquire()
        try:
            with translated():
                connection.add_termination_listener(on_termination)
                await connection.add_listener(CHANNEL, on_notification)
                listening()
                await ended.wait()
        finally:
            with contextlib.suppress(asyncpg.PostgresError, asyncpg.InterfaceError, OSError):
                connection.remove_termination_listener(on_termination)
                await connection.remove_listener(CHANNEL, on_notification)
            await self._pool.release(connection)
