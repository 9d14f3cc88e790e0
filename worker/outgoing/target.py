"""A place outside: what it is told of which events, and how one delivery gets there."""

from collections.abc import Sequence
from typing import Protocol

from msgspec import Struct

from domain.instant import Instant
from domain.recorded import Recorded
from eventstore.outbox import Delivery


class Attempt(Struct, frozen=True, kw_only=True):
    """What came of one attempt."""

    taken: bool
    problem: str = ""
    """Why not, without anything that the other side wrote."""
    arrived: bool = True
    """False where it is sure that the other side has seen nothing of it."""
    again: bool = True
    """False where another attempt cannot end better."""


class Target(Protocol):
    """One place outside."""

    @property
    def name(self) -> str:
        """Of its reader and of its deliveries; stored, so never renamed."""
        ...

    @property
    def event_tags(self) -> Sequence[str]:
        """Which events it is told of; others are not even read."""
        ...

    @property
    def read_every_s(self) -> float:
        """How often the log is looked at."""
        ...

    def deliveries(self, shard: int, events: Sequence[Recorded], at: Instant) -> list[Delivery]:
        """What it is to be told of events of one shard, in their order. Pure: the same events make the same."""
        ...

    def deadline(self, delivery: Delivery) -> Instant | None:
        """When it is given up, if it is not taken before."""
        ...

    async def send(self, delivery: Delivery) -> Attempt:
        """One attempt, within `ATTEMPT_S`. Raises nothing but `CancelledError`."""
        ...


ATTEMPT_S = 10.0
"""What one attempt may take in all."""
