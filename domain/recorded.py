"""An event together with where and when it stands in the log: what projections fold."""

from msgspec import Struct

from domain.envelope import Actor
from domain.instant import Instant
from domain.message import Event


class Metadata(Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """Who caused an event, through which command; stored beside it and covered by its `mac`."""

    command_id: str
    account: str
    actor: Actor
    trace: str | None = None
    command: str | None = None
    """The command's tag; events of the first releases do not say it."""


class Recorded(Struct, frozen=True, kw_only=True, gc=False):
    """One event at its place: `version` counts in its stream from 1, `seq` in its shard from 1, both without gaps."""

    stream: str
    entity_id: str
    """The part of the stream's name behind its category: nearly every projection asks for it."""
    version: int
    shard: int
    seq: int
    at: Instant
    metadata: Metadata
    event: Event
