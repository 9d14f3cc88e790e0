"""`quarantine`: what was set aside for a stream is applied in order, before anything newer, once it can be folded."""

import pytest
from msgspec import structs

from domain.account import account as account_domain
from domain.account.credits import CreditsGranted
from domain.registry import aggregates
from tests.worker.operator.test_dead_letters import STREAM, balance
from tests.worker.operator.yard import Yard, grant, register
from worker import repair
from worker.dead_letters import drop_dead_letters, retry_dead_letters
from worker.operating import NotDone
from worker.quarantine import list_quarantine, release_quarantine
from worker.verify import verify


def break_evolve(patch: pytest.MonkeyPatch, *references: str) -> None:
    """The release has a bug: its state cannot take grants with these references."""

    def broken(account: object, event: object) -> object:
        if isinstance(event, CreditsGranted) and event.reference in references:
            raise KeyError("a bug of ours")
        return account_domain.evolve(account, event)  # type: ignore[arg-type]  # handed on as they are

    patch.setattr(aggregates()["account"], "evolve", broken)


async def _quarantined(yard: Yard, patch: pytest.MonkeyPatch) -> list[str]:
    """An account with one command applied, one that broke it, and two behind that."""
    break_evolve(patch, "bad")
    await yard.apply(STREAM, grant("user_1", "good", 1))
    ids = []
    for reference, amount in (("bad", 10), ("second", 100), ("third", 1_000)):
        sent = await yard.ask(STREAM, grant("user_1", reference, amount))
        assert (await yard.outcome(sent)).status == "quarantined"
        ids.append(sent.header.id)
    return ids


async def test_a_release_applies_what_was_set_aside_in_order(yard: Yard, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a release that can fold it, the commands are applied in the log's order, and the stream is as any other."""
    async with yard.working():
        with monkeypatch.context() as patch:
            ids = await _quarantined(yard, patch)
            assert f"{STREAM}  shard" in await list_quarantine(yard.settings)
            assert "3 commands set aside" in await list_quarantine(yard.settings)
        said = await release_quarantine(yard.settings, stream=STREAM)
        assert said == f"{STREAM} is free; of the commands set aside: 3 applied"
        rows = await yard.rows(
            "SELECT metadata->>'command_id' AS id FROM events_readable WHERE stream = $1 ORDER BY version", STREAM
        )
        assert [row["id"] for row in rows][1:] == ids
        assert await balance(yard) == 1_111
        await yard.apply(STREAM, grant("user_1", "later", 10_000))
        assert await balance(yard) == 11_111
        assert await list_quarantine(yard.settings) == "no stream is in quarantine"
        assert "no difference" in await verify(yard.settings)


async def test_what_was_folded_before_must_fold_again(yard: Yard, monkeypatch: pytest.MonkeyPatch) -> None:
    """While this release cannot fold the log itself, nothing is decided and the stream stays where it is."""
    async with yard.working():
        with monkeypatch.context() as patch:
            await _quarantined(yard, patch)
        with monkeypatch.context() as patch:
            break_evolve(patch, "good")
            with pytest.raises(NotDone, match="cannot be folded by this release either"):
                await release_quarantine(yard.settings, stream=STREAM)
        assert len(await yard.store.dead_letters()) == 3


async def test_one_that_breaks_again_stays(yard: Yard, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was decided before it is kept, what comes behind it is still behind it."""
    async with yard.working():
        with monkeypatch.context() as patch:
            await _quarantined(yard, patch)
            break_evolve(patch, "second")
            with pytest.raises(NotDone, match=r"breaks again at the command .*; 1 commands before that were decided"):
                await release_quarantine(yard.settings, stream=STREAM)
            assert await balance(yard) == 11
            later = await yard.ask(STREAM, grant("user_1", "later", 10_000))
            assert (await yard.outcome(later)).status == "quarantined"
        said = await release_quarantine(yard.settings, stream=STREAM)
        assert said.endswith("3 applied")
        assert await balance(yard) == 11_111
        assert "no difference" in await verify(yard.settings)


async def test_an_interrupted_release_lets_nothing_overtake(yard: Yard, monkeypatch: pytest.MonkeyPatch) -> None:
    """Cut between two commands, the stream is still in quarantine: a later command waits behind the rest."""
    async with yard.working():
        with monkeypatch.context() as patch:
            await _quarantined(yard, patch)
        retry, left = repair.Repairs.retry, iter(range(2))

        async def cut(self: repair.Repairs, letter: object, fate: object = "retried") -> object:
            if next(left, None) is None:
                raise OSError("the machine was switched off")
            return await retry(self, letter, fate)  # type: ignore[arg-type]  # handed on as they are

        with monkeypatch.context() as patch:
            patch.setattr(repair.Repairs, "retry", cut)
            with pytest.raises(OSError, match="switched off"):
                await release_quarantine(yard.settings, stream=STREAM)
        later = await yard.ask(STREAM, grant("user_1", "later", 10_000))
        assert (await yard.outcome(later)).status == "quarantined"
        said = await release_quarantine(yard.settings, stream=STREAM)
        assert said.endswith("2 applied")
        assert await balance(yard) == 11_111
        assert "no difference" in await verify(yard.settings)


async def test_a_stream_that_broke_at_its_first_command(yard: Yard, monkeypatch: pytest.MonkeyPatch) -> None:
    """A stream without any event can be in quarantine, and leaves it like any other."""
    async with yard.working():
        with monkeypatch.context() as patch:
            break_evolve(patch, "bad")
            sent = await yard.ask(STREAM, grant("user_1", "bad", 10))
            assert (await yard.outcome(sent)).status == "quarantined"
        assert "1 applied" in await release_quarantine(yard.settings, stream=STREAM)
        await yard.apply(STREAM, grant("user_1", "later", 5))
        assert await balance(yard) == 15
        assert "no difference" in await verify(yard.settings)


async def test_one_with_nothing_waiting_is_freed(yard: Yard, monkeypatch: pytest.MonkeyPatch) -> None:
    """A stream whose commands were all dropped is free after a release, as the release says."""
    async with yard.working():
        with monkeypatch.context() as patch:
            await _quarantined(yard, patch)
        await drop_dead_letters(yard.settings, places=[], everything=True)
        said = await release_quarantine(yard.settings, stream=STREAM)
        assert said == f"{STREAM} is free; of the commands set aside: none were waiting"
        assert await list_quarantine(yard.settings) == "no stream is in quarantine"
        assert (await yard.apply(STREAM, grant("user_1", "later", 10))).status == "applied"
        assert await balance(yard) == 11
        assert "no difference" in await verify(yard.settings)


async def test_a_dropped_registration_frees_its_email(yard: Yard, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was set aside keeps its claim until it is decided; dropped, it lets others have it."""
    user = aggregates()["user"]

    def broken(*_: object) -> object:
        raise KeyError("a bug of ours")

    async with yard.working():
        with monkeypatch.context() as patch:
            patch.setattr(user, "evolve", broken)
            first = await yard.apply("user:user_1", register("user_1"))
            assert first.status == "quarantined"
        assert len(await yard.rows("SELECT 1 FROM claims")) == 1
        await drop_dead_letters(yard.settings, places=[], everything=True)
        taken = structs.replace(register("user_2"), email_hash=register("user_1").email_hash)
        assert (await yard.apply("user:user_2", taken)).status == "applied"


async def test_single_letters_of_it_are_not_retried(yard: Yard, monkeypatch: pytest.MonkeyPatch) -> None:
    """`dead-letters retry` would break the order: it names the command to use instead."""
    async with yard.working():
        with monkeypatch.context() as patch:
            await _quarantined(yard, patch)
        (letter, *_) = await yard.store.dead_letters()
        with pytest.raises(NotDone, match=f"use `quarantine release {STREAM}`"):
            await retry_dead_letters(yard.settings, places=[letter.place], everything=False)


async def test_a_stream_that_is_free_is_not_released(yard: Yard) -> None:
    """A typing error does nothing."""
    with pytest.raises(NotDone, match="account:x is not in quarantine"):
        await release_quarantine(yard.settings, stream="account:x")
