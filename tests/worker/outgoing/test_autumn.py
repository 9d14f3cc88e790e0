"""Usage reaches Autumn once, whatever happens to its answers, to the network, or to the worker that sends it."""

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from domain.account.hold_corrections import HoldCorrected
from domain.account.holds import HoldClosed
from domain.account.quotas import FeatureTracked
from domain.account.usage import Usage
from domain.instant import HOUR, MINUTE, SECOND, Instant
from domain.money import AMOUNT_MAX
from eventstore.store import Store
from tests.autumn import SECRET_KEY, AutumnServer, Tracked, running_autumn
from tests.crash.waiting import until
from tests.domain.golden.sample import made_up
from tests.eventstore.conftest import SHARDS
from tests.eventstore.rows import now
from tests.worker.bench import T0
from tests.worker.outgoing.logs import Time, Writer, confirmed, on_both
from worker.outgoing.autumn import NAME, VALUE_MAX, AutumnUsage, _parts, autumn_client
from worker.outgoing.log_reader import LogReader
from worker.outgoing.relay import Relay

pytestmark = pytest.mark.usefixtures("logged")

ALL = range(SHARDS)
FEATURE = "micro_credits"


def closed(cost: int, hold_id: str = "hold_1") -> HoldClosed:
    """A charge."""
    made = made_up(HoldClosed)
    assert isinstance(made, HoldClosed)
    return structs.replace(made, hold_id=hold_id, cost=cost, usage=Usage(source="none"))


def corrected(difference: int) -> HoldCorrected:
    """A late correction of a charge."""
    made = made_up(HoldCorrected)
    assert isinstance(made, HoldCorrected)
    return structs.replace(made, difference=difference)


@pytest.fixture
async def writer(store: Store) -> Writer:
    """Appends to a log that Autumn is told of from its beginning."""
    await store.begin_reading(NAME)
    return await Writer.claim(store)


@asynccontextmanager
async def autumn(clock: Callable[[], Instant] = now) -> AsyncIterator[tuple[AutumnServer, AutumnUsage]]:
    """Autumn, and the target that tells it."""
    async with running_autumn() as server, autumn_client(server.url, SECRET_KEY) as client:
        yield server, AutumnUsage(client, FEATURE, clock)


async def deliver(store: Store, target: AutumnUsage, clock: Callable[[], Instant], *, attempt_s: float = 5.0) -> None:
    """Reads the log and sends until nothing is due any more."""
    reader, relay = LogReader(store, target, clock), Relay(store, target, clock, name="w", attempt_s=attempt_s)
    while await reader.step(ALL):
        pass
    while await relay.step(ALL):
        await asyncio.gather(*relay._sending)
    await relay.close()


@on_both
async def test_charges_are_summed_up_by_account(store: Store, writer: Writer) -> None:
    """One call for each account and reading: charges and corrections, to the micro-credit; nothing for nothing."""
    async with autumn() as (server, target):
        await writer.append("user_1", closed(1_000_001), confirmed("x"), closed(0), corrected(-1), closed(5))
        await writer.append("user_2", corrected(-7))
        await writer.append("user_3", closed(0), closed(5), corrected(-5))
        await deliver(store, target, now)
        assert server.counted == {("user_1", FEATURE): 1_000_005, ("user_2", FEATURE): -7}
        assert len(server.calls) == 2
        await writer.append("user_1", closed(10))
        await deliver(store, target, now)
        assert server.counted["user_1", FEATURE] == 1_000_015
    assert await store.deliveries("waiting", 9) == []


async def test_metered_features_are_told_by_their_ids(store: Store, writer: Writer) -> None:
    """Each is a call of its own beside that of the credits, with its units."""
    tracked = made_up(FeatureTracked)
    assert isinstance(tracked, FeatureTracked)
    async with autumn() as (server, target):
        images, pages = (structs.replace(tracked, feature=each, amount=4) for each in ("images", "pages"))
        await writer.append("user_1", images, closed(9), pages, images)
        await deliver(store, target, now)
    assert server.counted == {("user_1", FEATURE): 9, ("user_1", "images"): 8, ("user_1", "pages"): 4}
    assert len({each.key for each in server.calls}) == 3


@given(st.integers(-50 * AMOUNT_MAX, 50 * AMOUNT_MAX))
def test_parts_are_exact_as_doubles(charged: int) -> None:
    """No part loses anything as a number of JSON, and together they are the amount."""
    parts = list(_parts(charged))
    assert sum(parts) == charged
    assert all(abs(each) <= VALUE_MAX and int(float(each)) == each != 0 for each in parts)


@pytest.mark.parametrize("mood", ["lost", "hang", "queued"])
async def test_what_was_counted_is_not_counted_again(store: Store, writer: Writer, mood: str) -> None:
    """No answer, or 202, says nothing: it is repeated with the same key until Autumn says that it has it."""
    time = Time()
    async with autumn(time) as (server, target):
        server.mood = lambda _tracked: mood
        await writer.append("user_1", closed(70))
        while await store.unread(NAME, ALL) or (waiting := await store.deliveries("waiting", 1)):
            time.at = max(time.at, waiting[0].due_at if time.at > T0 else T0)
            await deliver(store, target, time, attempt_s=0.1 if mood == "hang" else 5.0)
            time.at += 1
        assert server.counted == {("user_1", FEATURE): 70}
        assert len({each.key for each in server.calls}) == 1
        assert len(server.calls) > 1
        # After no answer a 409 may be of a call that is still being worked on, so a minute has to pass.
        assert (time.at - T0 >= MINUTE) == (mood != "queued")
    assert await store.deliveries("dead", 9) == []


async def test_what_nobody_knows_is_the_operators_after_23_hours(store: Store, writer: Writer) -> None:
    """Autumn forgets keys after a day: a repeat could count twice, so there is none."""
    time = Time()
    async with autumn(time) as (server, target):
        server.mood = lambda _tracked: "503"
        await writer.append("user_1", closed(70))
        await deliver(store, target, time)
        for at in range(T0, T0 + 30 * HOUR, 10 * MINUTE):
            time.at = at
            await deliver(store, target, time)
        (dead,) = await store.deliveries("dead", 9)
        assert dead.problem == "status 503"
        calls = len(server.calls)
        assert 23 * 6 - 2 <= calls <= 23 * 6 + 2
        server.mood = lambda _tracked: "ok"
        await writer.append("user_1", closed(5))
        await deliver(store, target, time)
        assert server.counted == {("user_1", FEATURE): 5}
        await store.revive_deliveries([dead.id], time.at)
        await deliver(store, target, time)
        assert server.counted == {("user_1", FEATURE): 75}


@pytest.mark.parametrize("mood", ["gone", "401"])
async def test_an_outage_of_days_loses_nothing(store: Store, writer: Writer, mood: str) -> None:
    """While it is sure that nothing was counted there is no end to trying."""
    time = Time()
    async with running_autumn() as server, autumn_client(server.url, SECRET_KEY) as client:
        server.mood = lambda _tracked: mood
        gone = autumn_client("http://127.0.0.1:1", SECRET_KEY)
        async with gone as nowhere:
            target = AutumnUsage(nowhere if mood == "gone" else client, FEATURE, time)
            for at in range(T0, T0 + 60 * HOUR, 6 * HOUR):
                time.at = at
                await writer.append("user_1", closed(1))
                await deliver(store, target, time)
        server.mood = lambda _tracked: "ok"
        time.at += HOUR
        await deliver(store, AutumnUsage(client, FEATURE, time), time)
        assert server.counted == {("user_1", FEATURE): 10}
    assert await store.deliveries("dead", 9) == []


async def test_what_autumn_refuses_is_the_operators_after_a_day(store: Store, writer: Writer) -> None:
    """A feature that is not there: nothing was counted, what the account has next goes on, and it can be told later."""
    time = Time()
    async with autumn(time) as (server, target):
        server.mood = lambda tracked: "404" if tracked.value == 70 else "ok"
        await writer.append("user_1", closed(70))
        await deliver(store, target, time)
        await writer.append("user_1", closed(5))
        for at in range(T0, T0 + 25 * HOUR, HOUR):
            time.at = at
            await deliver(store, target, time)
        (dead,) = await store.deliveries("dead", 9)
        assert (dead.problem, dead.first_sent_at) == ("status 404", None)
        assert server.counted == {("user_1", FEATURE): 5}
        server.mood = lambda _tracked: "ok"
        await store.revive_deliveries([dead.id], time.at)
        await deliver(store, target, time)
        assert server.counted == {("user_1", FEATURE): 75}


async def test_a_customer_is_introduced(store: Store, writer: Writer) -> None:
    """Autumn need not know an account before it is used."""
    time = Time()
    async with autumn(time) as (server, target):
        server.known_at_once = False
        await writer.append("user_1", closed(3))
        await deliver(store, target, time)
        time.at += SECOND
        await deliver(store, target, time)
        assert server.counted == {("user_1", FEATURE): 3}
        assert list(server.customers) == ["user_1"]


async def test_a_wrong_key_is_told(store: Store, writer: Writer) -> None:
    """The operator sees why nothing goes through, and the key appears nowhere."""
    async with running_autumn() as server, autumn_client(server.url, "am_sk_wrong_0123456789") as client:
        await writer.append("user_1", closed(3))
        await deliver(store, AutumnUsage(client, FEATURE), now)
    (waiting,) = await store.deliveries("waiting", 9)
    assert waiting.problem == "status 401"


def _moody(rng: random.Random) -> Callable[[Tracked], str]:
    left: Counter[str] = Counter()

    def mood(tracked: Tracked) -> str:
        left[tracked.key] += 1
        return rng.choice(["lost", "hang", "queued", "500", "ok"]) if left[tracked.key] < 5 else "ok"

    return mood


@on_both
async def test_a_worker_that_is_killed_counts_nothing_twice(
    store: Store, writer: Writer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed between sending and writing it down, again and again: what Autumn has counted is what was charged."""
    monkeypatch.setattr("worker.outgoing.autumn.IN_PROGRESS", 0)
    rng = random.Random(5)
    charged: Counter[tuple[str, str]] = Counter()
    async with autumn() as (server, target):
        server.mood = _moody(rng)
        for number in range(8):
            for _ in range(5):
                account, cost = f"user_{rng.randrange(4)}", rng.randrange(1, 1_000)
                charged[account, FEATURE] += cost
                await writer.append(account, closed(cost))
            reader = LogReader(store, target, now)
            relay = Relay(store, target, now, name=f"w{number}", claim_s=0.3, attempt_s=0.1, backoff_s=0.02)
            calls = len(server.calls)

            async def called(reader: LogReader = reader, relay: Relay = relay, calls: int = calls) -> bool:
                await reader.step(ALL)
                await relay.step(ALL)
                return len(server.calls) > calls

            await until(called, 10, "a call")
            await relay.abort()
        relay = Relay(store, target, now, name="last", claim_s=0.3, attempt_s=0.1, backoff_s=0.02)

        async def done() -> bool:
            await reader.step(ALL)
            await relay.step(ALL)
            return not await store.unread(NAME, ALL) and not await store.deliveries("waiting", 1)

        await until(done, 20, "all is counted")
        assert server.counted == charged
    assert await store.deliveries("dead", 9) == []
