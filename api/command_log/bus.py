"""What the API needs of the command log. `kafka_bus` is Kafka, devnet has its own in memory."""

from collections.abc import Mapping
from typing import Protocol

from msgspec import Struct


class Ack(Struct, frozen=True, kw_only=True):
    """The log has the record, for good, at this place."""

    shard: int
    offset: int


class BusError(Exception):
    """The root of what a bus raises."""


class BusUnavailable(BusError):
    """The log cannot be reached, and the record was certainly not written."""


class BusOverloaded(BusUnavailable):
    """The workers are too far behind for new work: the record was not written."""


class BusUncertain(BusError):
    """No acknowledgement came: the record may or may not have been written."""


class CommandBus(Protocol):
    """Where commands go. `KafkaBus` here; devnet's applies them in the same process."""

    async def send(self, shard: int, key: bytes, value: bytes) -> Ack:
        """Writes the record to the shard's partition and waits for all replicas.

        `BusUnavailable` when it was not written, `BusUncertain` when nobody knows. Cancelling does not unsend.
        """
        ...

    async def ends(self) -> Mapping[int, int]:
        """By shard, the offset behind the last record that anyone wrote. `BusUnavailable` when it cannot be read."""
        ...
