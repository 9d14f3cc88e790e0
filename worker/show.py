"""`python -m worker show`: an account or user as the log has it at a moment, and the events that led there."""

from collections import deque
from collections.abc import Iterator, Sequence
from typing import Any

from domain.account.account import Account
from domain.account.api_key_spending import KeySpending
from domain.account.api_keys import ApiKey
from domain.account.subscription import Subscription
from domain.instant import Instant
from domain.money import format_credits
from domain.recorded import Recorded
from domain.registry import aggregates
from domain.user import User
from eventstore import codec
from eventstore.clock import system_clock
from eventstore.past import CannotFold, Past, read_past
from eventstore.records import StreamHead
from eventstore.shards import shard_of
from eventstore.store import LogStore
from worker.operating import NotDone, ProgressLine, operators_store
from worker.rfc3339 import format_instant, parse_instant
from worker.settings import WorkerSettings
from worker.words import Commands, add_command, number

EVENTS_SHOWN = 20
EVENTS_SHOWN_MAX = 100_000
LISTED_MAX = 50


def add_parser(commands: Commands) -> None:
    """The words of `show`."""
    words = add_command(commands, "show", "show an account or user, now or as it was at a moment, from the log")
    words.add_argument("subject", metavar="subject", help="user_… or org_…, or a stream, such as account:user_…")
    words.add_argument(
        "--at", metavar="TIME", help="as of then, not in the future: RFC 3339, for example 2026-07-01T12:00:00Z"
    )
    words.add_argument(
        "--events",
        type=number(0, EVENTS_SHOWN_MAX),
        default=EVENTS_SHOWN,
        metavar="N",
        help=f"how many of the last events (default {EVENTS_SHOWN})",
    )
    words.set_defaults(act=show)


async def show(settings: WorkerSettings, *, subject: str, at: str | None = None, events: int = EVENTS_SHOWN) -> str:
    """The text for the operator; nothing sealed is opened.

    `NotDone` if nothing was ever written about the subject, or for a moment that has not come.
    """
    now = system_clock()
    try:
        moment = now if at is None else parse_instant(at)
    except ValueError as error:
        raise NotDone(str(error)) from error
    if moment > now:
        raise NotDone(f"{at} lies in the future; now is {format_instant(now)}, which is shown without --at")
    streams = [subject] if ":" in subject else [f"{category}:{subject}" for category in aggregates()]
    shown: list[str] = []
    async with operators_store(settings) as store:
        shards = await store.shards()
        for stream in sorted(streams):
            head = await store.head(shard_of(stream, shards), stream)
            if head is not None:
                shown += await describe(store, head, moment, events_max=events)
    if not shown:
        raise NotDone(f"nothing was ever written about {subject}")
    return "\n".join(shown)


async def describe(log: LogStore, head: StreamHead, at: Instant, *, events_max: int) -> list[str]:
    """The state after the events up to `at` and what time alone has caused by then, and the last of the events.

    However long the stream, it is read page by page, and no more than the last events are kept.
    """
    last: deque[Recorded] = deque(maxlen=events_max)
    line = ProgressLine("show", head.version)

    def seen(recorded: Recorded) -> None:
        last.append(recorded)
        line.add(1)

    try:
        past = await read_past(log, head.shard, head.stream, at, seen=seen)
    except CannotFold as error:
        raise NotDone(f"this release cannot fold {error}") from error
    return list(_described(head, at, past, last))


def _described(head: StreamHead, at: Instant, past: Past, last: "deque[Recorded]") -> Iterator[str]:
    yield f"{head.stream} at {format_instant(at)}, version {past.version} of {head.version}" + (
        " (QUARANTINED)" if head.quarantined else ""
    )
    yield from _state(past.state)
    if past.due:
        unwritten = ", ".join(codec.tag_of(each.event) for each in past.due)
        yield f"  due by then and counted above, but not written before the next command: {unwritten}"
    yield f"  last events ({len(last)} of {past.version}):"
    for event in reversed(last):
        actor = event.metadata.actor
        yield (
            f"    {event.version:>6}  {format_instant(event.at)}  {codec.tag_of(event.event):<22}  "
            f"by {actor.kind} {actor.key_id or actor.id}  command {event.metadata.command_id}"
        )
    yield ""


def _state(state: Any) -> Iterator[str]:
    match state:
        case Account():
            yield from _account(state)
        case User():
            yield f"  role {state.role}, {'registered' if state.exists else 'not registered'}, password {state.ver}"
        case _:
            yield "  " + codec.encode_json(state).decode()


def _or_never(at: Instant | None) -> str:
    return "never" if at is None else format_instant(at)


def _account(account: Account) -> Iterator[str]:
    credits = account.credits
    yield (
        f"  balance {format_credits(credits.balance)}, held {format_credits(credits.held)}, "
        f"available {format_credits(credits.available)}, debt {format_credits(credits.debt)}"
    )
    yield f"  {_subscription(account.subscription)}"
    grants = [
        f"{grant.id}: {format_credits(grant.remaining)} left, from {grant.source}, priority {grant.priority}, "
        f"granted {format_instant(grant.granted_at)}, expires {_or_never(grant.expires_at)}"
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
        f"{key_id}: {key.name!r}, {' '.join(key.scopes)}, expires {_or_never(key.expires_at)}"
        + _credit_limit(account, key_id, key)
        for key_id, key in account.api_keys.active.items()
    ]
    yield from _listed("API keys", keys)
    yield f"  revoked API keys: {len(account.api_keys.revoked)}"


def _subscription(known: Subscription) -> str:
    """Plan and status, until when, and what happens then."""
    text = f"plan {known.plan}, {known.status}, period until {_or_never(known.period_end)}"
    if known.status == "past_due":
        text += f", grace until {_or_never(known.grace_until)}"
    if known.scheduled is not None:
        wish = "canceled" if known.scheduled.cancel else f"plan {known.scheduled.plan}"
        text += f", {wish} from {format_instant(known.scheduled.effective_at)} on"
    return text


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
