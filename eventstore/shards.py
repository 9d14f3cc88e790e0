"""Which shard a stream lives on. One shard is one Kafka partition and one row of `shard_head`."""

import zlib

SHARDS_DEFAULT = 32


def shard_of(stream: str, shards: int) -> int:
    """CRC-32 (ISO 3309) of the stream's name modulo the number of shards, which is fixed for the life of a log."""
    return zlib.crc32(stream.encode()) % shards
