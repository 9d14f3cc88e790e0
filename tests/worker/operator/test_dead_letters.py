"""`dead-letters`: a command that met a bug of ours has one final outcome once an operator has seen to it (I2)."""

import msgspec
import pytest
from msgspec import structs

from domain.account import account as account_domain
from domain.account.api_keys import CreateApiKey
from domain.account.credits import AddCredits
from domain.envelope import Envelope
from domain.instant import DAY, HOUR, MINUTE, Instant
from domain.registry import aggregates
from eventstore.clock import system_clock
from eventstore.records import Outcome
from eventstore.shards import shard_of
from projections.credits import get_credits
from projections.postgres import PostgresDocuments
from tests.crash.waiting import until
from tests.worker.operator.yard import SHARDS, Yard, again, grant, register
from worker import dead_letters
from worker.dead_letters import drop_dead_letters, list_dead_letters, retry_dead_letters
from worker.operating import NotDone
from worker.verify import verify

STREAM = "account:user_1"
SHARD = shard_of(STREAM, SHARDS)


def break_grants(patch: pytest.MonkeyPatch, *references: str) -> None:
    """The release has a bug: it cannot decide grants with these references."""

    def broken(account: object, command: object, at: int) -> object:
        if isinstance(command, AddCredits) and command.reference in references:
            raise ZeroDivisionError("a bug of ours")
        return account_domain.decide(account, command, at)  # type: ignore[arg-type]  # handed on as they are

    patch.setattr(aggregates()["account"], "decide", broken)


async def balance(yard: Yard) -> int:
    """What the account has."""
    return (await get_credits(PostgresDocuments(yard.store.pool), SHARDS, "user_1")).balance


async def _failed(yard: Yard, patch: pytest.MonkeyPatch, *references: str) -> list[Envelope]:
    break_grants(patch, *references)
    sent = [await yard.ask(STREAM, grant("user_1", each, 1_000)) for each in references]
    for each in sent:
        assert (await yard.outcome(each)).status == "failed"
    return sent


def _code(outcome: Outcome) -> object:
    return msgspec.json.decode(outcome.data).get("code")


async def test_a_retry_decides_it_once(yard: Yard, monkeypatch: pytest.MonkeyPatch) -> None:
    """After the bug was mended a retry applies the command, once, and its outcome is final from then on."""
    async with yard.working():
        with monkeypatch.context() as patch:
            (sent,) = await _failed(yard, patch, "r")
            await yard.apply(STREAM, grant("user_1", "other", 50))
        assert await retry_dead_letters(yard.settings, places=[], everything=True) == "retried 1: 1 applied"
        outcome = await yard.outcome(sent)
        assert outcome.status == "applied"
        assert await balance(yard) == 1_050
        await yard.send(sent)
        await yard.send(again(sent, "another"))
        await yard.apply(STREAM, grant("user_1", "last", 1))
        assert await balance(yard) == 1_051
        assert await yard.outcome(sent) == outcome
        assert await list_dead_letters(yard.settings, state="open", limit=9) == "no dead letter is open"
        assert STREAM in await list_dead_letters(yard.settings, state="retried", limit=9)
        assert "no difference" in await verify(yard.settings)


async def test_a_retry_ignores_the_deadline(yard: Yard, monkeypatch: pytest.MonkeyPatch) -> None:
    """The client was told that repair is pending, so what it asked for still counts, however late."""
    async with yard.working():
        with monkeypatch.context() as patch:
            break_grants(patch, "r")
            sent = await yard.ask(STREAM, grant("user_1", "r"), deadline=system_clock() + 2_000_000)
            assert (await yard.outcome(sent)).status == "failed"
        late = sent.header.deadline or 0
        while system_clock() <= late:
            await yard.apply(STREAM, grant("user_1", f"{system_clock()}", 1))
        await retry_dead_letters(yard.settings, places=[], everything=True)
        assert (await yard.outcome(sent)).status == "applied"


@pytest.mark.parametrize(("age", "status"), [(HOUR, "applied"), (DAY + MINUTE, "rejected")])
async def test_a_key_is_not_made_for_nobody(
    yard: Yard, monkeypatch: pytest.MonkeyPatch, age: Instant, status: str
) -> None:
    """While its client may still come for it a retry makes it; later it would be a key that nobody has seen."""
    at = system_clock() - age
    create = CreateApiKey(
        key_id="key_1",
        name="n",
        scopes=("read",),
        mode="live",
        digest="d",
        hint="h",
        created_by="user_1",
        keys_max=None,
        secret_sealed="s",
    )
    envelope = yard.envelope(STREAM, create, deadline=system_clock() + MINUTE)
    envelope = structs.replace(envelope, header=structs.replace(envelope.header, issued_at=at))

    def broken(*_: object) -> object:
        raise ZeroDivisionError("a bug of ours")

    async with yard.working():
        with monkeypatch.context() as patch:
            patch.setattr(aggregates()["account"], "decide", broken)
            await yard.send(envelope)
            assert (await yard.outcome(envelope)).status == "failed"
        monkeypatch.setattr(dead_letters, "system_clock", lambda: system_clock() + 2 * MINUTE)
        await retry_dead_letters(yard.settings, places=[], everything=True)
        outcome = await yard.outcome(envelope)
        assert (outcome.status, _code(outcome)) == (status, None if status == "applied" else "deadline_passed")


async def test_what_fails_again_stays_open(yard: Yard, monkeypatch: pytest.MonkeyPatch) -> None:
    """A retry under the same bug says so, and can be repeated; the others of the same call are decided."""
    async with yard.working():
        with monkeypatch.context() as patch:
            await _failed(yard, patch, "a", "b", "c")
            break_grants(patch, "b")
            with pytest.raises(NotDone, match="retried 3: 2 applied, 1 failed"):
                await retry_dead_letters(yard.settings, places=[], everything=True)
        assert await balance(yard) == 2_000
        said = await list_dead_letters(yard.settings, state="open", limit=9)
        assert "failed" in said
        assert "ZeroDivisionError in credits.add" in said
        await retry_dead_letters(yard.settings, places=[], everything=True)
        assert await balance(yard) == 3_000


async def test_a_retry_may_be_refused(yard: Yard, monkeypatch: pytest.MonkeyPatch) -> None:
    """The domain's refusal is as good an end as being applied."""
    async with yard.working():
        with monkeypatch.context() as patch:
            break_grants(patch, "r")
            sent = await yard.ask(STREAM, grant("user_1", "r", 0))
            await yard.outcome(sent)
        said = await retry_dead_letters(yard.settings, places=[], everything=True)
        assert said == "retried 1: 1 rejected (invalid_amount)"
        assert (await yard.outcome(sent)).status == "rejected"


async def test_a_retried_registration_takes_its_claim(yard: Yard, monkeypatch: pytest.MonkeyPatch) -> None:
    """A claim that was freed by the failure is taken again; where it is lost by now the retry is refused."""
    user = aggregates()["user"]
    decide = user.decide

    def broken(*_: object) -> object:
        raise ZeroDivisionError

    async with yard.working():
        monkeypatch.setattr(user, "decide", broken)
        first = await yard.ask("user:user_1", register("user_1"))
        second = await yard.ask("user:user_2", register("user_1"))
        await yard.outcome(first)
        await yard.outcome(second)
        monkeypatch.setattr(user, "decide", decide)
        said = await retry_dead_letters(yard.settings, places=[], everything=True)
        assert "1 applied" in said
        assert "1 rejected (email_taken)" in said
        assert len(await yard.rows("SELECT 1 FROM claims")) == 1


async def test_a_dropped_command_is_refused_for_good(yard: Yard, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its client is told `dropped`, a repeat too, and it is never applied."""
    async with yard.working():
        with monkeypatch.context() as patch:
            (sent,) = await _failed(yard, patch, "r")
        (letter,) = await yard.store.dead_letters()
        place = letter.place
        assert await drop_dead_letters(yard.settings, places=[place], everything=False) == "dropped 1"
        outcome = await yard.outcome(sent)
        assert (outcome.status, _code(outcome), outcome.curable) == ("rejected", "dropped", False)
        await yard.send(again(sent, "another"))
        await yard.apply(STREAM, grant("user_1", "last", 1))
        assert await balance(yard) == 1
        with pytest.raises(NotDone, match="is dropped; nothing was done"):
            await retry_dead_letters(yard.settings, places=[place], everything=False)


async def test_bytes_that_are_no_command(yard: Yard) -> None:
    """A retry says that they still are none; dropping them ends the matter, and there is no outcome to write."""
    async with yard.working():
        await yard.sink.send(SHARD, b"", b"not a command")

        async def there() -> object:
            return await yard.store.dead_letters()

        await until(there, 10, "the dead letter")
        with pytest.raises(NotDone, match="retried 1: 1 undecodable"):
            await retry_dead_letters(yard.settings, places=[], everything=True)
        assert await drop_dead_letters(yard.settings, places=[], everything=True) == "dropped 1"
        assert await yard.store.dead_letters() == []


async def test_workers_go_on_meanwhile(yard: Yard, monkeypatch: pytest.MonkeyPatch) -> None:
    """The shard is taken from its worker and comes back: under load nothing is lost, and caches agree."""
    async with yard.working():
        await yard.fill(accounts=4, operations=10)
        with monkeypatch.context() as patch:
            await _failed(yard, patch, *(f"r{number}" for number in range(20)))
        before = await balance(yard)
        async with yard.load(accounts=4):
            await retry_dead_letters(yard.settings, places=[], everything=True)
        assert await yard.store.dead_letters() == []
        assert await balance(yard) != before
        assert "no difference" in await verify(yard.settings)


async def test_what_is_asked_for_must_be_there(yard: Yard) -> None:
    """Neither nothing nor everything is done by mistake."""
    for places, everything in (([], False), ([(0, 1, 1)], True), ([(0, 1, 1)], False)):
        with pytest.raises(NotDone):
            await retry_dead_letters(yard.settings, places=places, everything=everything)
