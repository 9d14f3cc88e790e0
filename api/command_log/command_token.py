"""The public id of a command: signed, so that `GET /commands/{id}` needs no table to know where to look.

`cmd_` and base64url of version, shard, offset, command id, attempt, owner, and 16 bytes of HMAC-SHA256 over these.
"""

import hmac
import struct
import uuid

from msgspec import Struct

from api import base64url
from api.lookup import LookupHash

PREFIX = "cmd_"
_PURPOSE = "command token"
_VERSION = 1
_HEAD = struct.Struct(">BHq16s16s")
_MAC_BYTES = 16
_LENGTH_MAX = 400


class CommandToken(Struct, frozen=True, kw_only=True):
    """Which command, of whom, and where in the log."""

    shard: int
    offset: int | None
    """Its place in the log, if that was acknowledged."""
    command_id: str
    attempt: str
    owner: str
    """The account that may ask; empty for commands of public routes, where the token itself is the right to."""

    def sign(self, lookup: LookupHash) -> str:
        """The public id."""
        head = _HEAD.pack(
            _VERSION,
            self.shard,
            -1 if self.offset is None else self.offset,
            uuid.UUID(self.command_id).bytes,
            uuid.UUID(hex=self.attempt).bytes,
        )
        payload = head + self.owner.encode()
        mac = _mac(lookup, payload)
        return PREFIX + base64url.encoded(payload + mac)


def verify(lookup: LookupHash, text: str) -> CommandToken | None:
    """The token of a public id that we signed; `None` for any other text."""
    if not text.startswith(PREFIX) or len(text) > _LENGTH_MAX:
        return None
    try:
        raw = base64url.decoded(text.removeprefix(PREFIX))
    except ValueError:
        return None
    payload, mac = raw[:-_MAC_BYTES], raw[-_MAC_BYTES:]
    if len(payload) < _HEAD.size or not hmac.compare_digest(_mac(lookup, payload), mac):
        return None
    version, shard, offset, command_id, attempt = _HEAD.unpack(payload[: _HEAD.size])
    if version != _VERSION:
        return None
    return CommandToken(
        shard=shard,
        offset=None if offset < 0 else offset,
        command_id=str(uuid.UUID(bytes=command_id)),
        attempt=attempt.hex(),
        owner=payload[_HEAD.size :].decode(),
    )


def _mac(lookup: LookupHash, payload: bytes) -> bytes:
    return bytes.fromhex(lookup.digest(_PURPOSE, payload))[:_MAC_BYTES]
