"""API keys of an account: who may speak for it, with which scopes, until when. The secret is never here."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal, TypeAlias

from msgspec import Struct, field

from domain.aggregate import Answer
from domain.errors import Conflict, Forbidden, Invalid, NotFound
from domain.instant import Instant
from domain.message import Command, Event
from domain.money import MicroCredits

if TYPE_CHECKING:
    from domain.account.account import Account

KeyMode: TypeAlias = Literal["live", "test"]
CreditPeriod: TypeAlias = Literal["total", "day", "month"]
"""Over what a credit limit counts: for ever, or by days or calendar months in UTC."""


class KeyLimits(Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """What a key may use, beside what its account may; `None` is no limit of its own."""

    requests_per_minute: int | None = None
    requests_per_day: int | None = None
    credit_limit: MicroCredits | None = None
    credit_period: CreditPeriod = "total"


NO_LIMITS = KeyLimits()


class CreateApiKey(Command, frozen=True, kw_only=True, tag="api_key.create"):
    """Makes a key. `digest` is what the secret is recognised by; `secret_sealed` is shown once and kept for a day."""

    category = "account"
    key_id: str
    name: str
    scopes: tuple[str, ...]
    mode: KeyMode
    digest: str
    hint: str
    created_by: str
    keys_max: int | None
    secret_sealed: str
    expires_at: Instant | None = None
    limits: KeyLimits = NO_LIMITS
    project_id: str | None = None

    def secret(self) -> str | None:
        """The sealed key, for the one answer that shows it."""
        return self.secret_sealed


class UpdateApiKey(Command, frozen=True, kw_only=True, tag="api_key.update"):
    """Changes name or scopes; what is left out stays."""

    category = "account"
    key_id: str
    name: str | None = None
    scopes: tuple[str, ...] | None = None


class RevokeApiKey(Command, frozen=True, kw_only=True, tag="api_key.revoke"):
    """Ends a key for good."""

    category = "account"
    key_id: str


class ApiKeyCreated(Event, frozen=True, kw_only=True, tag="api_key.created"):
    """A key works from now on."""

    key_id: str
    name: str
    scopes: tuple[str, ...]
    mode: KeyMode
    digest: str
    hint: str
    created_by: str
    created_at: Instant
    expires_at: Instant | None
    limits: KeyLimits = NO_LIMITS
    project_id: str | None = None
    """The one project that the key sees; `None`: all of its account."""


class ApiKeyUpdated(Event, frozen=True, kw_only=True, tag="api_key.updated"):
    """Name and scopes as they are now."""

    key_id: str
    name: str
    scopes: tuple[str, ...]


class ApiKeyRevoked(Event, frozen=True, kw_only=True, tag="api_key.revoked"):
    """The key no longer works."""

    key_id: str
    revoked_at: Instant


class ApiKey(Struct, kw_only=True):
    """A key that was not revoked, as far as decisions need to know it."""

    name: str
    scopes: tuple[str, ...]
    expires_at: Instant | None


class ApiKeys(Struct, kw_only=True):
    """Keys by id, and the ids of those that were revoked."""

    active: dict[str, ApiKey] = field(default_factory=dict)
    revoked: set[str] = field(default_factory=set)


COMMANDS = (CreateApiKey, UpdateApiKey, RevokeApiKey)
EVENTS = (ApiKeyCreated, ApiKeyUpdated, ApiKeyRevoked)
ApiKeyCommand: TypeAlias = CreateApiKey | UpdateApiKey | RevokeApiKey
ApiKeyEvent: TypeAlias = ApiKeyCreated | ApiKeyUpdated | ApiKeyRevoked


def decide(account: "Account", command: ApiKeyCommand, at: Instant) -> Sequence[ApiKeyEvent]:
    """See each command. `NotFound` for a key that is not the account's, `Forbidden` past the plan's number of keys."""
    keys = account.api_keys
    match command:
        case CreateApiKey():
            return _create(keys, command, at)
        case UpdateApiKey():
            return _update(keys, command)
        case RevokeApiKey():
            if command.key_id in keys.revoked:
                return []
            _require(keys, command.key_id)
            return [ApiKeyRevoked(key_id=command.key_id, revoked_at=at)]


def _create(keys: ApiKeys, command: CreateApiKey, at: Instant) -> Sequence[ApiKeyEvent]:
    if command.key_id in keys.active:
        return []
    if command.key_id in keys.revoked:
        raise Conflict("api_key_revoked", "The API key was revoked and cannot be made again.")
    if command.expires_at is not None and command.expires_at <= at:
        raise Invalid("invalid_expiry", "expires_at must lie in the future.", param="expires_at")
    working = sum(1 for key in keys.active.values() if key.expires_at is None or key.expires_at > at)
    if command.keys_max is not None and working >= command.keys_max:
        raise Forbidden(
            "api_key_limit",
            f"The plan allows {command.keys_max} API keys; revoke one first.",
            limit=command.keys_max,
        )
    return [
        ApiKeyCreated(
            key_id=command.key_id,
            name=command.name,
            scopes=command.scopes,
            mode=command.mode,
            digest=command.digest,
            hint=command.hint,
            created_by=command.created_by,
            created_at=at,
            expires_at=command.expires_at,
            limits=command.limits,
            project_id=command.project_id,
        )
    ]


def _update(keys: ApiKeys, command: UpdateApiKey) -> Sequence[ApiKeyEvent]:
    if command.key_id in keys.revoked:
        raise Conflict("api_key_revoked", "The API key was revoked and cannot be changed.")
    key = _require(keys, command.key_id)
    name = key.name if command.name is None else command.name
    scopes = key.scopes if command.scopes is None else command.scopes
    if (name, scopes) == (key.name, key.scopes):
        return []
    return [ApiKeyUpdated(key_id=command.key_id, name=name, scopes=scopes)]


def _require(keys: ApiKeys, key_id: str) -> ApiKey:
    key = keys.active.get(key_id)
    if key is None:
        raise NotFound("api_key_not_found", "There is no such API key.")
    return key


def evolve(keys: ApiKeys, event: ApiKeyEvent) -> None:
    """Writes a key's beginning, change or end."""
    match event:
        case ApiKeyCreated():
            keys.active[event.key_id] = ApiKey(name=event.name, scopes=event.scopes, expires_at=event.expires_at)
        case ApiKeyUpdated():
            key = keys.active[event.key_id]
            key.name, key.scopes = event.name, event.scopes
        case ApiKeyRevoked():
            del keys.active[event.key_id]
            keys.revoked.add(event.key_id)


def answer(account: "Account", command: ApiKeyCommand, _events: Sequence[Event]) -> Answer:
    """Which key it was about, and what it was changed to."""
    data: Answer = {"key_id": command.key_id}
    if isinstance(command, UpdateApiKey):
        key = account.api_keys.active[command.key_id]
        data |= {"name": key.name, "scopes": key.scopes}
    return data
