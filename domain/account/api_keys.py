"""API keys of an account: who may speak for it, with which scopes and limits, until when. The secret is never here.

A key has one secret, and for the overlap after a rotation a second, older one. What is recorded of each is its digest.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal, TypeAlias

from msgspec import UNSET, Struct, UnsetType, field, structs

from domain.account.api_key_limits import (
    NO_LIMITS,
    CreditLimit,
    KeyLimits,
    RateLimit,
    changed_limits,
    require_limits,
)
from domain.aggregate import Answer
from domain.errors import Conflict, Forbidden, Invalid, NotFound
from domain.instant import DAY, SECOND, Instant
from domain.message import Command, Event

if TYPE_CHECKING:
    from domain.account.account import Account

KeyMode: TypeAlias = Literal["live", "test"]
OVERLAP_MAX: Instant = 30 * DAY
"""How long the old secret may work beside the new one."""


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
    """Changes what is given: `None` as a limit or an end takes it away, what is left out stays."""

    category = "account"
    key_id: str
    name: str | None = None
    scopes: tuple[str, ...] | None = None
    rate_limit: RateLimit | UnsetType | None = UNSET
    credit_limit: CreditLimit | UnsetType | None = UNSET
    expires_at: Instant | UnsetType | None = UNSET


class RotateApiKey(Command, frozen=True, kw_only=True, tag="api_key.rotate"):
    """Gives a key a new secret; the one it has works for `overlap_s` more, one that is older ends now."""

    category = "account"
    key_id: str
    digest: str
    hint: str
    overlap_s: int
    secret_sealed: str

    def secret(self) -> str | None:
        """The sealed key, for the one answer that shows it."""
        return self.secret_sealed


class RevokeApiKey(Command, frozen=True, kw_only=True, tag="api_key.revoke"):
    """Ends a key for good."""

    category = "account"
    key_id: str


class KeyDigest(Struct, frozen=True, kw_only=True, gc=False):
    """What a secret is recognised by, and until when; `None`: as long as the key."""

    digest: str
    until: Instant | None


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
    """The key as it is now. Events from before limits could be set have none, and leave the key's end as it was."""

    key_id: str
    name: str
    scopes: tuple[str, ...]
    limits: KeyLimits = NO_LIMITS
    expires_at: Instant | UnsetType | None = UNSET


class ApiKeyRotated(Event, frozen=True, kw_only=True, tag="api_key.rotated"):
    """These secrets work from now on, the newest first, and no other."""

    key_id: str
    digests: tuple[KeyDigest, ...]
    hint: str
    rotated_at: Instant


class ApiKeyRevoked(Event, frozen=True, kw_only=True, tag="api_key.revoked"):
    """The key no longer works."""

    key_id: str
    revoked_at: Instant


class ApiKey(Struct, kw_only=True, gc=False):
    """A key that was not revoked, as far as decisions need to know it."""

    name: str
    scopes: tuple[str, ...]
    expires_at: Instant | None
    digest: str
    """Of the newest secret."""
    old_until: Instant | None = None
    """Until when the secret before it works."""
    limits: KeyLimits = NO_LIMITS

    def works(self, at: Instant) -> bool:
        """Tells whether the key has not run out."""
        return self.expires_at is None or self.expires_at > at


class ApiKeys(Struct, kw_only=True):
    """Keys by id, and the ids of those that were revoked."""

    active: dict[str, ApiKey] = field(default_factory=dict)
    revoked: set[str] = field(default_factory=set)


COMMANDS = (CreateApiKey, UpdateApiKey, RotateApiKey, RevokeApiKey)
EVENTS = (ApiKeyCreated, ApiKeyUpdated, ApiKeyRotated, ApiKeyRevoked)
ApiKeyCommand: TypeAlias = CreateApiKey | UpdateApiKey | RotateApiKey | RevokeApiKey
ApiKeyEvent: TypeAlias = ApiKeyCreated | ApiKeyUpdated | ApiKeyRotated | ApiKeyRevoked


def decide(account: "Account", command: ApiKeyCommand, at: Instant) -> Sequence[ApiKeyEvent]:
    """See each command. `NotFound` for a key that is not the account's, `Forbidden` past the plan's number of keys."""
    keys = account.api_keys
    match command:
        case CreateApiKey():
            return _create(keys, command, at)
        case UpdateApiKey():
            return _update(keys, command, at)
        case RotateApiKey():
            return _rotate(keys, command, at)
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
    _require_future(command.expires_at, at)
    require_limits(command.limits)
    working = sum(1 for key in keys.active.values() if key.works(at))
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


def _update(keys: ApiKeys, command: UpdateApiKey, at: Instant) -> Sequence[ApiKeyEvent]:
    if command.key_id in keys.revoked:
        raise Conflict("api_key_revoked", "The API key was revoked and cannot be changed.")
    key = _require(keys, command.key_id)
    changed = structs.replace(
        key,
        name=key.name if command.name is None else command.name,
        scopes=key.scopes if command.scopes is None else command.scopes,
        limits=changed_limits(key.limits, command.rate_limit, command.credit_limit),
        expires_at=key.expires_at if command.expires_at is UNSET else command.expires_at,
    )
    if changed == key:
        return []
    if changed.expires_at != key.expires_at:
        _require_working(key, at)
        _require_future(changed.expires_at, at)
    require_limits(changed.limits)
    return [
        ApiKeyUpdated(
            key_id=command.key_id,
            name=changed.name,
            scopes=changed.scopes,
            limits=changed.limits,
            expires_at=changed.expires_at,
        )
    ]


def _rotate(keys: ApiKeys, command: RotateApiKey, at: Instant) -> Sequence[ApiKeyEvent]:
    if command.key_id in keys.revoked:
        raise Conflict("api_key_revoked", "The API key was revoked and cannot be rotated.")
    key = _require(keys, command.key_id)
    if command.digest == key.digest:
        return []
    _require_working(key, at)
    overlap = command.overlap_s * SECOND
    if not 0 <= overlap <= OVERLAP_MAX:
        raise Invalid("invalid_overlap", "overlap_s must lie between 0 and 30 days.", param="overlap_s")
    until = at + overlap if key.expires_at is None else min(at + overlap, key.expires_at)
    old = (KeyDigest(digest=key.digest, until=until),) if overlap else ()
    return [
        ApiKeyRotated(
            key_id=command.key_id,
            digests=(KeyDigest(digest=command.digest, until=None), *old),
            hint=command.hint,
            rotated_at=at,
        )
    ]


def _require(keys: ApiKeys, key_id: str) -> ApiKey:
    key = keys.active.get(key_id)
    if key is None:
        raise NotFound("api_key_not_found", "There is no such API key.")
    return key


def _require_working(key: ApiKey, at: Instant) -> None:
    """What has run out does not come back: it stopped counting against the plan's number."""
    if not key.works(at):
        raise Conflict("api_key_expired", "The API key has expired; create a new one.")


def _require_future(expires_at: Instant | None, at: Instant) -> None:
    if expires_at is not None and expires_at <= at:
        raise Invalid("invalid_expiry", "expires_at must lie in the future.", param="expires_at")


def evolve(keys: ApiKeys, event: ApiKeyEvent) -> None:
    """Writes a key's beginning, change, new secret or end."""
    match event:
        case ApiKeyCreated():
            keys.active[event.key_id] = ApiKey(
                name=event.name,
                scopes=event.scopes,
                expires_at=event.expires_at,
                digest=event.digest,
                limits=event.limits,
            )
        case ApiKeyUpdated():
            key = keys.active[event.key_id]
            key.name, key.scopes, key.limits = event.name, event.scopes, event.limits
            if event.expires_at is not UNSET:
                key.expires_at = event.expires_at
        case ApiKeyRotated():
            key = keys.active[event.key_id]
            key.digest = event.digests[0].digest
            key.old_until = event.digests[1].until if len(event.digests) > 1 else None
        case ApiKeyRevoked():
            del keys.active[event.key_id]
            keys.revoked.add(event.key_id)


def answer(account: "Account", command: ApiKeyCommand, _events: Sequence[Event]) -> Answer:
    """Which key it was about, and what it is after a change or a rotation."""
    data: Answer = {"key_id": command.key_id}
    if isinstance(command, CreateApiKey | RotateApiKey):
        data["hint"] = command.hint
    if isinstance(command, UpdateApiKey | RotateApiKey):
        key = account.api_keys.active[command.key_id]
        data |= {
            "name": key.name,
            "scopes": key.scopes,
            "limits": key.limits,
            "expires_at": key.expires_at,
            "old_secret_expires_at": key.old_until,
        }
    return data
