"""What a store can do. `memory/` and `postgres/` do it; one contract suite runs on both."""

from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Protocol

from domain.instant import Instant
from eventstore.attempts import AttemptStore
from eventstore.outbox import OutboxStore
from eventstore.rates import RateStore
from eventstore.records import (
    Batch,
    ClaimRow,
    DataKey,
    DeadLetter,
    KeptAnswer,
    Lease,
    Outcome,
    Refusal,
    ShardHead,
    StoredEvent,
    StoredStream,
    StreamHead,
)


class Round(Protocol):
    """One transaction of one worker over the shards it holds; opened by `Store.round`, committed when left."""

    @property
    def heads(self) -> Mapping[int, ShardHead]:
        """The shard heads, locked and fenced when the round began."""
        ...

    async def outcomes(self, ids: Iterable[tuple[int, str]]) -> dict[str, Outcome]:
        """Those that exist, by command id, for (shard, command id) pairs."""
        ...

    async def streams(self, streams: Iterable[tuple[int, str]]) -> dict[str, StoredStream]:
        """Head, snapshot and the events after it, for (shard, stream) pairs; a stream never written is left out."""
        ...

    async def take_claims(self, claims: Sequence[ClaimRow]) -> set[tuple[str, str]]:
        """Takes each claim that is free, in the order given (sorted), and answers (kind, value) of those of others.

        A claim that its own stream holds already is not lost, and stays with the command that took it first.
        """
        ...

    async def write(self, batch: Batch) -> None:
        """Stages the batch. `VersionConflict` and `DataError`, here or at the round's end, leave nothing behind."""
        ...


class ShardStore(Protocol):
    """Rounds, and who may hold them."""

    async def shards(self) -> int:
        """P, fixed by the first `migrate`. `Unmigrated` before it."""
        ...

    def round(
        self, worker: str, leases: Sequence[Lease], remembered: Mapping[int, ShardHead] | None = None
    ) -> AbstractAsyncContextManager[Round]:
        """Locks the shard heads in order and checks their epochs: `Fenced` names those that are not ours any more.

        Leaving normally commits and renews the leases; leaving by an exception rolls all of it back.

        With the heads `remembered` as this worker's last round left them, nothing is locked and no outcome looked up
        beforehand: all happens in one exchange at the end. It is a `VersionConflict`, and nothing is written, where a
        shard or a stream is not as remembered, or one of the batch's commands has an outcome already: apply the
        records again without memory, which finds out what it is. No claims can be taken.
        """
        ...

    async def announce(self, worker: str, lease_s: float) -> int:
        """Says that this worker lives, and answers how many do."""
        ...

    async def retire(self, worker: str) -> None:
        """Gives back every shard of the worker, and its announcement."""
        ...

    async def claim(self, worker: str, count: int, lease_s: float, shunned: Sequence[int] = ()) -> list[ShardHead]:
        """Takes up to `count` free or expired shards but for those `shunned`, raising their epochs.

        Where a frozen worker's transaction holds an expired row, its backend is ended first.
        """
        ...

    async def seize(self, worker: str, shard: int, lease_s: float) -> ShardHead:
        """Takes one shard from whoever has it, who is fenced by that: an operator's right, for repairs.

        `Unavailable` while a round of the owner's holds it.
        """
        ...

    async def renew(self, worker: str, leases: Sequence[Lease], lease_s: float) -> None:
        """Prolongs leases of idle shards. `Fenced` names those that are lost."""
        ...

    async def give_back(self, worker: str, leases: Sequence[Lease]) -> None:
        """Frees shards for others at once; those lost already are passed over."""
        ...

    async def stop_shard(self, worker: str, lease: Lease, reason: str | None) -> None:
        """Says why a shard may not be applied, for every process to see; `None` clears it. `Fenced` if it is lost."""
        ...

    async def adopt(self, shard: int, next_offset: int, adopt_until: int) -> None:
        """An operator's word that the log is right from `next_offset` on: frees the shard from its stop and its owner.

        Its last digest is forgotten, its epoch raised, and deadlines do not count before `adopt_until`.
        """
        ...

    async def shard_heads(self) -> list[ShardHead]:
        """All shards, by number: for readiness, lag and the operator."""
        ...

    async def due(self, shards: Sequence[int], at: Instant, limit: int) -> list[tuple[str, Instant]]:
        """Streams that change by themselves by `at`, the most overdue first."""
        ...


class LogStore(Protocol):
    """The log, for those who read it."""

    async def stream(self, shard: int, stream: str) -> StoredStream | None:
        """Head and all events of a stream, from the first."""
        ...

    async def head(self, shard: int, stream: str) -> StreamHead | None:
        """The head of a stream alone; `None` for one that was never written."""
        ...

    async def stream_events(self, shard: int, stream: str, behind: int, limit: int) -> list[StoredEvent]:
        """Up to `limit` events of a stream in its order, behind version `behind`: a long one is read page by page."""
        ...

    async def read_outcomes(self, ids: Iterable[tuple[int, str]]) -> dict[str, Outcome]:
        """Those that exist, by command id, for (shard, command id) pairs."""
        ...

    async def refusals(self, account: str, *, limit: int, after: tuple[Instant, str] | None = None) -> list[Refusal]:
        """What was refused to an acting account, by (at, command id), the newest first, behind `after`."""
        ...

    async def purge(self, at: Instant) -> int:
        """Forgets outcomes' secrets, kept answers, rate cells and attempts that are past their time; says how many."""
        ...


class SecretStore(Protocol):
    """Keys and answers that live outside the log, so that they can be erased."""

    async def lookup_key(self, proposed: DataKey) -> DataKey:
        """The one key of looked-up HMACs: the stored one, or `proposed` if there was none."""
        ...

    async def data_key(self, subject: str) -> DataKey | None:
        """The wrapped key of a user or account."""
        ...

    async def data_keys(self, subjects: Iterable[str]) -> dict[str, DataKey]:
        """Those of several subjects that have one, by subject, in one exchange with the store."""
        ...

    async def add_data_key(self, proposed: DataKey) -> DataKey:
        """Stores the key unless the subject has one; answers the one that is stored. `KeyErased` after an erasure."""
        ...

    async def erase_again(self) -> int:
        """Erases what the log says was erased and is there all the same, as after a restore; answers how many keys."""
        ...

    async def rewrap_data_key(self, read: DataKey, key: DataKey) -> None:
        """Stores the same data key under another master key, where what was `read` is still what is stored.

        An erased key does not come back by it, nor is one that was made since replaced.
        """
        ...

    async def rewrap_lookup_key(self, read: DataKey, key: DataKey) -> None:
        """Stores the same lookup key under another master key, where what was `read` is still what is stored."""
        ...

    async def keep_answer(self, answer: KeptAnswer) -> None:
        """Keeps an answer for repeats; the same again changes nothing."""
        ...

    async def kept_answer(self, shard: int, command_id: str) -> KeptAnswer | None:
        """The kept answer, if it is not purged."""
        ...


class DeadLetterStore(Protocol):
    """Records that could not be applied."""

    async def dead_letters(self, *, state: str = "open", limit: int = 100) -> list[DeadLetter]:
        """The oldest first, without their records (empty), which may be large."""
        ...

    async def dead_letter(self, shard: int, epoch: int, offset: int) -> DeadLetter | None:
        """One of them, with its record, whatever became of it."""
        ...

    async def set_aside(self, shard: int, stream: str, limit: int) -> list[DeadLetter]:
        """Up to `limit` open ones of a stream in quarantine, in the log's order."""
        ...

    async def count_set_aside(self, shard: int, stream: str) -> int:
        """How many open ones a stream in quarantine has."""
        ...

    async def quarantined(self) -> list[str]:
        """Streams that cannot be folded."""
        ...


class Store(ShardStore, LogStore, SecretStore, DeadLetterStore, RateStore, AttemptStore, OutboxStore, Protocol):
    """All of it."""

    async def close(self) -> None:
        """Frees connections."""
        ...
