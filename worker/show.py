"""`python -m worker show`: an account or user as the log has it at a moment, and the events that led there."""

import argparse
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec

from domain.account.account import Account
from domain.account.api_key_spending import KeySpending
from domain.account.api_keys import ApiKey
from domain.instant import SECOND, Instant
from domain.money import format_credits
from domain.recorded import Metadata
from domain.registry import aggregates
from domain.user import User
from eventstore import codec
from eventstore.clock import system_clock
from eventstore.postgres.pool import OPERATOR
from eventstore.postgres.store import PostgresStore
from eventstore.records import StoredEvent
from eventstore.shards import shard_of
from worker.operating import NotDone
from worker.settings import WorkerSettings

EVENTS_SHOWN = 20
LISTED_MAX = 50
_metadata = msgspec.json.Decoder(Metadata)


def add_parser(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """The words of `show`."""
    words = commands.add_parser("show", help="an account or user, now or at a moment, from the log")
    words.add_argument("subject", metavar="account", help="user_…, or the name of a stream")
    words.add_argument("--at", metavar="TIME", help="RFC 3339, for example 2026-07-01T12:00:00Z")
    words.add_argument("--events", type=int, default=EVENTS_SHOWN, metavar="N", help="how many of the last events")
    words.set_defaults(act=show)


async def show(settings: WorkerSettings, *, subject: str, at: str | None = None, events: int = EVENTS_SHOWN) -> str:
    """The text for the operator; nothing sealed is opened. `NotDone` if nothing was ever written about the subject."""
    moment = system_clock() if at is None else parse_instant(at)
    streams = [subject] if ":" in subject else [f"{category}:{subject}" for category in aggregates()]
    store = await PostgresStore.open(settings.database_url, OPERATOR, connections_max=1)
    try:
        shards = await store.shards()
        shown: list[str] = []
        for stream in sorted(streams):
            stored = await store.stream(shard_of(stream, shards), stream)
            if stored is not None:
                quarantined = stored.head.quarantined
                shown += describe(stream, stored.events, moment, events_max=events, quarantined=quarantined)
    finally:
        await store.close()
    if not shown:
        raise NotDone(f"nothing was ever written about {subject}")
    return "\n".join(shown)


def parse_instant(text: str) -> Instant:
    """Microseconds of an RFC 3339 time. `NotDone` for anything else."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise NotDone(f"{text!r} is no RFC 3339 time such as 2026-07-01T12:00:00Z") from error
    if moment.tzinfo is None:
        raise NotDone(f"{text!r} has no time zone: end it with Z for UTC")
    since = moment - datetime(1970, 1, 1, tzinfo=UTC)
    return (since.days * 86_400 + since.seconds) * SECOND + since.microseconds


def format_instant(at: Instant | None) -> str:
    """RFC 3339 in UTC; `never` for none."""
    if at is None:
        return "never"
    moment = datetime.fromtimestamp(at // SECOND, UTC).replace(microsecond=at % SECOND)
    return moment.isoformat(timespec="microseconds").replace("+00:00", "Z")


def describe(
    stream: str, stored: Sequence[StoredEvent], at: Instant, *, events_max: int, quarantined: bool = False
) -> Iterator[str]:
    """The state after the events up to `at` and what time alone has caused by then, and the last of the events."""
    aggregate = aggregates()[stream.partition(":")[0]]
    past = [event for event in stored if event.at <= at]
    state = _fold(stream, past)
    written = len(past)
    yield f"{stream} at {format_instant(at)}, version {written} of {len(stored)}" + (
        " (QUARANTINED)" if quarantined else ""
    )
    unwritten: list[str] = []
    while due := aggregate.due(state, at):
        unwritten += [codec.tag_of(event) for event in due]
        state = aggregate.fold(due, state)
    yield from _state(state)
    if unwritten:
        yield f"  due by then and counted above, but not written before the next command: {', '.join(unwritten)}"
    yield f"  last events ({min(events_max, written)} of {written}):"
    for event in reversed(past[-events_max:] if events_max > 0 else []):
        metadata = _metadata.decode(event.metadata)
        actor = metadata.actor
        yield (
            f"    {event.version:>6}  {format_instant(event.at)}  {event.type:<22}  "
            f"by {actor.kind} {actor.key_id or actor.id}  command {metadata.command_id}"
        )
    yield ""


def _fold(stream: str, events: Sequence[StoredEvent]) -> Any:
    """The state after the events. `NotDone` names the event that this release cannot fold."""
    aggregate = aggregates()[stream.partition(":")[0]]
    state = aggregate.initial()
    for each in events:
        try:
            state = aggregate.evolve(state, codec.decode_event(each.type, each.schema_version, each.payload))
        except Exception as error:
            raise NotDone(f"this release cannot fold {each.type}, version {each.version} of {stream}") from error
    return state


def _state(state: Any) -> Iterator[str]:
    match state:
        case Account():
            yield from _account(state)
        case User():
            yield f"  role {state.role}, {'registered' if state.exists else 'not registered'}, password {state.ver}"
        case _:
            yield "  " + codec.encode_json(state).decode()


def _account(account: Account) -> Iterator[str]:
    credits = account.credits
    yield (
        f"  balance {format_credits(credits.balance)}, held {format_credits(credits.held)}, "
        f"available {format_credits(credits.available)}, debt {format_credits(credits.debt)}"
    )
    grants = [
        f"{grant.id}: {format_credits(grant.remaining)} left, from {grant.source}, priority {grant.priority}, "
        f"granted {format_instant(grant.granted_at)}, expires {format_instant(grant.expires_at)}"
        for grant in credits.grants.values()
    ]
    yield from _listed("grants, in the order in which they are burnt", grants)
    holds = [
        f"{hold.id}: {format_credits(hold.amount)} for {hold.model}, "
        f"placed {format_instant(hold.placed_at)}, expires {format_instant(hold.expires_at)}"
        for hold in credits.holds.values()
    ]
    yield from _listed("open holds", holds)
    keys = [
        f"{key_id}: {key.name!r}, {' '.join(key.scopes)}, expires {format_instant(key.expires_at)}"
        + _credit_limit(account, key_id, key)
        for key_id, key in account.api_keys.active.items()
    ]
    yield from _listed("API keys", keys)
    yield f"  revoked API keys: {len(account.api_keys.revoked)}"


def _credit_limit(account: Account, key_id: str, key: ApiKey) -> str:
    """What a key with a credit limit of its own has spent in all, and holds."""
    limit = key.limits.credit_limit
    if limit is None:
        return ""
    spending = account.api_key_spending.keys.get(key_id, KeySpending())
    return (
        f", may spend {format_credits(limit)} ({key.limits.credit_period}),"
        f" has spent {format_credits(spending.total)} in all and holds {format_credits(spending.held)}"
    )


def _listed(title: str, lines: Sequence[str]) -> Iterator[str]:
    yield f"  {title}: {len(lines) or 'none'}"
    for line in lines[:LISTED_MAX]:
        yield f"    {line}"
    if len(lines) > LISTED_MAX:
        yield f"    … and {len(lines) - LISTED_MAX} more"
