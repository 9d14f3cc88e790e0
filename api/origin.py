"""Where a request came from, as it was sealed with its command."""

from typing import TYPE_CHECKING

import msgspec
from msgspec import Struct

from api.sealing import Erased, Sealer
from domain.envelope import Actor

if TYPE_CHECKING:
    from api.parts import Services

PLACE = "origin"


class Origin(Struct, frozen=True, kw_only=True):
    """Address and user agent; neither for the system's own doing, nor once the user was erased."""

    address: str | None = None
    user_agent: str | None = None


_decode = msgspec.json.Decoder(Origin).decode


async def seal_origin(sealer: Sealer, subject: str, address: str, user_agent: str) -> str:
    """Seals it under the data key of `user:{id}`. `Erased` when the user was."""
    return await sealer.seal(subject, PLACE, msgspec.json.encode(Origin(address=address, user_agent=user_agent)))


async def open_origin(services: "Services", actor: Actor, stream: str = "") -> Origin:
    """Where the actor's request came from, if it can be told. Who registers seals it under the new user's key."""
    if actor.origin is None:
        return Origin()
    subject = f"user:{actor.id}" if actor.id else stream
    try:
        return _decode(await services.sealer.open(subject, PLACE, actor.origin))
    except Erased:
        return Origin()
