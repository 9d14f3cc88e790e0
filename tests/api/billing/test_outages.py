"""Purchases while Stripe, the log or the workers are away: nothing is lost, and nothing is granted twice."""

from typing import Literal

import pytest

from api.command_log.bus import Ack, BusUnavailable, BusUncertain, CommandBus
from tests.api.billing.paying import Shop


class Shaky(CommandBus):
    """The log behind a network that fails: `cut` loses commands, `mute` their acknowledgement, `late` holds them up."""

    def __init__(self, log: CommandBus) -> None:
        self._log = log
        self.how: Literal["fine", "cut", "mute", "late"] = "fine"
        self._waiting: list[tuple[int, bytes, bytes]] = []

    async def send(self, shard: int, key: bytes, value: bytes) -> Ack:
        """See `CommandBus`."""
        if self.how == "cut":
            raise BusUnavailable("cut")
        if self.how == "late":
            self._waiting.append((shard, key, value))
            return Ack(shard=shard, offset=10**9)
        ack = await self._log.send(shard, key, value)
        if self.how == "mute":
            raise BusUncertain("arrived, and nobody knows")
        return ack

    async def ends(self) -> dict[int, int]:
        """See `CommandBus`."""
        return dict(await self._log.ends())

    async def arrive(self) -> None:
        """What was held up comes through."""
        self.how = "fine"
        for shard, key, value in self._waiting:
            await self._log.send(shard, key, value)


@pytest.fixture
def shaky(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> Shaky:
    """The application's log, which fails when told to; outcomes are waited for a moment only."""
    shop.stripe.events.clear()
    bus = Shaky(shop.app.log)
    monkeypatch.setattr(shop.app.services.commands, "_bus", bus)
    monkeypatch.setattr("api.billing.telling.WAIT_S", 0.1)
    return bus


pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest.mark.parametrize(("how", "code"), [("cut", "bus_unavailable"), ("mute", "outcome_unknown")])
async def test_the_log_is_away_503(shop: Shop, shaky: Shaky, how: Literal["cut", "mute"], code: str) -> None:
    """A webhook is not taken before the log has it for good; Stripe sends it again, and it counts once."""
    person = await shop.app.register()
    session = await shop.bought(person, top_up="bonus")
    shaky.how = how
    for event in shop.stripe.events:
        answer = await shop.tell(event)
        assert (answer.status, answer.code) == (503, code)
    assert (await shop.process(person, session["id"])).code == code
    shaky.how = "fine"
    await shop.tell_all()
    assert (await shop.process(person, session["id"])).status == 200
    assert (await shop.credits(person))["balance"] == "110.000000"


async def test_the_workers_are_slow_200(shop: Shop, shaky: Shaky, monkeypatch: pytest.MonkeyPatch) -> None:
    """A webhook whose command the log has is taken; a client is told that it is pending. Later it counts once."""
    person = await shop.app.register()
    session = await shop.bought(person, top_up="bonus")
    shaky.how = "late"
    await shop.tell_all()
    answer = await shop.process(person, session["id"])
    assert (answer.status, answer.code) == (503, "payment_pending")
    assert (await shop.credits(person))["balance"] == "0.000000"
    await shaky.arrive()
    monkeypatch.setattr("api.billing.telling.WAIT_S", 5.0)
    assert (await shop.process(person, session["id"])).status == 200
    assert (await shop.credits(person))["balance"] == "110.000000"


async def test_stripe_hangs_503(shop: Shop, shaky: Shaky, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody waits for ever: a question that is not answered ends, and is 503."""
    del shaky
    person = await shop.app.register()
    session = await shop.bought(person, top_up="bonus")
    monkeypatch.setattr("api.billing.stripe_client.CALL_S", 0.1)
    shop.stripe.outage = "hang"
    assert (await shop.process(person, session["id"])).code == "billing_unavailable"
    assert (await shop.tell(shop.stripe.events[-1])).code == "billing_unavailable"
    shop.stripe.outage = "none"
    monkeypatch.undo()
    assert (await shop.process(person, session["id"])).status == 200
