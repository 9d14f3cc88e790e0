"""Notices leave signed, in order per account, at least once, whatever the receiver does and whichever worker dies."""

import asyncio
import base64
import hmac
import json
import random
from collections import Counter
from collections.abc import AsyncIterator, Callable, MutableMapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest

from domain.account.subscription import SubscriptionConfirmed
from domain.instant import DAY, SECOND, Instant
from domain.recorded import Recorded
from eventstore.errors import Unavailable
from eventstore.outbox import Delivery
from eventstore.shards import shard_of
from eventstore.store import Store
from tests.crash.waiting import until, until_true
from tests.eventstore.conftest import SHARDS
from tests.eventstore.rows import now
from tests.worker.bench import T0
from tests.worker.outgoing.logs import Time, Writer, confirmed, on_both
from tests.worker.outgoing.receiver import Received, Receiver, receiving
from worker.outgoing import log_reader
from worker.outgoing import relay as relaying
from worker.outgoing.log_reader import LogReader
from worker.outgoing.outgoing import Outgoing
from worker.outgoing.relay import Relay
from worker.outgoing.target import ATTEMPT_S
from worker.outgoing.webhooks import NAME, Webhooks, outbound_http, signed_headers

pytestmark = pytest.mark.usefixtures("logged")

OLD, NEW = bytes(range(32)), bytes(range(32, 64))
ALL = range(SHARDS)
ACCOUNTS = [f"user_{number}" for number in range(6)]


@pytest.fixture
async def writer(store: Store) -> Writer:
    """Appends to a log that webhooks are told of from its beginning."""
    await store.begin_reading(NAME)
    return await Writer.claim(store)


@asynccontextmanager
async def webhooks(receiver: Receiver) -> AsyncIterator[Webhooks]:
    """The receiver as a target."""
    async with outbound_http() as http:
        yield Webhooks(receiver.url, {"new": NEW, "old": OLD}, http)


async def deliver(store: Store, target: Webhooks, clock: Callable[[], Instant] = now, **options: Any) -> None:
    """Reads the log and sends until nothing is due any more."""
    reader, relay = LogReader(store, target, clock), Relay(store, target, clock, name="w", **options)
    while await reader.step(ALL):
        pass
    while await relay.step(ALL):
        await asyncio.gather(*relay._sending, return_exceptions=True)
    await relay.close()


async def test_a_notice_says_what_happened(store: Store, writer: Writer) -> None:
    """Type, time, account and the event's own part, signed with every secret, under an id that the event gives."""
    async with receiving() as receiver, webhooks(receiver) as target:
        await writer.append("user_1", confirmed("sub_1"))
        await deliver(store, target)
    (received,) = receiver.received
    assert json.loads(received.body) == {
        "type": "subscription.confirmed",
        "timestamp": "2027-01-15T08:00:00.000001Z",
        "data": {
            "account_id": "user_1",
            "plan": "pro",
            "status": "active",
            "period_start": "2027-01-15T08:00:00.000000Z",
            "period_end": None,
            "seats": 3,
            "occurred_at": "2027-01-15T08:00:00.000000Z",
            "reference": "sub_1",
        },
    }
    assert received.headers["content-type"] == "application/json"
    at = received.headers["webhook-timestamp"]
    signed = f"{received.id}.{at}.".encode() + received.body
    expected = [base64.b64encode(hmac.digest(key, signed, "sha256")).decode() for key in (NEW, OLD)]
    assert received.headers["webhook-signature"] == " ".join(f"v1,{each}" for each in expected)
    assert abs(int(at) * SECOND - now()) < 60 * SECOND
    assert await store.deliveries("waiting", 9) == []


def test_signature_is_that_of_the_standard() -> None:
    """A value that was computed with another program: `printf … | openssl dgst -sha256 -mac HMAC …`."""
    headers = signed_headers([bytes(32)], "msg_1", 1_700_000_000, b'{"a":1}')
    assert headers["webhook-id"] == "msg_1"
    assert headers["webhook-timestamp"] == "1700000000"
    assert headers["webhook-signature"] == "v1,HA9nSvEEuynF+mEPWgOAUWbrVA21G6kMzfOt+yEvB3I="


async def test_what_could_not_be_written_down_is_sent_again(
    store: Store, writer: Writer, logged: list[MutableMapping[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The store goes away between the receiver's answer and its being noted: the claim ends, and it comes twice."""
    time = Time()

    async def away(_delivery: Delivery) -> None:
        raise Unavailable("away")

    async with receiving() as receiver, webhooks(receiver) as target:
        await writer.append("user_1", confirmed("1"), confirmed("2"))
        with monkeypatch.context() as patch:
            patch.setattr(store, "finish_delivery", away)
            patch.setattr(store, "release_deliveries", lambda _name: asyncio.sleep(0))
            await deliver(store, target, time)
        assert [each["event"] for each in logged] == ["delivery_undecided"]
        await deliver(store, target, time)
        assert len(receiver.taken) == 1
        time.at += int(relaying.CLAIM_S * SECOND)
        await deliver(store, target, time)
        assert [each.data["reference"] for each in receiver.taken] == ["1", "1", "2"]


async def test_who_stood_still_sends_nothing(store: Store, writer: Writer) -> None:
    """By the time it would be sent the claim may be somebody else's: it is left to whoever claims it next."""
    time = Time()
    async with receiving() as receiver, webhooks(receiver) as target:
        await writer.append("user_1", confirmed("1"))
        reader, relay = LogReader(store, target, time), Relay(store, target, time, name="w")
        await reader.step(ALL)
        assert await relay.step(ALL) == 1
        time.at += int((relaying.CLAIM_S - ATTEMPT_S) * SECOND) + 1
        await asyncio.gather(*relay._sending)
        assert receiver.received == []
        time.at += int(ATTEMPT_S * SECOND)
        await deliver(store, target, time)
        assert receiver.firsts("user_1") == ["1"]


async def test_a_long_answer_is_not_read_to_its_end(store: Store, writer: Writer) -> None:
    """Of an answer without end only the status counts; nothing that a receiver writes is kept."""
    async with receiving(lambda _received: "long") as receiver, webhooks(receiver) as target:
        await writer.append("user_1", confirmed("1"))
        await deliver(store, target)
    assert len(receiver.received) == 1
    assert await store.deliveries("waiting", 9) == []


@pytest.mark.parametrize("mood", ["500", "404", "410", "301", "302", "heads", "cut", "hang", "gone"])
async def test_what_is_not_taken_is_sent_again(store: Store, writer: Writer, mood: str) -> None:
    """The same bytes under the same id, after a pause that doubles; nothing behind it goes before."""
    async with receiving(lambda _received: mood) as receiver, webhooks(receiver) as target:
        if mood == "gone":
            target._url = "http://127.0.0.1:1/"
        await writer.append("user_1", confirmed("1"), confirmed("2"))
        time = Time()
        for attempt in range(1, 4):
            await deliver(store, target, time, attempt_s=0.05 if mood == "hang" else 5.0)
            first, second = await store.deliveries("waiting", 9)
            assert (first.attempts, second.attempts) == (attempt, 0)
            assert first.due_at == second.due_at
            assert 2 ** (attempt - 2) * SECOND <= first.due_at - time.at <= 2 ** (attempt - 1) * SECOND
            assert first.first_sent_at == (None if mood == "gone" else T0)
            time.at = first.due_at
        assert len({(each.id, each.body) for each in receiver.received}) <= 1
        target._url, receiver.mood = receiver.url, lambda _received: "200"
        await deliver(store, target, time)
        assert receiver.firsts("user_1") == ["1", "2"]


async def test_it_is_given_up_after_a_day(store: Store, writer: Writer, logged: list[MutableMapping[str, Any]]) -> None:
    """A dead one is told, and kept for the operator; what the account has next goes on, and so did other accounts."""
    refused = {"1"}

    def mood(received: Received) -> str:
        return "503" if received.data["reference"] in refused else "200"

    async with receiving(mood) as receiver, webhooks(receiver) as target:
        await writer.append("user_1", confirmed("1"), confirmed("2"))
        await writer.append("user_2", confirmed("3"))
        time = Time()
        while due := await store.unread(NAME, ALL) or await store.deliveries("waiting", 1):
            time.at = max(time.at, getattr(due[0], "due_at", T0))
            assert time.at <= T0 + DAY + SECOND
            await deliver(store, target, time)
        (dead,) = await store.deliveries("dead", 9)
        assert (dead.account, dead.problem) == ("user_1", "status 503")
        assert time.at - T0 >= DAY - 300 * SECOND
        assert dead.attempts > 200
        assert receiver.firsts("user_1") == ["2"]
        assert receiver.firsts("user_2") == ["3"]
        assert [each["delivery"] for each in logged if each["event"] == "delivery_dead"] == [dead.id]
        refused.clear()
        assert await store.revive_deliveries([dead.id], time.at) == 1
        await deliver(store, target, time)
        assert receiver.firsts("user_1") == ["2", "1"]


async def test_the_log_is_where_the_rest_waits(store: Store, writer: Writer, monkeypatch: pytest.MonkeyPatch) -> None:
    """While a receiver is away no more than a bound of deliveries is made; when it is back nothing is missing."""
    monkeypatch.setattr(log_reader, "WAITING_MAX", 20)
    async with receiving() as receiver, webhooks(receiver) as target:
        for number in range(0, 40, 10):
            await writer.append("user_1", *(confirmed(f"{number + each}") for each in range(10)))
            await LogReader(store, target, now).step(ALL)
        assert [each.seq for each in await store.deliveries("waiting", 99)] == list(range(1, 21))
        await deliver(store, target)
        assert receiver.firsts("user_1") == [f"{number}" for number in range(20)]
        await deliver(store, target)
        assert receiver.firsts("user_1") == [f"{number}" for number in range(40)]


async def test_events_that_are_not_told_are_passed(store: Store, writer: Writer) -> None:
    """Reading them again makes nothing, so the position need not be written each time; after a while it is."""
    async with receiving() as receiver, webhooks(receiver) as target:
        reader = LogReader(store, target, now)
        await writer.append("user_1", confirmed("1"))
        await reader.step(ALL)
        target.event_tags = ["nothing"]
        await writer.append("user_1", confirmed("2"))
        for _ in range(3):
            assert not await reader.step(ALL)
        assert [each.position for each in await store.unread(NAME, ALL)] == [1]
        target.event_tags = ["subscription.confirmed"]
        await writer.append("user_1", confirmed("3"))
        await reader.step(ALL)
        assert [each.seq for each in await store.deliveries("waiting", 9)] == [1, 3]
        assert await store.unread(NAME, ALL) == []


async def test_what_cannot_be_told_stops_its_shard_alone(
    store: Store, writer: Writer, logged: list[MutableMapping[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A bug of ours, or an event of a newer release: it is said, nothing is skipped, and other shards go on."""
    accounts = {shard_of(f"account:{account}", SHARDS): account for account in ACCOUNTS}
    (first, broken), *others = sorted(accounts.items())
    async with receiving() as receiver, webhooks(receiver) as target:
        for account in accounts.values():
            await writer.append(account, confirmed("1"))
        made = target.deliveries

        def deliveries(shard: int, events: Sequence[Recorded], at: Instant) -> list[Delivery]:
            if shard == first:
                raise ZeroDivisionError
            return made(shard, events, at)

        with monkeypatch.context() as patch:
            patch.setattr(target, "deliveries", deliveries)
            await deliver(store, target)
        assert {each.data["account_id"] for each in receiver.taken} == {account for _, account in others}
        assert [each["shard"] for each in logged if each["event"] == "outbox_failed"] == [first]
        with monkeypatch.context() as patch:
            patch.setattr(SubscriptionConfirmed, "schema_version", 0)
            await deliver(store, target)
        assert [each["shard"] for each in logged if each["event"] == "outbox_waits"] == [first]
        await deliver(store, target)
        assert receiver.firsts(broken) == ["1"]


def _moody(rng: random.Random) -> Callable[[Received], str]:
    """Each notice meets a few misfortunes before it is taken; most accounts are met kindly in the end."""
    left: Counter[str] = Counter()

    def mood(received: Received) -> str:
        left[received.id] += 1
        unkind = rng.random() < 0.4 and left[received.id] <= 4
        return rng.choice(["500", "hang", "cut", "late", "302"]) if unkind else "200"

    return mood


@on_both
@pytest.mark.parametrize("seed", range(2))
async def test_none_is_lost_and_none_overtakes(store: Store, writer: Writer, seed: int) -> None:
    """Two workers with half the shards each; one dies in the middle of everything and the other takes them over."""
    rng = random.Random(seed)
    shards: dict[str, list[int]] = {"one": [0, 1], "two": [2, 3]}
    async with receiving(_moody(rng)) as receiver, webhooks(receiver) as target:
        workers = {name: _working(store, target, name, shards) for name in shards}
        sent: dict[str, list[str]] = {account: [] for account in ACCOUNTS}
        for number in range(60):
            account = rng.choice(ACCOUNTS)
            sent[account].append(f"{number}")
            await writer.append(account, confirmed(f"{number}"))
            if number == 30:
                await until_true(lambda: len(receiver.received) > 5, 10, "something was sent")
                await workers.pop("one").kill()
                shards["two"] += shards["one"]
                shards["one"] = []

        async def done() -> bool:
            return not await store.unread(NAME, ALL) and not await store.deliveries("waiting", 1)

        await until(done, 20, "all are taken")
        await workers["two"].kill()
        assert {account: receiver.firsts(account) for account in ACCOUNTS} == sent
        assert await store.deliveries("dead", 9) == []


class _Working:
    """Reads and sends all the time, impatiently; it can be killed in the middle of anything."""

    def __init__(self, relay: Relay, task: "asyncio.Task[None]") -> None:
        self._relay = relay
        self._task = task

    async def kill(self) -> None:
        """No claim is freed, no attempt is finished."""
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        await self._relay.abort()


def _working(store: Store, target: Webhooks, name: str, shards: dict[str, list[int]]) -> _Working:
    reader = LogReader(store, target, now)
    relay = Relay(store, target, now, name=name, claim_s=0.6, attempt_s=0.2, backoff_s=0.05)

    async def work() -> None:
        while True:
            await reader.step(shards[name])
            await relay.step(shards[name])
            await relay.pause(0.02)

    return _Working(relay, asyncio.create_task(work()))


async def test_one_that_hangs_holds_up_nobody_else(
    store: Store, writer: Writer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An account whose notices hang does not keep those of others from leaving."""

    def mood(received: Received) -> str:
        return "hang" if received.data["account_id"] == ACCOUNTS[0] else "200"

    async with receiving(mood) as receiver, webhooks(receiver) as target:
        monkeypatch.setattr(relaying, "CLOSE_S", 0.1)
        for account in ACCOUNTS:
            await writer.append(account, confirmed("1"), confirmed("2"))
        outgoing = Outgoing(store, [target], now, name="w")
        await outgoing.begin()
        running = asyncio.create_task(outgoing.run(lambda: list(ALL)))
        await until_true(lambda: len(receiver.taken) == 10, 10, "the others are through")
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        (hanging, behind) = await store.deliveries("waiting", 9)
        assert (hanging.account, hanging.claimed_by, behind.attempts) == (ACCOUNTS[0], "", 0)
