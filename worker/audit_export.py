"""Each day, to a folder of the operator's: where the log ends, signed, and the trails of accounts whose plan has that.

`heads/{day}.json` is for `verify --heads`; `accounts/{account}/{day}.ndjson` is the account's trail of that day (UTC),
the newest first, as `GET /audit` shows it but for addresses, which a worker cannot open. Nothing is overwritten, so
several workers may share the folder, and days that no worker was there for are made up for.
"""

import asyncio
import re
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import msgspec
import structlog

from domain.instant import DAY, MINUTE, SECOND, Instant, moment_of
from eventstore.clock import system_clock
from eventstore.codec import MacChain
from eventstore.errors import StoreError
from eventstore.postgres.store import PostgresStore
from projections.audit import AuditEntry
from projections.audit_trail import before, trail
from projections.postgres import PostgresDocuments
from worker.heads import LAST, begun_name, heads_of, write_heads
from worker.rfc3339 import format_instant

log = structlog.get_logger(__name__)

FEATURE = "audit_logs"
LOOK_S = 60.0
SETTLED: Instant = 10 * MINUTE
"""How long after its end a day is taken for complete: clocks of workers differ."""
DAYS_BACK = 7
LINES_AT_ONCE = 1_000
NAME = re.compile(r"\w{1,100}", re.ASCII)
"""What an account's id looks like; nothing else may name a folder."""

BEGUN = re.compile(r"\..+\.(json|ndjson)\.[0-9a-f]{16}")
"""See `worker.heads.begun_name`."""

# Of those whose plan, as it was confirmed, has the feature; a canceled subscription leaves the free plan.
ACCOUNTS = """
SELECT key FROM rm_subscriptions
WHERE doc->>'status' <> 'canceled' AND doc->'terms'->'features' @> to_jsonb(ARRAY[$1::text])
ORDER BY key
"""


class AuditExport:
    """Looks once a minute whether something is still to be written."""

    def __init__(
        self,
        folder: Path,
        store: PostgresStore,
        documents: PostgresDocuments,
        macs: MacChain,
        clock: Callable[[], Instant] = system_clock,
    ) -> None:
        self._folder = folder
        self._store = store
        self._documents = documents
        self._macs = macs
        self._clock = clock
        self._cleared_at: Instant = 0

    async def run(self) -> None:
        """Until it is cancelled. What fails is said, and tried again a minute later."""
        while True:
            try:
                await self.catch_up()
            except (StoreError, OSError) as error:
                log.warning("audit_export_waits", reason=str(error) or type(error).__name__)
            except Exception:
                log.exception("audit_export_failed")  # a bug of ours; commands do not depend on it
            await asyncio.sleep(LOOK_S)

    async def catch_up(self) -> None:
        """Writes today's heads, and the trails of days that are over, where they are missing."""
        now = self._clock()
        if now - self._cleared_at >= DAY:
            await asyncio.to_thread(clear_begun, self._folder, now - DAY)
            self._cleared_at = now
        await self._export_heads(now)
        for start in days_over(now):
            done = self._folder / "accounts" / f".{day_name(start)}.done"
            if not done.exists():
                await self._export_day(start)
                done.touch()

    async def _export_heads(self, now: Instant) -> None:
        path = self._folder / "heads" / f"{day_name(now)}.json"
        path.parent.mkdir(exist_ok=True)
        if path.exists():
            return
        found = heads_of(await self._store.pool.fetch(LAST), now)
        try:
            await asyncio.to_thread(write_heads, path, found, self._macs)
        except FileExistsError:
            return  # another worker was first
        log.info("heads_exported", file=path.name)

    async def _export_day(self, start: Instant) -> None:
        found = [row["key"] for row in await self._store.pool.fetch(ACCOUNTS, FEATURE)]
        accounts = [account for account in found if NAME.fullmatch(account)]
        (self._folder / "accounts").mkdir(exist_ok=True)
        for account in accounts:
            path = self._folder / "accounts" / account / f"{day_name(start)}.ndjson"
            path.parent.mkdir(exist_ok=True)
            if not path.exists():
                await self._export_trail(account, start, path)
        log.info("audit_trails_exported", day=day_name(start), accounts=len(accounts))

    async def _export_trail(self, account: str, start: Instant, path: Path) -> None:
        begun = begun_name(path)
        lines: list[bytes] = []
        begun.write_bytes(b"")
        async for placed in trail(self._documents, self._store, account, before(start + DAY)):
            if placed.entry.at < start:
                break
            lines.append(line_of(placed.entry))
            if len(lines) == LINES_AT_ONCE:
                await asyncio.to_thread(_append, begun, lines)
                lines = []
        await asyncio.to_thread(_append, begun, lines)
        begun.replace(path)


def clear_begun(folder: Path, before_: Instant) -> None:
    """Removes what workers that were killed have begun; nobody writes on a file for a day."""
    for path in (*folder.glob("heads/.*"), *folder.glob("accounts/*/.*")):
        with suppress(FileNotFoundError):
            if BEGUN.fullmatch(path.name) and path.stat().st_mtime * SECOND < before_:
                path.unlink()


def _append(path: Path, lines: list[bytes]) -> None:
    with path.open("ab") as file:
        file.writelines(lines)


def days_over(now: Instant) -> Iterator[Instant]:
    """The first instants of the last days that are complete, the oldest first."""
    today = (now - SETTLED) - (now - SETTLED) % DAY
    return iter(range(today - DAYS_BACK * DAY, today, DAY))


def day_name(at: Instant) -> str:
    """`2026-11-22`, UTC."""
    return moment_of(at).date().isoformat()


def line_of(entry: AuditEntry) -> bytes:
    """An entry as a line of JSON, with the names of `GET /audit`."""
    line = {
        "id": entry.id,
        "at": format_instant(entry.at),
        "actor": {"kind": entry.actor.kind, "id": entry.actor.id, "key_id": entry.actor.key_id},
        "action": entry.action,
        "subject": entry.stream or None,
        "outcome": "applied" if entry.code is None else "refused",
        "code": entry.code,
        "count": entry.count,
        "command_id": entry.command_id,
    }
    return msgspec.json.encode(line) + b"\n"
