"""Usage told to Autumn (useautumn.com): charges and metered features, summed up by account over a stretch of the log.

Beside them leaves what ends the subscriptions of erased users (`autumn_ends`).

Amount and idempotency key are fixed in the delivery before it is first sent, so a repeat is the same call. Autumn keeps
a key for 24 hours and answers a repeat with 409. What is not answered, or with 202 (queued), is unknown: it is repeated
until Autumn says that it has it. After 23 hours of not knowing nobody may repeat it any more: it is the operator's.
"""

import uuid
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import msgspec
from msgspec import Struct

from domain.account.hold_corrections import HoldCorrected
from domain.account.holds import HoldClosed
from domain.account.quotas import FeatureTracked
from domain.instant import DAY, HOUR, MINUTE, Instant
from domain.message import Event
from domain.money import MicroCredits
from domain.recorded import Recorded
from eventstore import codec
from eventstore.clock import system_clock
from eventstore.outbox import Delivery
from worker.outgoing import autumn_ends
from worker.outgoing.target import ATTEMPT_S, Attempt

if TYPE_CHECKING:
    from autumn_sdk import Autumn

NAME = "autumn"
KIND = "usage.tracked"
READ_S = 10.0
"""Each reading is a call for each account that was charged meanwhile."""
USAGE_NAMESPACE = uuid.UUID("0d7c0c1e-52a3-5f7b-8f6e-6a4c2e9f1b77")
VALUE_MAX: MicroCredits = 2**53 - 1
"""The SDK sends a number of JSON, read as a double there: above this it would not be exact. More is sent in parts."""
KEY_GOOD: Instant = 23 * HOUR
REFUSED_KEPT: Instant = DAY
"""How long it is tried to tell what Autumn refuses; nothing of it was counted."""
IN_PROGRESS: Instant = MINUTE
"""For so long a 409 may mean that the first attempt is still being worked on, and could fail yet."""
_CONFLICT = 409
_NOT_FOUND = 404
_CLIENT_ERRORS = range(400, 500)
_KEY_REFUSED = frozenset({401, 403})
_UNKNOWN = frozenset({408, 409, 425, 429})
_QUEUED = "queued"
_IN_PROGRESS = "in progress"


class TrackedUsage(Struct, frozen=True, kw_only=True):
    """One call: `value` micro-credits, or units of a feature; negative where more was given back than charged."""

    customer_id: str
    feature_id: str
    value: int
    timestamp_ms: int


class AutumnUsage:
    """Autumn as a target. `client` is the SDK's, with fail-open off."""

    name = NAME
    read_every_s = READ_S
    event_tags: Sequence[str] = ("hold.closed", "hold.corrected", "feature.tracked", autumn_ends.TAG)

    def __init__(self, client: "Autumn", feature_id: str, clock: Callable[[], Instant] = system_clock) -> None:
        self._client = client
        self._feature_id = feature_id
        self._clock = clock

    def deliveries(self, shard: int, events: Sequence[Recorded], at: Instant) -> list[Delivery]:
        """See `Target`: one for each account, of all that it was charged in these events."""
        ends = (autumn_ends.ending(NAME, shard, each, at) for each in events)
        made = [each for each in ends if each is not None]
        for account, own in _by_account(events).items():
            first, last = own[0].seq, own[-1]
            for part, (feature_id, value) in enumerate(self._used(own)):
                usage = TrackedUsage(
                    customer_id=account, feature_id=feature_id, value=value, timestamp_ms=last.at // 1_000
                )
                key = uuid.uuid5(USAGE_NAMESPACE, f"{shard}:{account}:{first}-{last.seq}:{part}")
                made.append(_delivery(shard, account, last.seq, part, f"use_{key.hex}", usage, at))
        return made

    def _used(self, events: Sequence[Recorded]) -> Iterator[tuple[str, int]]:
        """How much of which feature, in parts that Autumn reads exactly."""
        used: dict[str, int] = {self._feature_id: 0}
        for each in events:
            feature = each.event.feature if isinstance(each.event, FeatureTracked) else self._feature_id
            used[feature] = used.get(feature, 0) + usage_of(each.event)
        for feature, amount in used.items():
            yield from ((feature, part) for part in _parts(amount))

    def deadline(self, delivery: Delivery) -> Instant | None:
        """See `Target`: of usage there is none while no attempt can have arrived."""
        if delivery.type == autumn_ends.KIND:
            return delivery.created_at + autumn_ends.KEPT
        return None if delivery.first_sent_at is None else delivery.first_sent_at + KEY_GOOD

    async def send(self, delivery: Delivery) -> Attempt:
        """See `Target`."""
        if delivery.type == autumn_ends.KIND:
            return await autumn_ends.end(self._client, delivery)
        return await self._usage(delivery)

    async def _usage(self, delivery: Delivery) -> Attempt:
        from autumn_sdk.errors import AutumnError
        from httpx import ConnectError, ConnectTimeout, HTTPError

        try:
            return await self._track(delivery)
        except AutumnError as error:
            if error.status_code == _NOT_FOUND and "customer" in error.body.lower():
                return await self._introduced(delivery)
            return self._refused(delivery, error.status_code, error.body)
        except (ConnectError, ConnectTimeout) as error:
            return Attempt(taken=False, problem=type(error).__name__, arrived=False)
        except (HTTPError, OSError) as error:
            return Attempt(taken=False, problem=type(error).__name__)

    async def _track(self, delivery: Delivery) -> Attempt:
        from autumn_sdk.models import TrackResponseBody2

        usage = msgspec.json.decode(delivery.body, type=TrackedUsage)
        answer = await self._client.track_async(
            customer_id=usage.customer_id,
            feature_id=usage.feature_id,
            value=usage.value,
            timestamp=usage.timestamp_ms,
            overage_behavior="overflow",  # what was used was used: the ledger here has decided
            async_=False,
            timeout_ms=int(ATTEMPT_S * 1_000),
            http_headers={"Idempotency-Key": delivery.id},
        )
        if isinstance(answer, TrackResponseBody2):
            return Attempt(taken=False, problem=_QUEUED)
        return Attempt(taken=True)

    async def _introduced(self, delivery: Delivery) -> Attempt:
        """Autumn does not know the customer yet: tells it, so that the next attempt can end better."""
        from autumn_sdk.errors import AutumnError
        from httpx import HTTPError

        try:
            await self._client.customers.get_or_create_async(
                customer_id=delivery.account, timeout_ms=int(ATTEMPT_S * 1_000)
            )
        except (AutumnError, HTTPError, OSError) as error:
            return Attempt(taken=False, problem=f"unknown customer, {type(error).__name__}", arrived=False)
        return Attempt(taken=False, problem="unknown customer, now introduced", arrived=False)

    def _refused(self, delivery: Delivery, status: int, body: str) -> Attempt:
        """A repeated key was counted, other refusals were not, and of a server's own errors nobody knows."""
        if status == _CONFLICT and "idempotency" in body.lower():
            age = self._clock() - (delivery.first_sent_at or 0)
            if delivery.problem == _QUEUED or age >= IN_PROGRESS:
                return Attempt(taken=True)
            return Attempt(taken=False, problem=_IN_PROGRESS)
        sure = status in _CLIENT_ERRORS and status not in _UNKNOWN
        # A feature that Autumn does not have is one delivery's trouble, a wrong key that of all: that ends by itself.
        old = sure and status not in _KEY_REFUSED and self._clock() - delivery.created_at >= REFUSED_KEPT
        return Attempt(taken=False, problem=f"status {status}", arrived=not sure, again=not old)


@asynccontextmanager
async def autumn_client(api_url: str, secret_key: str) -> AsyncIterator["Autumn"]:
    """The official SDK's client: it fails where Autumn does, repeats nothing by itself and follows no redirects."""
    import httpx
    from autumn_sdk import Autumn
    from autumn_sdk.billing import Billing
    from autumn_sdk.customers import Customers

    async with httpx.AsyncClient(follow_redirects=False, trust_env=False) as http:
        del Billing, Customers  # imported before they are used: it takes a second in which no lease would be renewed
        yield Autumn(secret_key=secret_key, server_url=api_url, fail_open=False, async_client=http)


def usage_of(event: Event) -> int:
    """What the event charges in micro-credits, negative for a correction that gives back; of a feature, its units."""
    match event:
        case HoldClosed():
            return event.cost
        case HoldCorrected():
            return event.difference
        case FeatureTracked():
            return event.amount
        case _:
            return 0


def _by_account(events: Sequence[Recorded]) -> Mapping[str, list[Recorded]]:
    found: dict[str, list[Recorded]] = {}
    for each in events:
        if usage_of(each.event):
            found.setdefault(each.entity_id, []).append(each)
    return found


def _parts(charged: MicroCredits) -> Iterator[MicroCredits]:
    """The amount in parts that a double holds exactly; none for nothing."""
    sign, left = (1, charged) if charged > 0 else (-1, -charged)
    while left:
        part = min(left, VALUE_MAX)
        yield sign * part
        left -= part


def _delivery(shard: int, account: str, seq: int, part: int, key: str, usage: TrackedUsage, at: Instant) -> Delivery:
    return Delivery(
        target=NAME,
        shard=shard,
        account=account,
        seq=seq,
        part=part,
        id=key,
        type=KIND,
        body=codec.encode_json(usage),
        created_at=at,
        due_at=at,
    )
