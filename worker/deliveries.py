"""`python -m worker deliveries`: what the outside has not taken, and what becomes of it."""

import argparse
from collections.abc import Sequence

from domain.instant import Instant
from eventstore import codec
from eventstore.clock import system_clock
from eventstore.outbox import Delivery, DeliveryState
from eventstore.postgres.store import PostgresStore
from eventstore.shards import shard_of
from worker.operating import NotDone, ProgressLine, operators_store
from worker.outgoing.log_reader import EVENTS_MAX
from worker.outgoing.notices import event_tags
from worker.outgoing.webhooks import notice
from worker.rfc3339 import format_instant, parse_instant
from worker.settings import WorkerSettings
from worker.words import Commands, add_command, number

LISTED = 100
LISTED_MAX = 100_000


def add_parser(commands: Commands) -> None:
    """The words of `deliveries`."""
    noun = add_command(commands, "deliveries", "list, retry, drop or replay what is told to the outside")
    verbs = noun.add_subparsers(dest="verb", required=True, metavar="list|retry|drop|replay")
    listing = add_command(verbs, "list", "list them, the oldest first")
    listing.add_argument(
        "--state", choices=("waiting", "dead"), default="dead", help="dead: given up after a day (the default)"
    )
    listing.add_argument(
        "--limit", type=number(1, LISTED_MAX), default=LISTED, metavar="N", help=f"how many (default {LISTED})"
    )
    listing.set_defaults(act=list_deliveries)
    for verb, act, about in (
        ("retry", retry_deliveries, "send them again, now, as if they had just been made"),
        ("drop", drop_deliveries, "forget them; the log has what they told of"),
    ):
        words = add_command(verbs, verb, about)
        words.add_argument("ids", nargs="*", metavar="id", help="as `list` shows them")
        words.add_argument("--all", action="store_true", dest="everything", help="all that are dead, that is given up")
        words.set_defaults(act=act)
    replaying = add_command(verbs, "replay", "make notices of the log once more, with the ids that they had")
    replaying.add_argument("--from", type=_instant, required=True, dest="since", metavar="TIME", help="RFC 3339")
    replaying.add_argument("--account", help="of one account only")
    replaying.set_defaults(act=replay_deliveries)


def _instant(text: str) -> Instant:
    try:
        return parse_instant(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


async def list_deliveries(settings: WorkerSettings, *, state: DeliveryState, limit: int) -> str:
    """One line for each."""
    async with operators_store(settings) as store:
        found = await store.deliveries(state, limit)
    more = f"\n… and perhaps more: --limit {min(limit * 10, LISTED_MAX)}" if len(found) == limit else ""
    return ("\n".join(map(_line, found)) or f"no delivery is {state}") + more


def _line(delivery: Delivery) -> str:
    return (
        f"{delivery.id}  {format_instant(delivery.created_at)}  {delivery.target}  {delivery.type}  "
        f"{delivery.account}  {delivery.attempts} attempts  {delivery.problem or '-'}"
    )


async def retry_deliveries(settings: WorkerSettings, *, ids: Sequence[str], everything: bool) -> str:
    """Makes them due now."""
    async with operators_store(settings) as store:
        count = await store.revive_deliveries(_chosen(ids, everything=everything), system_clock())
    return _said("retried", count, ids)


async def drop_deliveries(settings: WorkerSettings, *, ids: Sequence[str], everything: bool) -> str:
    """Removes them."""
    async with operators_store(settings) as store:
        count = await store.drop_deliveries(_chosen(ids, everything=everything))
    return _said("dropped", count, ids)


def _chosen(ids: Sequence[str], *, everything: bool) -> Sequence[str] | None:
    if everything == bool(ids):
        raise NotDone("name deliveries by their ids, or give --all")
    return None if everything else sorted(set(ids))


def _said(what: str, count: int, ids: Sequence[str]) -> str:
    if count < len(set(ids)):
        raise NotDone(f"{what} {count}; {len(set(ids)) - count} of the ids name none")
    return f"{what} {count}"


async def replay_deliveries(settings: WorkerSettings, *, since: Instant, account: str | None) -> str:
    """Notices of events from `since` on that a reader has passed already; those that wait stay as they are."""
    if not settings.outgoing.webhook_url:
        raise NotDone("there is nobody to replay to: FORMSTATE_WEBHOOK_URL is not set")
    async with operators_store(settings) as store:
        heads = {head.shard: head.seq for head in await store.shard_heads()}
        shards = sorted(heads) if account is None else [shard_of(f"account:{account}", len(heads))]
        progress = ProgressLine("replay", sum(heads[shard] for shard in shards))
        added = 0
        for shard in shards:
            for position in range(0, heads[shard], EVENTS_MAX):
                until = min(position + EVENTS_MAX, heads[shard])
                added += await _replay(store, shard, position, until, since, account)
                progress.add(until - position)
    return f"{added} notices will be sent again" if added else "no notice to send again"


async def _replay(store: PostgresStore, shard: int, after: int, until: int, since: Instant, account: str | None) -> int:
    at = system_clock()
    stored = await store.events_of(shard, after, until, event_tags())
    wanted = [each for each in stored if each.at >= since and account in (None, each.stream.partition(":")[2])]
    made = (notice(shard, codec.recorded(each), at) for each in wanted)
    return await store.enqueue_again([each for each in made if each is not None])
