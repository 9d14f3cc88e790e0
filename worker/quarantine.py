"""`python -m worker quarantine`: streams that could not be folded, and letting them go once they can."""

from collections import Counter

from eventstore.shards import shard_of
from worker.dead_letters import describe, repairs_of
from worker.operating import NotDone, operators_store
from worker.repair import StillBroken
from worker.settings import WorkerSettings
from worker.words import Commands, add_command


def add_parser(commands: Commands) -> None:
    """The words of `quarantine`."""
    noun = add_command(commands, "quarantine", "list or release streams that could not be folded")
    verbs = noun.add_subparsers(dest="verb", required=True, metavar="list|release")
    add_command(verbs, "list", "list them, each with the number of its waiting commands").set_defaults(
        act=list_quarantine
    )
    words = add_command(verbs, "release", "apply what was set aside, in order, after a release that can fold it")
    words.add_argument("stream", help="as `list` shows it")
    words.set_defaults(act=release_quarantine)


async def list_quarantine(settings: WorkerSettings) -> str:
    """One line for each stream."""
    lines = []
    async with operators_store(settings) as store:
        shards = await store.shards()
        for stream in await store.quarantined():
            shard = shard_of(stream, shards)
            waiting = await store.count_set_aside(shard, stream)
            lines.append(f"{stream}  shard {shard}  {waiting} commands set aside")
    return "\n".join(lines) or "no stream is in quarantine"


async def release_quarantine(settings: WorkerSettings, *, stream: str) -> str:
    """Refolds the stream and decides what was set aside, before anything newer.

    `NotDone` if it cannot be folded or breaks again: it then stays in quarantine, and nothing is lost.
    """
    counts: Counter[str] = Counter()
    async with operators_store(settings) as store:
        if stream not in await store.quarantined():
            raise NotDone(f"{stream} is not in quarantine")
        async with repairs_of(store, settings, shard_of(stream, await store.shards())) as repairs:
            try:
                async for outcome in repairs.release(stream):
                    counts[describe(outcome)] += 1
            except StillBroken as error:
                done = f"; {counts.total()} commands before that were decided" if counts else ""
                raise NotDone(f"{error}{done}") from error
    said = ", ".join(f"{count} {what}" for what, count in counts.items()) or "none were waiting"
    return f"{stream} is free; of the commands set aside: {said}"
