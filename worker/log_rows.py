"""The log as rows of PostgreSQL bring it, decoded for folding; nothing is built that folding does not use."""

import asyncpg
import msgspec

from domain.recorded import Metadata, Recorded
from eventstore import codec

_metadata = msgspec.json.Decoder(Metadata)


def recorded(row: asyncpg.Record) -> Recorded:
    """The event at its place. `UnknownType` for one of a newer release."""
    return Recorded(
        stream=row["stream"],
        version=row["version"],
        shard=row["shard"],
        seq=row["seq"],
        at=row["at"],
        metadata=_metadata.decode(row["metadata"]),
        event=codec.decode_event(row["type"], row["schema_version"], row["payload"]),
    )
