"""Given events, when a command, then events or a refusal; applied exactly as the worker applies them."""

from collections.abc import Sequence
from typing import Any, Generic, TypeVar

import pytest
from msgspec import Struct, json

from domain.aggregate import Aggregate, Answer
from domain.errors import DomainError
from domain.instant import SECOND, Instant
from domain.message import Command, Event

S = TypeVar("S", bound=Struct)
T0: Instant = 1_800_000_000 * SECOND


class Scenario(Generic[S]):
    """A stream in the making. `at` is the clock; `events` is everything that has happened."""

    def __init__(self, aggregate: Aggregate[S], *given: Event) -> None:
        self.aggregate = aggregate
        self.events: list[Event] = list(given)
        self.state = aggregate.fold(given)
        self.at = T0
        self.answer: Answer = {}

    def when(self, command: Command, *, at: Instant | None = None) -> list[Event]:
        """What the command leads to, what time alone has caused included."""
        self.at = self.at if at is None else at
        before = len(self.events)
        self.pass_time(self.at)
        decided = self.aggregate.decide(self.state, command, self.at)
        self._happen(decided)
        self.pass_time(self.at)
        self.answer = self.aggregate.answer(self.state, command, decided)
        return self.events[before:]

    def refused(self, command: Command, *, at: Instant | None = None) -> DomainError:
        """The refusal that the command meets; nothing but time has changed the state."""
        with pytest.raises(DomainError) as caught:
            self.when(command, at=at)
        return caught.value

    def pass_time(self, at: Instant) -> list[Event]:
        """What time alone has caused by `at`. Asked ten thousand times it would never end."""
        self.at = at
        before = len(self.events)
        for _ in range(10_000):
            due = self.aggregate.due(self.state, at)
            if not due:
                return self.events[before:]
            self._happen(due)
        raise AssertionError("something is due for ever")

    def _happen(self, events: Sequence[Event]) -> None:
        for event in events:
            self.state = self.aggregate.evolve(self.state, event)
            self.events.append(event)

    def replayed(self) -> S:
        """The state folded anew from the bytes of all events."""
        decoded = [json.decode(json.encode(event), type=type(event)) for event in self.events]
        return self.aggregate.fold(decoded)

    def snapshot(self) -> Any:
        """The state through its bytes, as a snapshot restores it."""
        return json.decode(json.encode(self.state), type=self.aggregate.state)


def of_type(events: Sequence[Event], kind: type[Event]) -> list[Any]:
    """The events of one type."""
    return [event for event in events if isinstance(event, kind)]
