"""`python -m worker dead-letters`: records that could not be applied, and what becomes of them."""

import argparse
import re
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from itertools import groupby

import msgspec
from msgspec import structs

from eventstore.clock import system_clock
from eventstore.codec import MacChain
from eventstore.errors import UnknownType
from eventstore.postgres.store import PostgresStore
from eventstore.records import DeadLetter, Outcome
from projections.postgres import PostgresDocuments
from worker.operating import NotDone, operators_store
from worker.repair import Repairs, repairing
from worker.rfc3339 import format_instant
from worker.settings import WorkerSettings
from worker.words import Commands, add_command, number

LISTED = 100
ALL_MAX = 100_000
"""Dead letters that one `--all` takes up; run it again for more."""

Place = tuple[int, int, int]
"""`DeadLetter.place`, written `shard:epoch:offset`."""


def add_parser(commands: Commands) -> None:
    """The words of `dead-letters`."""
    noun = add_command(commands, "dead-letters", "list, retry or drop commands that could not be applied")
    verbs = noun.add_subparsers(dest="verb", required=True, metavar="list|retry|drop")
    listing = add_command(verbs, "list", "list them, the oldest first")
    listing.add_argument(
        "--state",
        choices=("open", "retried", "dropped", "released"),
        default="open",
        help="open: still to be dealt with (the default)",
    )
    listing.add_argument(
        "--limit", type=number(1, ALL_MAX), default=LISTED, metavar="N", help=f"how many (default {LISTED})"
    )
    listing.set_defaults(act=list_dead_letters)
    for verb, act, about in (
        ("retry", retry_dead_letters, "decide them again, after the release that failed on them was mended"),
        ("drop", drop_dead_letters, "end them for good: their clients are told `dropped`"),
    ):
        words = add_command(verbs, verb, about)
        words.add_argument("places", nargs="*", metavar="shard:epoch:offset", type=_place, help="as `list` shows them")
        words.add_argument("--all", action="store_true", dest="everything", help="all that are open")
        words.set_defaults(act=act)


def _place(text: str) -> Place:
    match = re.fullmatch(r"(\d{1,4}):(\d{1,9}):(\d{1,18})", text, re.ASCII)
    if match is None:
        raise argparse.ArgumentTypeError(f"{text!r} is no shard:epoch:offset")
    return int(match[1]), int(match[2]), int(match[3])


async def list_dead_letters(settings: WorkerSettings, *, state: str, limit: int) -> str:
    """One line for each. A record's content is never shown: it may hold what is sealed for others."""
    async with operators_store(settings) as store:
        letters = await store.dead_letters(state=state, limit=limit)
    lines = [
        f"{_name(letter.place)}  {format_instant(letter.at)}  {letter.reason:<11}  "
        f"{letter.stream or '-'}  {letter.command_id or '-'}  {letter.detail}"
        for letter in letters
    ]
    more = f"\n… and perhaps more: --limit {min(limit * 10, ALL_MAX)}" if len(letters) == limit else ""
    return ("\n".join(lines) or f"no dead letter is {state}") + more


async def retry_dead_letters(settings: WorkerSettings, *, places: Sequence[Place], everything: bool) -> str:
    """Decides commands again, in the log's order on each shard, whatever their deadlines.

    `NotDone` if one cannot be retried so, or fails again; those before it are decided.
    """
    counts: Counter[str] = Counter()
    async with operators_store(settings) as store:
        letters = await _open_letters(store, places, everything=everything)
        aside = [letter for letter in letters if letter.reason == "quarantined"]
        if aside and not everything:
            raise NotDone(
                f"{_name(aside[0].place)} is of {aside[0].stream}: use `quarantine release {aside[0].stream}`"
            )
        letters = [letter for letter in letters if letter.reason != "quarantined"]
        for shard, group in groupby(letters, key=lambda letter: letter.shard):
            async with repairs_of(store, settings, shard) as repairs:
                for letter in group:
                    counts[await _retry(repairs, await _whole(store, letter))] += 1
    said = f"retried {counts.total()}: " + (", ".join(f"{count} {what}" for what, count in counts.items()) or "none")
    if aside:
        said += f"; {len(aside)} are of streams in quarantine: use `quarantine release`"
    if counts["failed"] or counts["undecodable"] or counts["unknown to this release"]:
        raise NotDone(said)
    return said


async def _retry(repairs: Repairs, letter: DeadLetter) -> str:
    try:
        outcome = await repairs.retry(letter)
    except UnknownType:
        return "unknown to this release"
    return describe(outcome)


def describe(outcome: Outcome | None) -> str:
    """An outcome in few words."""
    if outcome is None:
        return "undecodable"
    if outcome.status != "rejected":
        return outcome.status
    return f"rejected ({msgspec.json.decode(outcome.data).get('code', '?')})"


async def drop_dead_letters(settings: WorkerSettings, *, places: Sequence[Place], everything: bool) -> str:
    """Ends commands for good; bytes that are no command are only marked."""
    dropped = 0
    async with operators_store(settings) as store:
        letters = await _open_letters(store, places, everything=everything)
        for shard, group in groupby(letters, key=lambda letter: letter.shard):
            async with repairs_of(store, settings, shard) as repairs:
                for letter in group:
                    await repairs.drop(await _whole(store, letter))
                    dropped += 1
    return f"dropped {dropped}"


@asynccontextmanager
async def repairs_of(store: PostgresStore, settings: WorkerSettings, shard: int) -> AsyncIterator[Repairs]:
    """The right to repair a shard."""
    macs = MacChain(dict(settings.log_mac_keys))
    async with repairing(store, PostgresDocuments(store.pool), macs, system_clock, shard) as repairs:
        yield repairs


async def _open_letters(store: PostgresStore, places: Sequence[Place], *, everything: bool) -> list[DeadLetter]:
    """Those that were asked for, in the log's order."""
    if everything == bool(places):
        raise NotDone("name dead letters as shard:epoch:offset, or give --all")
    if everything:
        found = await store.dead_letters(state="open", limit=ALL_MAX)
        return sorted(found, key=lambda letter: letter.place)
    letters = []
    for place in sorted(set(places)):
        letter = await store.dead_letter(*place)
        if letter is None or letter.state != "open":
            raise NotDone(f"{_name(place)} is {letter.state if letter else 'no dead letter'}; nothing was done")
        letters.append(structs.replace(letter, record=b""))
    return letters


async def _whole(store: PostgresStore, listed: DeadLetter) -> DeadLetter:
    """The letter with its record, which is read now that its shard is ours: many at once may not fit into memory."""
    letter = await store.dead_letter(*listed.place)
    if letter is None or letter.state != "open":
        raise NotDone(f"{_name(listed.place)} was closed by somebody else meanwhile; those before it are done")
    return letter


def _name(place: Place) -> str:
    return ":".join(map(str, place))
