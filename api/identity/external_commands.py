"""Sends what an external token leads to when it is first seen, in its user's name."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import msgspec
from msgspec import Struct

from api.command_log.bus import BusError
from api.command_log.commands import DEADLINE, Commands
from api.errors import ApiError, refusal
from api.ids import random_hex, uuid7
from api.sealing import Erased, Sealer
from domain.envelope import Actor, Envelope, Header
from domain.instant import Instant
from domain.message import Command

WAIT_S = 10.0


class Origin(Struct, frozen=True, kw_only=True):
    """From where a token came."""

    address: str
    user_agent: str


class ExternalCommands:
    """Each command is safe to send again: whoever does finds what is so already."""

    def __init__(self, commands: Commands, sealer: Sealer, clock: Callable[[], Instant]) -> None:
        self.shards = commands.shards
        self.sealer = sealer
        self.clock = clock
        self._commands = commands

    async def send(self, stream: str, command: Command, *, user_id: str, account_id: str, origin: Origin) -> None:
        """Returns when the command was applied.

        The refusal of the domain; 503 `auth_unavailable` when there is no outcome in time; `BusError`, `Erased`.
        """
        issued_at = self.clock()
        sealed = await self.sealer.seal(f"user:{user_id}", "origin", msgspec.json.encode(origin))
        header = Header(
            id=uuid7(),
            attempt=random_hex(),
            stream=stream,
            account=account_id,
            actor=Actor(kind="user", id=user_id, origin=sealed),
            issued_at=issued_at,
            deadline=issued_at + DEADLINE,
        )
        self._commands.poller.admit()
        ack = await self._commands.send(Envelope(header=header, body=command))
        outcome = await self._commands.outcome(ack.shard, header.id, header.attempt, WAIT_S)
        if outcome is not None and outcome.status == "rejected":
            refused = refusal(outcome.data)
            raise erased() if refused.code == "user_erased" else refused
        if outcome is None or outcome.status != "applied":
            raise unavailable()


@asynccontextmanager
async def told() -> AsyncIterator[None]:
    """Bounds what is told, and what must be waited for until it can be; its failures become answers."""
    try:
        async with asyncio.timeout(WAIT_S):
            yield
    except Erased:
        raise erased() from None
    except (BusError, TimeoutError) as error:
        raise unavailable() from error


def erased() -> ApiError:
    """401: the token is good at its provider, and its user is gone for good here."""
    return ApiError("user_erased", headers={"WWW-Authenticate": 'Bearer error="invalid_token"'})


def unavailable() -> ApiError:
    """503: the credentials may be fine, and what they lead to cannot be done now."""
    return ApiError("auth_unavailable", headers={"Retry-After": "1"})
