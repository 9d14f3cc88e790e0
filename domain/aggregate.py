"""What a consistency boundary is made of: an initial state, `decide`, `evolve`, and the answer to a command."""

from collections.abc import Callable, Sequence
from typing import Any, Generic, TypeVar

from msgspec import Struct

from domain.instant import Instant
from domain.message import Command, Event

S = TypeVar("S", bound=Struct)

Answer = dict[str, Any]
"""The data of an outcome: plain JSON values, read back by the route that sent the command."""


def _nothing_due(_state: Any, _at: Instant) -> Sequence[Event]:
    return ()


def _never(_state: Any) -> Instant | None:
    return None


class Aggregate(Generic[S]):
    """One category of streams.

    `decide(state, command, at)` answers events or raises a `DomainError`; no events mean "already so".
    `evolve(state, event)` never fails and looks nothing up. The fold owns its state: `evolve` may change it in place
    and answers it, so an account with thousands of holds costs no copy per event.
    `due(state, at)` are events that time alone has caused by `at`; they are emitted before any command is decided, and
    asked for again until there are none.
    `next_due(state)` is when `due` will next have something to say: the sweeper wakes the stream then.
    `sweep()` is the command that wakes an idle stream; it decides nothing itself.
    `answer(state, command, events)` is the outcome's data, read from the state after the events.
    """

    def __init__(
        self,
        *,
        category: str,
        state: type[S],
        commands: Sequence[type[Command]],
        events: Sequence[type[Event]],
        decide: Callable[[S, Any, Instant], Sequence[Event]],
        evolve: Callable[[S, Any], S],
        answer: Callable[[S, Any, Sequence[Event]], Answer],
        due: Callable[[S, Instant], Sequence[Event]] = _nothing_due,
        next_due: Callable[[S], Instant | None] = _never,
        sweep: Callable[[], Command] | None = None,
        state_version: int = 1,
    ) -> None:
        self.category = category
        self.state = state
        self.commands = tuple(commands)
        self.events = tuple(events)
        self.decide = decide
        self.evolve = evolve
        self.answer = answer
        self.due = due
        self.next_due = next_due
        self.sweep = sweep
        self.state_version = state_version
        """Raised when the shape of the state changes: snapshots of another version are refolded from events."""

    def initial(self) -> S:
        """The state of a stream that was never written."""
        return self.state()

    def fold(self, events: Sequence[Event], state: S | None = None) -> S:
        """The state after `events`, starting from `state` or from nothing."""
        current = self.initial() if state is None else state
        for event in events:
            current = self.evolve(current, event)
        return current
