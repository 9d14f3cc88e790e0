"""Deliveries to the outside, made of the log by readers that keep a position in every shard (decision 26).

log ── reader ──▶ waiting ── taken ──▶ gone (the log can make it again)
                     │  ▲
              a day  ▼  │ retry
                    dead ── drop ──▶ gone
"""

from collections.abc import Sequence
from typing import Literal, Protocol, TypeAlias

from msgspec import Struct

from domain.instant import Instant
from eventstore.records import StoredEvent

DeliveryState: TypeAlias = Literal["waiting", "dead"]


class Delivery(Struct, frozen=True, kw_only=True):
    """One message to one target. What is sent was fixed when it was made, so that every attempt is the same.

    (`seq`, `part`) order the deliveries of an account: the next waits for the one before.
    """

    target: str
    shard: int
    account: str
    seq: int
    """Of the last event that it tells of."""
    part: int = 0
    id: str
    """What the receiver knows repeats by."""
    type: str
    body: bytes
    created_at: Instant
    due_at: Instant
    state: DeliveryState = "waiting"
    attempts: int = 0
    """Claims so far; the one under way counts."""
    first_sent_at: Instant | None = None
    """The first attempt that may have arrived. Written before the attempt: a process may die right behind it."""
    claimed_by: str = ""
    claimed_until: Instant = 0
    problem: str = ""
    """Why the last attempt failed; nothing that the receiver wrote is in it."""

    @property
    def place(self) -> tuple[str, int, str, int, int]:
        """What names its row."""
        return self.target, self.shard, self.account, self.seq, self.part


class Unread(Struct, frozen=True, kw_only=True):
    """How far a reader is behind on one shard."""

    shard: int
    position: int
    """The `seq` up to which it has read."""
    end: int
    """The `seq` up to which there is something to be read."""
    waiting: int
    """Deliveries that it has made and nobody has taken; counted up to `WAITING_COUNTED`."""


class Backlog(Struct, frozen=True, kw_only=True):
    """What a target has not taken."""

    target: str
    waiting: int
    dead: int
    oldest_at: Instant | None
    """When the oldest waiting one was made."""


WAITING_COUNTED = 2_000


class OutboxStore(Protocol):
    """Positions and deliveries. Instants are the callers' clocks: claims are longer than these differ."""

    async def begin_reading(self, reader: str) -> None:
        """Gives the reader a position at the present end of every shard where it has none yet."""
        ...

    async def unread(self, reader: str, shards: Sequence[int]) -> list[Unread]:
        """Those of the shards that have something the reader has not read."""
        ...

    async def events_of(self, shard: int, after: int, until: int, types: Sequence[str]) -> list[StoredEvent]:
        """Events of a shard with `after` < seq <= `until` that are of one of the types, in commit order."""
        ...

    async def enqueue(self, reader: str, shard: int, after: int, until: int, deliveries: Sequence[Delivery]) -> bool:
        """Moves the reader's position from `after` to `until` and adds the deliveries, in one transaction.

        False, and nothing is done, where the position is not `after`: somebody else has read on. So no event is read
        twice, by whichever worker, however late it comes.
        """
        ...

    async def enqueue_again(self, deliveries: Sequence[Delivery]) -> int:
        """Adds deliveries that the log was read for once more, and revives dead ones; answers how many."""
        ...

    async def claim_deliveries(
        self, claimant: str, target: str, shards: Sequence[int], at: Instant, until: Instant, limit: int
    ) -> list[Delivery]:
        """Takes up to `limit` due deliveries, the first of each account, for nobody else to send before `until`.

        An attempt is counted, and `first_sent_at` set where it was not, before anything can be sent.
        """
        ...

    async def finish_delivery(self, delivery: Delivery) -> None:
        """Removes a delivery that was taken, unless its claim has passed to somebody else."""
        ...

    async def postpone_delivery(self, delivery: Delivery) -> None:
        """Writes what became of a failed attempt, and frees the claim, unless that has passed to somebody else.

        Those of its account that wait behind it are not due before it either.
        """
        ...

    async def release_deliveries(self, claimant: str) -> None:
        """Frees all claims of somebody who ends."""
        ...

    async def backlog(self) -> list[Backlog]:
        """By target, for those that have anything."""
        ...

    async def deliveries(self, state: DeliveryState, limit: int) -> list[Delivery]:
        """The oldest first, with empty bodies."""
        ...

    async def revive_deliveries(self, ids: Sequence[str] | None, at: Instant) -> int:
        """Makes deliveries with these ids, or all dead ones, due at `at`, as if made then. Answers how many.

        What was dead is sent as if it never had been.
        """
        ...

    async def drop_deliveries(self, ids: Sequence[str] | None) -> int:
        """Removes deliveries with these ids, or all dead ones; answers how many."""
        ...
