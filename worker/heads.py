"""`python -m worker heads`: where the log ends, signed, to be kept where nobody who can write the database can.

The chain of macs finds every change of the log but one: that its end was cut off, heads and all. Sequence numbers have
no gaps and are covered by the macs, so the last event of each shard stands for everything before it. Refused commands
leave no event; of these the number is kept.
"""

import asyncio
import os
import secrets
from collections.abc import Sequence
from pathlib import Path

import asyncpg
import msgspec
from msgspec import Struct

from domain.instant import Instant
from eventstore.clock import system_clock
from eventstore.codec import MacChain
from eventstore.postgres.driver_errors import translated
from eventstore.postgres.pool import DirectConnection
from worker.findings import Findings
from worker.operating import NotDone, connected
from worker.settings import WorkerSettings
from worker.words import Commands, add_command

PLACE = b"heads of the log\n"

LAST = """
SELECT head.shard, head.seq, event.stream, event.version, event.mac,
    (SELECT count(*) FROM refusals AS refusal WHERE refusal.shard = head.shard) AS refusals
FROM shard_head AS head
LEFT JOIN events AS event ON event.shard = head.shard AND event.seq = head.seq
ORDER BY head.shard
"""

REFUSALS = "SELECT count(*) FROM refusals WHERE shard = $1"

AT = "SELECT stream, version, mac FROM events WHERE shard = $1 AND seq = $2"


class Head(Struct, frozen=True, kw_only=True):
    """The last event of a shard; `seq` 0 and nothing else where there is none yet."""

    shard: int
    seq: int
    stream: str = ""
    version: int = 0
    mac: bytes = b""
    refusals: int = 0
    """Rows of refused commands, which are only ever added."""


class Heads(Struct, frozen=True, kw_only=True):
    """The ends of all shards, at about one moment."""

    at: Instant
    shards: list[Head]


class Signed(Struct, frozen=True, kw_only=True):
    """What the file holds: the heads as the very bytes that were signed, base64, and their mac."""

    heads: bytes
    mac: bytes


def add_parser(commands: Commands) -> None:
    """The words of `heads`."""
    words = add_command(commands, "heads", "write where the log ends, signed, for `verify --heads`")
    words.add_argument("--out", type=Path, required=True, metavar="FILE", help="a new file")
    words.set_defaults(act=heads)


async def heads(settings: WorkerSettings, *, out: Path) -> str:
    """Writes the file. `NotDone` if it is there already: what was exported is never overwritten."""
    async with connected(settings.database_url) as connection:
        with translated():
            rows = await connection.fetch(LAST)
    try:
        await asyncio.to_thread(write_heads, out, heads_of(rows, system_clock()), MacChain(dict(settings.log_mac_keys)))
    except FileExistsError as error:
        raise NotDone(f"{out} is there already; give a new name") from error
    except OSError as error:
        raise NotDone(f"{out} cannot be written: {error.strerror}") from error
    return f"wrote the heads of {len(rows)} shards to {out}"


def heads_of(rows: Sequence[asyncpg.Record], at: Instant) -> Heads:
    """The heads that the rows of `LAST` tell."""
    return Heads(
        at=at,
        shards=[
            Head(shard=shard, seq=seq, stream=stream or "", version=version or 0, mac=mac or b"", refusals=refusals)
            for shard, seq, stream, version, mac, refusals in rows
        ],
    )


def write_heads(path: Path, found: Heads, macs: MacChain) -> None:
    """Writes a new file, whole or not at all. `FileExistsError` if there is one."""
    body = msgspec.json.encode(found)
    signed = msgspec.json.encode(Signed(heads=body, mac=macs.seal(PLACE, body)))
    begun = begun_name(path)
    begun.write_bytes(signed + b"\n")
    try:
        os.link(begun, path)
    finally:
        begun.unlink()


def begun_name(path: Path) -> Path:
    """Where a file is written until it is whole. Not by pid: in containers, all workers of a folder have the same."""
    return path.with_name(f".{path.name}.{secrets.token_hex(8)}")


def read_heads(path: Path, macs: MacChain) -> Heads:
    """What a file says. `NotDone` unless one of our keys has signed it."""
    try:
        signed = msgspec.json.decode(path.read_bytes(), type=Signed)
        found = msgspec.json.decode(signed.heads, type=Heads)
    except OSError as error:
        raise NotDone(f"{path} cannot be read: {error.strerror}") from error
    except msgspec.MsgspecError as error:
        raise NotDone(f"{path} holds no exported heads") from error
    if not macs.is_sealed(signed.mac, PLACE, signed.heads):
        raise NotDone(f"{path} was not signed by any key of FORMSTATE_LOG_MAC_KEYS, or was changed since")
    return found


async def compare_heads(connection: DirectConnection, exported: Heads, shards: list[int], findings: Findings) -> None:
    """Everything that was there when the heads were exported is there now, at the same places."""
    by_shard = {head.shard: head for head in exported.shards}
    for shard in shards:
        head = by_shard.get(shard)
        if head is None:
            findings.add("heads", f"shard {shard}", "is not among the exported heads")
            continue
        place = f"shard {shard}"
        with translated():
            refusals = await connection.fetchval(REFUSALS, shard)
            row = await connection.fetchrow(AT, shard, head.seq) if head.seq else None
        if refusals < head.refusals:
            findings.add("heads", place, f"had {head.refusals} refused commands, of which {refusals} are left")
        if head.seq == 0:
            continue
        if row is None:
            findings.add("heads", place, f"had event {head.seq} ({head.stream} version {head.version}), which is gone")
        elif (row["stream"], row["version"], row["mac"]) != (head.stream, head.version, head.mac):
            findings.add("heads", place, f"has another event at {head.seq} than {head.stream} version {head.version}")
    findings.note("exported heads", len(by_shard))
