"""What the API itself refused, put on record: counted by principal, code and minute, in a stream for each account.

What the worker refuses is on record by command (`refusals`); what nobody is known for is in the metrics alone.
"""

from collections.abc import Sequence
from typing import Any

from msgspec import Struct

from domain.aggregate import Aggregate, Answer
from domain.envelope import Actor
from domain.errors import Invalid
from domain.instant import Instant
from domain.message import Command, Event

ENTRIES_MAX = 200


class RefusalCount(Struct, frozen=True, kw_only=True):
    """So many requests of one principal that were refused with one code within a minute."""

    actor: Actor
    """Whose they were; `origin` is that of the last one."""
    code: str
    route: str
    """Method and path template of the last one."""
    count: int


class RecordRefusals(Command, frozen=True, kw_only=True, tag="audit.record_refusals"):
    """Puts a minute's refusals of one API process on the account's record."""

    category = "audit"
    minute: Instant
    refusals: tuple[RefusalCount, ...]


class RequestsRefused(Event, frozen=True, kw_only=True, tag="audit.requests_refused"):
    """Requests that were refused at the door, in the minute that began at `minute`."""

    minute: Instant
    actor: Actor
    code: str
    route: str
    count: int


class Audit(Struct, kw_only=True):
    """Nothing: no decision depends on what was refused."""


def decide(_audit: Audit, command: RecordRefusals, _at: Instant) -> Sequence[RequestsRefused]:
    """One event for each. `Invalid` past the bound, which the API keeps."""
    if len(command.refusals) > ENTRIES_MAX:
        raise Invalid("too_many_refusals", "There are too many refusals in one record.")
    return [
        RequestsRefused(minute=command.minute, actor=each.actor, code=each.code, route=each.route, count=each.count)
        for each in command.refusals
    ]


def evolve(audit: Audit, _event: RequestsRefused) -> Audit:
    """Keeps nothing."""
    return audit


def answer(_audit: Audit, _command: Any, _events: Sequence[Event]) -> Answer:
    """Nothing."""
    return {}


AGGREGATE = Aggregate(
    category="audit",
    state=Audit,
    commands=[RecordRefusals],
    events=[RequestsRefused],
    decide=decide,
    evolve=evolve,
    answer=answer,
)
