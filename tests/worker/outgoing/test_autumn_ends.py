"""Who is erased is billed by Autumn no more, whatever happens to Autumn, to the network or to the worker meanwhile."""

import asyncio

import pytest

from domain.erasure import UserErased
from domain.instant import DAY, HOUR, MINUTE
from eventstore.store import Store
from tests.autumn import SECRET_KEY, AutumnServer, running_autumn, subscription
from tests.eventstore.conftest import SHARDS
from tests.worker.bench import T0
from tests.worker.outgoing.logs import Time, Writer, on_both
from worker.outgoing.autumn import NAME, AutumnUsage, autumn_client
from worker.outgoing.autumn_ends import KEPT
from worker.outgoing.log_reader import LogReader
from worker.outgoing.relay import Relay

pytestmark = pytest.mark.usefixtures("logged")

ALL = range(SHARDS)
ERASED = UserErased(email_hash="", erased_at=T0)


@pytest.fixture
async def writer(store: Store) -> Writer:
    """Appends to a log that Autumn is told of from its beginning."""
    await store.begin_reading(NAME)
    return await Writer.claim(store)


async def deliver(store: Store, target: AutumnUsage, time: Time) -> None:
    """Reads the log and sends until nothing is due any more."""
    reader, relay = LogReader(store, target, time), Relay(store, target, time, name="w", attempt_s=5.0)
    while await reader.step(ALL):
        pass
    while await relay.step(ALL):
        await asyncio.gather(*relay._sending)
    await relay.close()


def customers(server: AutumnServer) -> None:
    """One with two plans and the free one, one whom nobody bills, one who stays."""
    free = subscription("free", auto_enable=True)
    server.customers["user_1"] = [subscription("pro"), subscription("extra", add_on=True), free]
    server.customers["user_2"] = [free]
    server.customers["user_3"] = [subscription("pro")]


@on_both
async def test_what_is_billed_ends(store: Store, writer: Writer) -> None:
    """All plans but the free one, once each; who never was a customer is nothing to end."""
    async with running_autumn() as server, autumn_client(server.url, SECRET_KEY) as client:
        customers(server)
        for user in ("user_1", "user_2", "user_4"):
            await writer.append(user, ERASED)
        for _ in range(2):
            await deliver(store, AutumnUsage(client, "micro_credits", Time()), Time())
        assert sorted(server.ended) == [("user_1", "sub_extra"), ("user_1", "sub_pro")]
        assert server.customers["user_3"]
        assert await store.backlog() == []


@on_both
async def test_an_outage_of_days(store: Store, writer: Writer) -> None:
    """It is tried until Autumn is back, and once is enough; a second copy of the message ends nothing again."""
    time = Time()
    async with running_autumn() as server, autumn_client(server.url, SECRET_KEY) as client:
        customers(server)
        target = AutumnUsage(client, "micro_credits", time)
        await writer.append("user_1", ERASED)
        server.down = True
        for pause in (MINUTE, HOUR, DAY, 3 * DAY):
            await deliver(store, target, time)
            time.at += pause
        assert server.ended == []
        assert [each.waiting for each in await store.backlog()] == [1]
        server.down = False
        await deliver(store, target, time)
        assert len(server.ended) == 2
        assert await store.backlog() == []


async def test_what_never_ends_is_the_operator_s(store: Store, writer: Writer) -> None:
    """After a month of failures it is dead, and `deliveries retry` tries it for another one."""
    time = Time()
    async with running_autumn() as server, autumn_client(server.url, SECRET_KEY) as client:
        customers(server)
        target = AutumnUsage(client, "micro_credits", time)
        await writer.append("user_1", ERASED)
        server.down = True
        await deliver(store, target, time)
        time.at += KEPT
        await deliver(store, target, time)
        (dead,) = await store.deliveries("dead", 10)
        assert (dead.type, dead.problem) == ("subscriptions.end", "status 503")
        server.down = False
        assert await store.revive_deliveries(None, time()) == 1
        await deliver(store, target, time)
        assert len(server.ended) == 2


async def test_one_that_has_ended_meanwhile(store: Store, writer: Writer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody cancels in the very moment: what is not there any more is no failure."""
    async with running_autumn() as server, autumn_client(server.url, SECRET_KEY) as client:
        customers(server)
        await writer.append("user_1", ERASED)
        update = server._update

        def too_late(body: dict[str, str]) -> object:
            server.customers["user_1"] = []
            return update(body)

        monkeypatch.setattr(server, "_update", too_late)
        await deliver(store, AutumnUsage(client, "micro_credits", Time()), Time())
        assert server.ended == []
        assert server.endings == 2
        assert await store.backlog() == []
