"""The log as rows of PostgreSQL bring it, decoded for folding; nothing is built that folding does not use."""

import asyncpg
import msgspec

from domain.recorded import Metadata, Recorded
from eventstore import codec

_metadata = msgspec.json.Decoder(Metadata)


def recorded(row: asyncpg.Record) -> Recorded:
    """The event of a row whose columns begin as those of `events` do, up to `metadata`.

    `UnknownType` for one of a newer release.
    """
    # By position, which is several times faster than nine look-ups by name.
    shard, stream, version, seq, at, tag, schema_version, payload, metadata, *_ = row.values()
    return Recorded(
        stream=stream,
        entity_id=stream.partition(":")[2],
        version=version,
        shard=shard,
        seq=seq,
        at=at,
        metadata=_metadata.decode(metadata),
        event=codec.decode_event(tag, schema_version, payload),
    )
