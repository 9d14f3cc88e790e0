"""Bytes on the wire and in the log: JSON through msgspec, tags written out, old event shapes upcast before decoding."""

import hashlib
import hmac
from collections.abc import Callable
from functools import cache
from typing import Any, Union

import msgspec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.hmac import HMAC
from msgspec import Raw, Struct

from domain.aggregate import Aggregate
from domain.envelope import Envelope, Header
from domain.instant import Instant
from domain.message import Command, Event
from domain.recorded import Metadata, Recorded
from domain.registry import aggregates, command_types, event_types
from eventstore.errors import Undecodable, UnknownType
from eventstore.records import Refusal, StoredEvent

COMMAND_SIZE_BYTES_MAX = 256 * 1024
"""The largest encoded command; the API refuses a larger one with 413."""

Upcast = Callable[[dict[str, Any]], dict[str, Any]]
UPCASTS: dict[tuple[str, int], Upcast] = {}
"""(event tag, schema version) to the function that makes the next version's shape of it."""

encode_json: Callable[[Any], bytes] = msgspec.json.Encoder().encode
"""Any plain value or struct as JSON."""
_metadata_decoder = msgspec.json.Decoder(Metadata)


class _Wire(Struct, frozen=True, kw_only=True, gc=False):
    """An envelope whose body is not looked at yet."""

    header: Header
    body: Raw


class _Tag(Struct, frozen=True):
    """The tag of a body, whatever else is in it."""

    type: str


_wire_decoder = msgspec.json.Decoder(_Wire)
_tag_decoder = msgspec.json.Decoder(_Tag)


@cache
def _command_decoder() -> msgspec.json.Decoder[Command]:
    return msgspec.json.Decoder(Union[tuple(command_types().values())])


@cache
def _event_decoder() -> msgspec.json.Decoder[Event]:
    return msgspec.json.Decoder(Union[tuple(event_types().values())])


def encode_command(envelope: Envelope) -> bytes:
    """The record that goes to Kafka."""
    return encode_json(envelope)


def decode_command(record: bytes) -> Envelope:
    """The envelope. `Undecodable` for anything that is none, `UnknownType` for a body of a newer release."""
    try:
        wire = _wire_decoder.decode(record)
        return Envelope(header=wire.header, body=_command_decoder().decode(wire.body))
    except (msgspec.MsgspecError, RecursionError) as error:
        raise _why_undecodable(record) from error


def _why_undecodable(record: bytes) -> Undecodable | UnknownType:
    try:
        tag = _tag_decoder.decode(_wire_decoder.decode(record).body).type
    except (msgspec.MsgspecError, RecursionError):
        return Undecodable("not a command envelope")
    if tag not in command_types():
        return UnknownType(f"this release does not know the command {tag!r}; upgrade the workers first")
    return Undecodable(f"the body of {tag!r} does not have its shape")


def digest(record: bytes) -> bytes:
    """Recognises a record: the first 16 bytes of its SHA-256."""
    return hashlib.sha256(record).digest()[:16]


def tag_of(message: Command | Event) -> str:
    """The wire tag, as written out in the class."""
    return _tag_of(type(message))


@cache
def _tag_of(kind: type[Command | Event]) -> str:
    tag = kind.__struct_config__.tag
    assert isinstance(tag, str)
    return tag


def decode_event(tag: str, schema_version: int, payload: bytes) -> Event:
    """The event in today's shape. `UnknownType` for a tag or a version that this release does not know."""
    known = event_types().get(tag)
    if known is None or schema_version > known.schema_version:
        raise UnknownType(f"this release does not know version {schema_version} of the event {tag!r}")
    if schema_version == known.schema_version:
        return _event_decoder().decode(payload)
    shape = msgspec.json.decode(payload)
    for version in range(schema_version, known.schema_version):
        shape = UPCASTS[tag, version](shape)
    return msgspec.convert(shape, known)


def recorded(stored: StoredEvent) -> Recorded:
    """The event at its place, for projections."""
    return Recorded(
        stream=stored.stream,
        entity_id=stored.stream.partition(":")[2],
        version=stored.version,
        shard=stored.shard,
        seq=stored.seq,
        at=stored.at,
        metadata=_metadata_decoder.decode(stored.metadata),
        event=decode_event(stored.type, stored.schema_version, stored.payload),
    )


def encode_state(at: Instant, state: Struct) -> bytes:
    """A snapshot: the state, and when the event happened that led to it."""
    return encode_json((at, state))


def decode_state(aggregate: Aggregate[Any], snapshot: bytes) -> tuple[Instant, Any]:
    """The instant and the state of a snapshot of the aggregate's own `state_version`."""
    at_and_state: tuple[Instant, Any] = _state_decoder(aggregate.category).decode(snapshot)
    return at_and_state


@cache
def _state_decoder(category: str) -> msgspec.json.Decoder[Any]:
    return msgspec.json.Decoder(tuple[Instant, aggregates()[category].state])  # type: ignore[misc]  # built at run time


class MacChain:
    """Chains each event of a stream to the one before it, so that any change to the log is found.

    `keys` maps key ids to 32-byte keys kept outside Postgres; the first signs, all verify.
    A stored mac is the key's id, a colon, and HMAC-SHA256 (RFC 2104).
    """

    def __init__(self, keys: dict[str, bytes]) -> None:
        # Each with its key taken in already: a copy of that is half the work of a mac of an event's size.
        self._keyed = {key_id: HMAC(key, SHA256()) for key_id, key in keys.items()}
        self._current = next(iter(keys))

    def sign(self, previous: bytes, place: bytes, payload: bytes, metadata: bytes) -> bytes:
        """The mac of an event at its `place`, behind an event with the mac `previous` (empty for the first)."""
        return self._mac(self._current, previous, place, payload, metadata)

    def knows(self, mac: bytes) -> bool:
        """Tells whether it was made with a key of whose id there is one here."""
        return _key_id(mac) in self._keyed

    def verify(self, previous: bytes, event: StoredEvent) -> bool:
        """Tells whether the event is what was written, at the place where it was written."""
        place = mac_place(event.stream, event.version, event.seq, event.at, event.type, event.schema_version)
        return self._is_of(event.mac, previous, place, event.payload, event.metadata)

    def seal(self, place: bytes, payload: bytes) -> bytes:
        """The mac of something that stands alone, such as a refusal or the exported heads; `place` says what it is."""
        return self._mac(self._current, b"", place, payload, b"")

    def is_sealed(self, mac: bytes, place: bytes, payload: bytes) -> bool:
        """Tells whether `seal` has made this mac of it."""
        return self._is_of(mac, b"", place, payload, b"")

    def why_not(self, mac: bytes) -> str:
        """Says whether the event of a mac that was not verified was changed, or our keys are others."""
        if self.knows(mac):
            return "is not what was written there"
        return f"is signed with the key {_key_id(mac)[:32]!r}, which is not among FORMSTATE_LOG_MAC_KEYS"

    def _is_of(self, mac: bytes, previous: bytes, place: bytes, payload: bytes, metadata: bytes) -> bool:
        return self.knows(mac) and hmac.compare_digest(self._mac(_key_id(mac), previous, place, payload, metadata), mac)

    def _mac(self, key_id: str, previous: bytes, place: bytes, payload: bytes, metadata: bytes) -> bytes:
        mac = self._keyed[key_id].copy()
        mac.update(b"%b\n%b%d\n%b%b" % (previous, place, len(payload), payload, metadata))
        return b"%b:%b" % (key_id.encode(), mac.finalize())


def _key_id(mac: bytes) -> str:
    return mac.partition(b":")[0].decode("utf-8", "replace")


def refusal_place(refusal: Refusal) -> bytes:
    """Everything of a refusal but its actor, as its mac covers it."""
    named = (refusal.command_id, refusal.attempt, refusal.account, str(refusal.at), refusal.command, refusal.code)
    return ("refusal\n" + "\n".join(named) + "\n").encode()


def mac_place(stream: str, version: int, seq: int, at: Instant, tag: str, schema_version: int) -> bytes:
    """Everything of an event but its contents, as its mac covers it."""
    return f"{stream}\n{version}\n{seq}\n{at}\n{tag}\n{schema_version}\n".encode()
