"""Answers kept, sealed, for a repeat of their `Idempotency-Key`, beside the log and for a day."""

import asyncio
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import Struct

from api.sealing import SealingError
from domain.instant import DAY
from domain.money import MicroCredits
from eventstore.records import KeptAnswer
from telemetry import logs

if TYPE_CHECKING:
    from api.call import Call

KEPT_BYTES_MAX = 1024 * 1024
"""A larger answer is not kept, and its repeat is told so."""
KEEP_S = 5.0


class Kept(Struct, frozen=True, kw_only=True):
    """What a repeat is answered with. Of a stream, `tail` is the `data: [DONE]` that follows the cost."""

    media_type: str
    body: bytes
    cost: MicroCredits
    remaining: MicroCredits
    tail: bytes = b""
    too_large: bool = False
    """The body was too large to be kept and is not here."""


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Kept)


class Keeping:
    """Where the answer of one attempt goes: sealed for the caller's user, bound to the command and the attempt."""

    def __init__(self, call: "Call[Any, Any]", *, shard: int, command_id: str, attempt: str) -> None:
        self._services = call.services
        self._subject = f"user:{call.caller.user_id}"
        self._shard = shard
        self._command_id = command_id
        self._attempt = attempt

    async def keep(self, kept: Kept) -> bool:
        """Writes it down; answers whether that went well. If not, repeats have no answer, but this goes on."""
        if len(kept.body) > KEPT_BYTES_MAX:
            kept = msgspec.structs.replace(kept, body=b"", tail=b"", too_large=True)
        services = self._services
        try:
            async with asyncio.timeout(KEEP_S):
                sealed = await services.sealer.seal_blob(self._subject, self._place(), _encoder.encode(kept))
                await services.store.keep_answer(
                    KeptAnswer(
                        shard=self._shard,
                        command_id=self._command_id,
                        attempt=self._attempt,
                        sealed=sealed,
                        expires_at=services.clock() + DAY,
                    )
                )
        except Exception as error:  # noqa: BLE001 (an answer that cannot be kept is not kept; its charge goes on)
            logs.get().warning("answer_not_kept", error=type(error).__name__)
            return False
        return True

    async def read(self) -> Kept | None:
        """The answer, unless it was never kept, its time is over, or its user was erased."""
        services = self._services
        found = await services.store.kept_answer(self._shard, self._command_id)
        if found is None or found.attempt != self._attempt or found.expires_at <= services.clock():
            return None
        try:
            return _decoder.decode(await services.sealer.open_blob(self._subject, self._place(), found.sealed))
        except SealingError:
            return None

    def _place(self) -> str:
        return f"answer {self._command_id} {self._attempt}"
