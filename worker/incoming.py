"""Records as a round takes them up: with the command that is in them, or why there is none."""

from msgspec import Struct

from domain.envelope import Envelope
from worker.source import Record


class Incoming(Struct, frozen=True, kw_only=True, gc=False):
    """A record and the envelope in it, or why there is none."""

    record: Record
    envelope: Envelope | None
    problem: str | None = None
