"""Puts a minute of an API key's use on record, once the minute has passed.

Who counts is the limiter: its cells, one for each key and minute, are shared by all API processes. Any of them reports
a closed cell, and all may: the command's id is derived from key, minute and totals, so equal reports are one command,
and of different ones the largest totals stand. A report that is not acknowledged is simply made again.
"""

from typing import TYPE_CHECKING

import msgspec
from msgspec import Struct

from api.command_log.bus import BusError
from api.errors import ApiError
from api.ids import derived, random_hex
from api.sealing import Erased
from domain.account.api_key_use import UseApiKey
from domain.envelope import Actor, Envelope, Header
from domain.instant import Instant
from eventstore.errors import StoreError

if TYPE_CHECKING:
    from api.parts import Services


class KeyUse(Struct, frozen=True, kw_only=True):
    """One key's use in the minute that begins at `minute`; `count` was let through, `refused` was not.

    `address` and `user_agent` are those of the last request that this process saw, empty if it saw none.
    """

    account_id: str
    user_id: str
    """Who made the key: address and user agent are sealed under this user's data key."""
    key_id: str
    minute: Instant
    count: int
    refused: int
    last_at: Instant
    address: str = ""
    user_agent: str = ""


async def record_key_use(services: "Services", use: KeyUse) -> bool:
    """Sends the report; True once the log has it. False: try again later, nothing is lost or counted twice by that."""
    command = UseApiKey(key_id=use.key_id, minute=use.minute, count=use.count, refused=use.refused, last_at=use.last_at)
    try:
        header = Header(
            id=derived("api_key.use", use.key_id, str(use.minute), str(use.count), str(use.refused)),
            attempt=random_hex(),
            stream=f"account:{use.account_id}",
            account=use.account_id,
            actor=Actor(kind="key", id=use.user_id, key_id=use.key_id, origin=await _origin(services, use)),
            issued_at=services.clock(),
        )
        await services.commands.send(Envelope(header=header, body=command))
    except (ApiError, BusError, StoreError, OSError):
        return False
    return True


async def _origin(services: "Services", use: KeyUse) -> str | None:
    """As of every command; nothing where nobody is known, or no more to be known."""
    if not use.address:
        return None
    origin = msgspec.json.encode({"address": use.address, "user_agent": use.user_agent})
    try:
        return await services.sealer.seal(f"user:{use.user_id}", "origin", origin)
    except Erased:
        return None
