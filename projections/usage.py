"""Usage counted into buckets of time by model and API key: the fold that quarter hours and days share."""

from collections.abc import Callable, Iterable
from typing import Literal, TypeAlias

from msgspec import Struct, structs

from domain.account.holds import HoldClosed, HoldCorrected
from domain.account.usage import Usage
from domain.instant import DAY, MINUTE, Instant
from domain.money import MicroCredits
from domain.recorded import Recorded
from eventstore.shards import shard_of
from projections.documents import DocumentReader
from projections.paging import instant_sort
from projections.projection import Projection

QUARTER = 15 * MINUTE
USAGE_EVENTS = (HoldClosed, HoldCorrected)
Grouping: TypeAlias = Literal["model", "api_key", "day"]
PAGE = 1_000
NOTHING = Usage(source="none")


class UsageBucket(Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """What one model was used for through one key (`None` without a key) in one stretch of time, UTC."""

    account_id: str
    start: Instant
    model: str
    key_id: str | None = None
    requests: int = 0
    estimated: int = 0
    """Requests whose usage was counted by us because the provider did not say."""
    input: int = 0
    cached: int = 0
    cache_write: int = 0
    output: int = 0
    reasoning: int = 0
    cost: MicroCredits = 0
    latency_ms: int = 0
    """Sum over the requests."""


def bucket_projection(collection: str, length: Instant) -> Projection[UsageBucket]:
    """The read model of buckets that are `length` long."""

    def key(recorded: Recorded) -> str | None:
        event = recorded.event
        assert isinstance(event, USAGE_EVENTS)
        if isinstance(event, HoldClosed) and event.usage.source == "none" and event.cost == 0:
            return None
        start = event.closed_at - event.closed_at % length
        return f"{recorded.entity_id}:{start:020d}:{event.model}:{event.key_id or ''}"

    def evolve(bucket: UsageBucket | None, recorded: Recorded) -> UsageBucket:
        event = recorded.event
        assert isinstance(event, USAGE_EVENTS)
        if bucket is None:
            start = event.closed_at - event.closed_at % length
            bucket = UsageBucket(account_id=recorded.entity_id, start=start, model=event.model, key_id=event.key_id)
        if isinstance(event, HoldClosed):
            return _counted(bucket, NOTHING, event.usage, event.cost, event.latency_ms)
        return _counted(bucket, event.replaced, event.usage, event.difference, 0)

    return Projection(
        collection=collection,
        version=1,
        document=UsageBucket,
        events=USAGE_EVENTS,
        key=key,
        evolve=evolve,
        owner=lambda bucket: bucket.account_id,
        sort=lambda bucket: instant_sort(bucket.start),
    )


def _counted(bucket: UsageBucket, before: Usage, now: Usage, cost: MicroCredits, latency_ms: int) -> UsageBucket:
    return structs.replace(
        bucket,
        requests=bucket.requests + (now.source != "none") - (before.source != "none"),
        estimated=bucket.estimated + (now.source == "estimated") - (before.source == "estimated"),
        input=bucket.input + now.input - before.input,
        cached=bucket.cached + now.cached - before.cached,
        cache_write=bucket.cache_write + now.cache_write - before.cache_write,
        output=bucket.output + now.output - before.output,
        reasoning=bucket.reasoning + now.reasoning - before.reasoning,
        cost=bucket.cost + cost,
        latency_ms=bucket.latency_ms + latency_ms,
    )


class UsageSum(Struct, kw_only=True):
    """Sums over buckets; `group` is the model, the key id, or the day's first instant, by what was asked."""

    group: str
    requests: int = 0
    estimated: int = 0
    input: int = 0
    cached: int = 0
    cache_write: int = 0
    output: int = 0
    reasoning: int = 0
    cost: MicroCredits = 0
    latency_ms: int = 0

    def add(self, bucket: UsageBucket) -> None:
        """Counts one bucket in."""
        for name in _SUMMED:
            setattr(self, name, getattr(self, name) + getattr(bucket, name))


_SUMMED = tuple(name for name in UsageSum.__struct_fields__ if name != "group")

_GROUP_OF: dict[str, Callable[[UsageBucket], str]] = {
    "model": lambda bucket: bucket.model,
    "api_key": lambda bucket: bucket.key_id or "",
    "day": lambda bucket: str(bucket.start - bucket.start % DAY),
}


def sum_usage(buckets: Iterable[UsageBucket], group_by: Grouping) -> tuple[UsageSum, list[UsageSum]]:
    """The total of all buckets, and one sum a group in the order of their names."""
    total = UsageSum(group="")
    groups: dict[str, UsageSum] = {}
    for bucket in buckets:
        name = _GROUP_OF[group_by](bucket)
        total.add(bucket)
        groups.setdefault(name, UsageSum(group=name)).add(bucket)
    return total, [groups[name] for name in sorted(groups)]


async def read_buckets(
    documents: DocumentReader,
    projection: Projection[UsageBucket],
    shards: int,
    account_id: str,
    start: Instant,
    end: Instant,
) -> list[UsageBucket]:
    """The account's buckets that begin at `start` or later and before `end`."""
    buckets: list[UsageBucket] = []
    after: tuple[str, str] | None = None
    while start < end:
        rows = await documents.page(
            projection.collection,
            shard_of(f"account:{account_id}", shards),
            account_id,
            limit=PAGE,
            newest_first=False,
            after=after,
            sort_from=instant_sort(start),
            sort_to=instant_sort(end),
        )
        buckets += [projection.decode(row.doc) for row in rows]
        if len(rows) < PAGE:
            break
        after = (rows[-1].sort, rows[-1].key)
    return buckets
