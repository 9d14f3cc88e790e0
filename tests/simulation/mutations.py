"""Safeguards taken out one at a time: the simulation is worth something only if it misses each of them.

| mutation | what it takes out | what then breaks |
|---|---|---|
| `no_fence` | the epoch check at begin and commit, the ending of a zombie's transaction | I3, gaps in seq, I1 |
| `no_doubt` | the check of what a round took from memory | I1, I3, versions |
| `no_outcomes` | the look-up of outcomes that exist already | I1, I2 |
| `keep_streams` | dropping the streams of a round that was rolled back | versions, I1 |
| `keep_documents` | dropping the documents of a round whose answer was lost | I4 |
| `keep_shards` | dropping caches when a shard is lost, or comes back | versions, I4 |
| `stay_astray` | going back to the store's place after a failed round | stuck |
| `apply_again` | leaving out records that were applied before | offsets go back |
| `unmoved` | learning from the store that a round had been committed, though its answer was lost | stuck |
| `forget_attempts` | knowing refused attempts for duplicates | I1 |
| `claims_unchecked` | the check of claims against other transactions, at commit | one address, two users |
| `claims_in_one_batch` | waiting for the first of two claims of one batch | an address refused that nobody has |
| `claims_freed` | keeping a claim that another try of the batch was applied with | one address, two users |
| `overdue` | catching up with time after a command has freed credits | a stream is committed overdue |
"""

from collections.abc import Callable, Mapping
from typing import Any

import pytest
from msgspec import structs

from eventstore.memory.rounds import MemoryRound
from eventstore.memory.store import MemoryStore
from eventstore.records import Outcome
from worker import round as round_module
from worker.deciding import Decisions
from worker.lane import Lane
from worker.projecting import DocumentCache
from worker.round import Applied, Rounds
from worker.streams import StreamCache

Mutation = Callable[[pytest.MonkeyPatch], None]


def _nothing(*_arguments: Any) -> None:
    return None


def no_fence(patch: pytest.MonkeyPatch) -> None:
    """Zombies may commit."""
    patch.setattr(MemoryStore, "_fence", _nothing)
    patch.setattr(MemoryRound, "ended", property(lambda _round: False, _nothing), raising=False)


def no_doubt(patch: pytest.MonkeyPatch) -> None:
    """What was remembered is so."""
    patch.setattr(MemoryStore, "check_remembered", _nothing)


def no_outcomes(patch: pytest.MonkeyPatch) -> None:
    """Every record is new."""

    async def none(round_: MemoryRound, _ids: object) -> dict[str, Outcome]:
        await round_.step()
        return {}

    patch.setattr(MemoryRound, "outcomes", none)


def keep_streams(patch: pytest.MonkeyPatch) -> None:
    """What a rolled-back round has changed in memory stays."""
    drop = StreamCache.drop
    patch.setattr(StreamCache, "drop", _nothing)
    patch.setattr(
        StreamCache,
        "drop_shards",
        lambda cache, shards: drop(cache, [name for name, live in cache._streams.items() if live.shard in shards]),
    )


def keep_documents(patch: pytest.MonkeyPatch) -> None:
    """A round whose answer was lost is taken for rolled back."""
    patch.setattr(DocumentCache, "drop", _nothing)


def keep_shards(patch: pytest.MonkeyPatch) -> None:
    """Nobody else can have written what we once had."""
    patch.setattr(Rounds, "drop_shards", _nothing)


def stay_astray(patch: pytest.MonkeyPatch) -> None:
    """What was fetched and not applied is not read again."""
    patch.setattr(Lane, "_astray", property(lambda lane: not lane.positions, _nothing), raising=False)


def apply_again(patch: pytest.MonkeyPatch) -> None:
    """Offsets are not looked at."""
    patch.setattr(round_module, "_in_place", lambda _heads, incoming: list(incoming))


def unmoved(patch: pytest.MonkeyPatch) -> None:
    """A shard stands where this round has brought it, not where the store says."""
    apply = Rounds.apply

    async def applied(rounds: Rounds, *arguments: Any, **words: Any) -> Applied:
        found = await apply(rounds, *arguments, **words)
        return found if found.commands else structs.replace(found, positions={})

    patch.setattr(Rounds, "apply", applied)


def forget_attempts(patch: pytest.MonkeyPatch) -> None:
    """A curable refusal is decided again whoever comes."""
    patch.setattr(Outcome, "settles", lambda outcome, _attempt: not outcome.curable)


def claims_unchecked(patch: pytest.MonkeyPatch) -> None:
    """Two transactions take one claim."""
    patch.setattr(MemoryStore, "holder", _nothing)


def claims_in_one_batch(patch: pytest.MonkeyPatch) -> None:
    """The second claim of a batch is lost whatever becomes of the first."""
    patch.setattr(round_module, "until_claimed_twice", lambda incoming, claims: (incoming, [row for _, row in claims]))


def claims_freed(patch: pytest.MonkeyPatch) -> None:
    """A refusal frees its claim, whoever was applied with it since."""
    patch.setattr(Decisions, "claims_kept", property(lambda _decisions: set(), _nothing))


def overdue(patch: pytest.MonkeyPatch) -> None:
    """Time is looked at before a command only."""
    catch_up = Decisions._catch_up

    def before(decisions: Decisions, live: Any, at: int, metadata: Any) -> None:
        if live.last_at != at or live.version == decisions.versions[live.stream]:
            catch_up(decisions, live, at, metadata)

    patch.setattr(Decisions, "_catch_up", before)


MUTATIONS: Mapping[str, Mutation] = {
    mutation.__name__: mutation
    for mutation in (
        no_fence,
        no_doubt,
        no_outcomes,
        keep_streams,
        keep_documents,
        keep_shards,
        stay_astray,
        apply_again,
        unmoved,
        forget_attempts,
        claims_unchecked,
        claims_in_one_batch,
        claims_freed,
        overdue,
    )
}
