"""What an API key was used for beside paid calls: how often in each minute, and how often it was refused.

Uses cost no write a request. The API processes count them in shared cells, and once a minute has passed any of them
reports its totals. Two that report one minute say the same and are one command, or one of them has seen more: totals
never add up, the larger ones replace the smaller.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from msgspec import Struct, field

from domain.aggregate import Answer
from domain.errors import Invalid, NotFound
from domain.instant import HOUR, MINUTE, Instant
from domain.message import Command, Event

if TYPE_CHECKING:
    from domain.account.account import Account

COUNT_MAX = 10**12
AHEAD_MAX: Instant = HOUR
"""By how much the clock of whoever counted may be ahead."""


class UseApiKey(Command, frozen=True, kw_only=True, tag="api_key.use"):
    """Reports a minute of a key; its command id is derived from the key, the minute and the totals."""

    category = "account"
    key_id: str
    minute: Instant
    """The first instant of the minute."""
    count: int
    refused: int
    last_at: Instant


class ApiKeyUsed(Event, frozen=True, kw_only=True, tag="api_key.used"):
    """The key's requests of one minute: all that were admitted, and those refused for a limit. Replaces lower totals.

    From where the last one came is in the event's metadata, as of every event.
    """

    key_id: str
    minute: Instant
    count: int
    refused: int
    last_at: Instant


class Minute(Struct, kw_only=True, gc=False):
    """The last minute that was reported of a key, and its totals."""

    minute: Instant
    count: int
    refused: int


class ApiKeyUse(Struct, kw_only=True):
    """By key."""

    last: dict[str, Minute] = field(default_factory=dict)


COMMANDS = (UseApiKey,)
EVENTS = (ApiKeyUsed,)


def decide(account: "Account", command: UseApiKey, at: Instant) -> Sequence[ApiKeyUsed]:
    """Nothing for totals that are known. `NotFound` for a key that is not the account's."""
    keys, known = account.api_keys, account.api_key_use.last.get(command.key_id)
    if command.key_id not in keys.active and command.key_id not in keys.revoked:
        raise NotFound("api_key_not_found", "There is no such API key.")
    begun = command.minute % MINUTE == 0 and 0 <= command.minute <= at + AHEAD_MAX
    if not begun or not command.minute <= command.last_at < command.minute + MINUTE:
        raise Invalid("invalid_minute", "A minute is told by its first instant, and has come.")
    if not (0 <= command.count <= COUNT_MAX and 0 <= command.refused <= COUNT_MAX):
        raise Invalid("invalid_count", "A minute's counts are out of range.")
    if known is not None and known.minute == command.minute:
        count, refused = max(known.count, command.count), max(known.refused, command.refused)
        if (count, refused) == (known.count, known.refused):
            return []
    else:
        count, refused = command.count, command.refused
    return [
        ApiKeyUsed(
            key_id=command.key_id,
            minute=command.minute,
            count=count,
            refused=refused,
            last_at=command.last_at,
        )
    ]


def evolve(use: ApiKeyUse, event: ApiKeyUsed) -> None:
    """Remembers the latest minute of each key."""
    known = use.last.get(event.key_id)
    if known is None or event.minute >= known.minute:
        use.last[event.key_id] = Minute(minute=event.minute, count=event.count, refused=event.refused)


def answer(_account: "Account", command: UseApiKey, _events: Sequence[Event]) -> Answer:
    """Which key it was about."""
    return {"key_id": command.key_id}
