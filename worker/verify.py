"""`python -m worker verify`: holds everything that is stored against the log, and the log against its own chain."""

from pathlib import Path

from eventstore.codec import MacChain
from eventstore.postgres.driver_errors import translated
from worker.findings import Findings
from worker.heads import compare_heads, read_heads
from worker.operating import NotDone, ProgressLine, connected, patient_collector, side_by_side
from worker.settings import WorkerSettings
from worker.verify_shard import ShardVerification, prepare
from worker.words import Commands, add_command

SHARDS_AT_ONCE = 2
"""While the database works for one shard, another is folded."""

HEADS = "SELECT shard, seq FROM shard_head ORDER BY shard"


def add_parser(commands: Commands) -> None:
    """The words of `verify`."""
    words = add_command(commands, "verify", "hold read models, snapshots, money and macs against the log")
    words.add_argument("--shard", type=int, help="this one alone")
    words.add_argument("--heads", type=Path, help="heads exported before: is everything up to them still there?")
    words.set_defaults(act=verify)


async def verify(settings: WorkerSettings, *, shard: int | None = None, heads: Path | None = None) -> str:
    """Answers a summary, or raises `NotDone` with it and every difference (the first hundred in words).

    Each shard is looked at as of one moment of its own. It changes nothing, and workers go on meanwhile. With `heads`,
    the log's end is held against what was exported: a tail that was cut off leaves no other trace.
    """
    findings = Findings()
    macs = MacChain(dict(settings.log_mac_keys))
    exported = None if heads is None else read_heads(heads, macs)
    async with connected(settings.database_url) as connection:
        with translated():
            seqs = {row["shard"]: row["seq"] for row in await connection.fetch(HEADS)}
        wanted = sorted(seqs) if shard is None else [shard]
        if not set(wanted) <= seqs.keys():
            raise NotDone(f"there is no shard {shard}; there are {len(seqs)}, from 0")
        if exported is not None:
            await compare_heads(connection, exported, wanted, findings)
    line = ProgressLine("verify", sum(seqs[each] for each in wanted))
    waiting = iter(wanted)

    async def work() -> None:
        async with connected(settings.database_url) as connection:
            await prepare(connection)
            for each in waiting:
                verification = ShardVerification(
                    connection,
                    each,
                    shards=len(seqs),
                    macs=macs,
                    findings=findings,
                    counted=line.add,
                )
                await verification.run()

    with patient_collector():
        await side_by_side(SHARDS_AT_ONCE, work)
    line.say()
    if findings.counts:
        raise NotDone(findings.report())
    return findings.report()
