"""Writes that are slow, lost, repeated or reused, and what GET /commands/{id} says of them."""

import asyncio
from collections.abc import AsyncIterator, Mapping

import pytest

from api.app import create_app
from api.command_log.bus import Ack, BusOverloaded, BusUnavailable, BusUncertain
from api.command_log.commands import Commands
from api.command_log.lag import Lag
from devnet.log import MemoryLog
from domain.account.api_keys import RevokeApiKey
from domain.account.credits import AddCredits
from domain.account.holds import ReleaseHold, ReportProgress, SettleHold, Sweep
from domain.account.usage import Usage
from domain.envelope import Actor, Envelope, Header
from domain.message import Command
from tests.api.running import SHARDS, Running, application
from tests.api.serving import served


class WaywardBus:
    """The memory log, which can lose records, or their acknowledgements, or keep them for later."""

    def __init__(self, log: MemoryLog) -> None:
        self._log = log
        self.mode = "fine"
        self.kept: list[tuple[int, bytes, bytes]] = []
        self.others = 0
        """What other processes have written to each shard and no worker has applied."""

    async def send(self, shard: int, key: bytes, value: bytes) -> Ack:
        """See `bus.CommandBus`."""
        match self.mode:
            case "away":
                raise BusUnavailable("away")
            case "lost":
                raise BusUncertain("no answer")
            case "unacknowledged":
                await self._log.send(shard, key, value)
                raise BusUncertain("no answer")
            case "slow":
                self.kept.append((shard, key, value))
                return Ack(shard=shard, offset=len(self._log.records[shard]))
            case _:
                return await self._log.send(shard, key, value)

    async def ends(self) -> Mapping[int, int]:
        """See `bus.CommandBus`."""
        return {shard: end + self.others for shard, end in (await self._log.ends()).items()}

    async def deliver(self) -> None:
        """Lets the worker see what was kept."""
        for shard, key, value in self.kept:
            await self._log.send(shard, key, value)
        self.kept.clear()


class Place:
    """A running application behind a wayward bus."""

    def __init__(self, running: Running, bus: WaywardBus) -> None:
        self.app = running
        self.bus = bus

    async def status(self, url: str, wanted: str, *, token: str | None = None) -> dict[str, object]:
        """Asks until the status is the wanted one, with a bound."""
        async with asyncio.timeout(10):
            while True:
                answer = await self.app.ask("GET", url, token=token)
                assert answer.status == 200, answer
                if answer.json["status"] == wanted:
                    found: dict[str, object] = answer.json
                    return found
                await asyncio.sleep(0.005)


@pytest.fixture
async def place() -> AsyncIterator[Place]:
    """A running application whose bus can go wrong."""
    async with application() as running:
        bus = WaywardBus(running.log)
        lag = Lag(running.store, bus, shard_behind_max=100)
        commands = Commands(bus, running.services.commands.poller, lag, SHARDS)
        object.__setattr__(running.services, "commands", commands)
        yield Place(running, bus)


NAME = {"display_name": "Ada"}
KEY = {"Idempotency-Key": "k-1"}
ASYNC = {"Prefer": "respond-async"}


async def test_202_for_who_prefers_not_to_wait(place: Place) -> None:
    """`Prefer: respond-async` answers at once with where to ask, and the command is applied all the same."""
    person = await place.app.register()
    answer = await place.app.ask("PATCH", "/users/me", NAME, token=person.token, headers=ASYNC)
    assert (answer.status, answer.json["status"]) == (202, "pending")
    assert answer.headers["location"] == answer.json["status_url"] == f"/commands/{answer.json['command_id']}"
    assert answer.headers["preference-applied"] == "respond-async"
    found = await place.status(answer.json["status_url"], "applied", token=person.token)
    assert found["id"] == answer.json["command_id"]
    assert found["decided_at"]


async def test_202_while_the_worker_is_slow(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """A command without an outcome in time is pending, and applied once the worker gets to it."""
    person = await place.app.register()
    place.bus.mode = "slow"
    monkeypatch.setattr("api.command_log.commands.Draft.submit.__kwdefaults__", {"stream": None, "wait_s": 0.05})
    answer = await place.app.ask("PATCH", "/users/me", NAME, token=person.token)
    assert answer.status == 202
    assert (await place.app.ask("GET", answer.json["status_url"], token=person.token)).json["status"] == "pending"
    await place.bus.deliver()
    await place.status(answer.json["status_url"], "applied", token=person.token)


async def test_nobody_asks_for_anothers_command(place: Place) -> None:
    """Another account's command looks as if it were not there, also to somebody without credentials."""
    ada, eve, admin = await place.app.register(), await place.app.register(), await place.app.admin()
    answer = await place.app.ask("PATCH", "/users/me", NAME, token=ada.token, headers=ASYNC)
    url = answer.json["status_url"]
    for token in (eve.token, None):
        refused = await place.app.ask("GET", url, token=token)
        assert (refused.status, refused.code) == (404, "command_not_found")
    assert (await place.app.ask("GET", url, token=admin.token)).status == 200
    assert (await place.app.ask("GET", url[:-3] + "AAA", token=ada.token)).code == "command_not_found"
    assert (await place.app.ask("GET", "/commands/x", token=ada.token)).status == 404


async def test_a_registration_can_be_asked_for_without_credentials(place: Place) -> None:
    """Who has no credentials yet learns of the outcome by the signed id alone."""
    body = {"email": "later@example.com", "password": "correct horse battery staple"}
    answer = await place.app.ask("POST", "/auth/register", body, headers=ASYNC)
    assert answer.status == 202
    await place.status(answer.json["status_url"], "applied")


async def test_a_refused_command_tells_why(place: Place) -> None:
    """The status of a refused command has the code that its answer would have had."""
    body = {"email": "free@example.com", "password": "correct horse battery staple"}
    place.bus.mode = "slow"
    second = await place.app.ask("POST", "/auth/register", body, headers=ASYNC)
    place.bus.mode = "fine"
    first = await place.app.ask("POST", "/auth/register", body)
    assert first.status == 201
    await place.bus.deliver()
    found = await place.status(second.json["status_url"], "rejected")
    assert found["error"]["code"] == "email_taken"  # type: ignore[index]  # JSON


async def test_503_while_the_log_is_away(place: Place) -> None:
    """A command that certainly was not written says so, and when to come again."""
    person = await place.app.register()
    place.bus.mode = "away"
    answer = await place.app.ask("PATCH", "/users/me", NAME, token=person.token)
    assert (answer.status, answer.code, answer.headers["retry-after"]) == (503, "bus_unavailable", "1")


@pytest.mark.parametrize(("mode", "status"), [("lost", "unknown"), ("unacknowledged", "applied")])
async def test_503_with_the_command_id_when_nobody_knows(place: Place, mode: str, status: str) -> None:
    """Without an acknowledgement the answer names the command; its status and a repeat tell the truth."""
    person = await place.app.register()
    place.bus.mode = mode
    answer = await place.app.ask("PATCH", "/users/me", NAME, token=person.token, headers=KEY)
    assert (answer.status, answer.code) == (503, "outcome_unknown")
    error = answer.json["error"]
    assert error["status_url"] == f"/commands/{error['command_id']}"
    await place.status(error["status_url"], status, token=person.token)
    place.bus.mode = "fine"
    repeated = await place.app.ask("PATCH", "/users/me", NAME, token=person.token, headers=KEY)
    assert (repeated.status, repeated.json["display_name"]) == (200, "Ada")
    await place.status(error["status_url"], "applied", token=person.token)


async def test_422_for_another_request_under_a_key(place: Place) -> None:
    """The same key with another body is refused and has no effect; with another path it is another command."""
    person = await place.app.register()
    assert (await place.app.ask("PATCH", "/users/me", NAME, token=person.token, headers=KEY)).status == 200
    reused = await place.app.ask("PATCH", "/users/me", {"display_name": "Eve"}, token=person.token, headers=KEY)
    assert (reused.status, reused.code) == (422, "idempotency_key_reused")
    assert (await place.app.ask("GET", "/users/me", token=person.token)).json["display_name"] == "Ada"
    other = await place.app.ask("POST", "/api-keys", {"name": "a"}, token=person.token, headers=KEY)
    assert other.status == 201


async def test_keys_of_two_callers_do_not_meet(place: Place) -> None:
    """The same Idempotency-Key of two callers names two commands."""
    ada, eve = await place.app.register(), await place.app.register()
    for person, name in ((ada, "Ada"), (eve, "Eve")):
        answer = await place.app.ask("PATCH", "/users/me", {"display_name": name}, token=person.token, headers=KEY)
        assert (answer.status, answer.json["display_name"]) == (200, name)


async def test_fifty_repeats_at_once_have_one_effect(place: Place) -> None:
    """Parallel repeats under one key, through two applications, make one key and answer alike."""
    person = await place.app.register()
    async with served(create_app(place.app.services)) as url:
        other = Running(url, place.app.services, place.app.store, place.app.log, place.app._http)
        answers = await asyncio.gather(
            *[
                (place.app, other)[number % 2].ask("POST", "/api-keys", {"name": "a"}, token=person.token, headers=KEY)
                for number in range(50)
            ]
        )
    assert {answer.status for answer in answers} == {201}
    assert len({answer.json["key"] for answer in answers}) == 1
    listed = await place.app.ask("GET", "/api-keys", token=person.token)
    assert len(listed.json["data"]) == 1


async def test_new_work_is_shed_while_the_workers_are_too_far_behind(place: Place) -> None:
    """503 `overloaded` with `Retry-After`, and nothing is written; all is well again once they have caught up."""
    person = await place.app.register()
    lag = place.app.services.commands.lag
    place.bus.others = 101
    await lag.read()
    assert (await place.app.ask("GET", "/ready")).json["behind"] == 101 * SHARDS
    records = [len(each) for each in place.app.log.records]
    answer = await place.app.ask("PATCH", "/users/me", NAME, token=person.token)
    assert (answer.status, answer.code, answer.headers["retry-after"]) == (503, "overloaded", "5")
    assert [len(each) for each in place.app.log.records] == records
    place.bus.others = 100
    await lag.read()
    assert (await place.app.ask("PATCH", "/users/me", NAME, token=person.token)).status == 200


@pytest.mark.parametrize(
    "fact",
    [
        SettleHold(hold_id="hold_1", usage=Usage(source="provider")),
        ReleaseHold(hold_id="hold_1", reason="undecided"),
        ReportProgress(hold_id="hold_1", usage=Usage(source="provider")),
        Sweep(),
        AddCredits(grant_id="grant_1", amount=1, source="payment", reference="r"),
    ],
    ids=lambda fact: type(fact).__name__,
)
async def test_what_must_never_be_lost_is_never_shed(place: Place, fact: Command) -> None:
    """Settle, release, progress, expiry and payments reach the log however far the workers are behind."""
    commands = place.app.services.commands
    place.bus.others = 1_000_000
    await commands.lag.read()
    actor = Actor(kind="system", id="test")
    header = Header(id="c", attempt="a", stream="account:1", account="1", actor=actor, issued_at=0)
    with pytest.raises(BusOverloaded):
        await commands.send(Envelope(header=header, body=RevokeApiKey(key_id="key_1")))
    assert await commands.send(Envelope(header=header, body=fact)) == Ack(shard=commands.shard("account:1"), offset=0)
