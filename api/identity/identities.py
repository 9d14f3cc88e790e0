"""The one chain from credentials to a caller: an API key or a token, by `X-API-Key` or `Authorization: Bearer`.

What looks like an API key is never tried as a token. A key never exceeds its creator: its scopes are cut to what the
creator's role allows now, not when the key was made.
"""

import hashlib
from collections import OrderedDict
from collections.abc import Callable
from time import monotonic
from typing import NoReturn

from api.caller import Caller
from api.errors import ApiError, declare
from api.identity.acting import Acting, member_for, narrowed_key
from api.identity.api_key_format import ApiKeyFormat
from api.identity.external_commands import Origin
from api.identity.external_identities import ExternalIdentities
from api.identity.identity_cache import Identity, IdentityCache
from api.identity.stamps import StampsPoller
from api.identity.tokens import TokenRefused, Tokens
from api.plans import Plans
from api.scopes import AUTHORITY, expand, role_of_key
from domain.account.api_keys import KeyDigest
from domain.instant import Instant
from domain.user import Role
from eventstore.errors import StoreError
from eventstore.store import Store
from projections.api_keys import find_api_key
from projections.documents import DocumentReader
from projections.users import UserView, get_user

CREDENTIAL_SIZE_MAX = 16 * 1024
"""Half of what all headers of a request may take: tokens of identity providers list groups and more."""
UNKNOWN_MAX = 10_000
UNKNOWN_S = 5.0
"""How long a key that does not exist is refused unseen: short, since it may be created on another process."""
EXPIRED = "The token has expired; log in again."

declare(
    "invalid_api_key",
    "unauthenticated",
    "The API key is mistyped, unknown, expired or revoked.",
    "Check the key's status with GET /api-keys, or create a new one.",
)
declare(
    "invalid_token",
    "unauthenticated",
    "The token is malformed, or no longer good.",
    "Log in again: a token lasts 24 hours and ends when the password changes. Or ask your identity provider for one.",
)
declare(
    "conflicting_credentials",
    "invalid",
    "X-API-Key and Authorization carry different credentials.",
    "Send one of them, or the same key in both.",
)
declare(
    "auth_unavailable",
    "unavailable",
    "Credentials cannot be checked at present.",
    "Try again after the seconds in Retry-After; the credentials themselves may be fine.",
)


class Identities:
    """Who asks. `start` before the first request, `stop` after the last.

    `clock` is the time of expiry, `now_s` monotonic seconds.
    """

    def __init__(
        self,
        *,
        store: Store,
        documents: DocumentReader,
        shards: int,
        keys: ApiKeyFormat,
        tokens: Tokens,
        plans: Plans,
        clock: Callable[[], Instant],
        external: ExternalIdentities | None = None,
        cache: IdentityCache | None = None,
        now_s: Callable[[], float] = monotonic,
    ) -> None:
        self.keys = keys
        """The format of API keys, for the route that makes them."""
        self._documents = documents
        self._shards = shards
        self._tokens = tokens
        self._acting = Acting(documents, shards, plans)
        self._clock = clock
        self._now_s = now_s
        self._external = external
        self.cache = IdentityCache() if cache is None else cache
        self.stamps = StampsPoller(self.cache, store, documents, clock=now_s)
        self._unknown: OrderedDict[str, float] = OrderedDict()

    async def start(self) -> None:
        """Begins to poll the stamps and the issuers' keys; does not wait for what is away."""
        if self._external is not None:
            self._external.start()
        await self.stamps.start()

    async def stop(self) -> None:
        """Ends the polling."""
        await self.stamps.stop()
        if self._external is not None:
            await self._external.stop()

    async def authenticate(
        self,
        authorization: str | None,
        api_key: str | None,
        *,
        address: str,
        user_agent: str,
        organization: str | None = None,
        fresh: bool = False,
    ) -> Caller:
        """The caller of the `Authorization` and `X-API-Key` headers, acting for what `X-Organization` names.

        Microseconds when the credentials were seen lately; `fresh` hears first of all that was stamped until now.
        `ApiError` `missing_credentials`, `invalid_api_key`, `invalid_token`, …: 401 with `WWW-Authenticate`, or 503
        `auth_unavailable` where the caches cannot be confirmed; 404 `organization_not_found`, 403 `key_bound`.
        """
        credential = _credential(authorization, api_key)
        if api_key and api_key.strip() and not self.keys.looks_like_key(credential):
            _refuse("invalid_api_key", "X-API-Key carries no API key.")
        if not self.stamps.confirmed:
            raise ApiError("auth_unavailable", headers={"Retry-After": "1"})
        if fresh:
            await self._hear()
        digest = hashlib.sha256(credential.encode("utf-8", "surrogateescape")).digest()
        generation = self.cache.generation
        identity = self.cache.get(digest)
        if identity is None:
            identity = await self._identified(credential, digest, address, user_agent)
        if identity.expires_at is not None and identity.expires_at <= self._clock():
            self.cache.forget(digest)
            if identity.key_id:
                of_key = Caller(
                    kind="key", user_id=identity.user_id, account_id=identity.account_id, key_id=identity.key_id
                )
                replaced = "The API key has expired, or a rotation has replaced this secret of it."
                _refuse("invalid_api_key", replaced, about=of_key)
            _refuse("invalid_token", EXPIRED, about=_of_user(identity.user_id))
        if organization is not None and organization != identity.account_id:
            try:
                identity = await self._acting_for(organization, identity, digest, generation)
            except ApiError as error:
                error.about = _caller(identity, address, user_agent)
                raise
        return _caller(identity, address, user_agent)

    async def _hear(self) -> None:
        try:
            await self.stamps.hear()
        except (StoreError, OSError) as error:
            raise ApiError("auth_unavailable", headers={"Retry-After": "1"}) from error

    async def _identified(self, credential: str, digest: bytes, address: str, user_agent: str) -> Identity:
        generation = self.cache.generation
        try:
            if self.keys.looks_like_key(credential):
                identity = await self._of_key(credential)
            else:
                identity = await self._of_external(credential, address, user_agent) or await self._of_token(credential)
        except TokenRefused as error:
            about = None if error.user_id is None else _of_user(error.user_id)
            _refuse("invalid_token", EXPIRED if error.expired else error.public, about=about)
        except (StoreError, OSError) as error:
            raise ApiError("auth_unavailable", headers={"Retry-After": "1"}) from error
        self.cache.keep(digest, identity, generation)
        return identity

    async def _acting_for(self, organization: str, identity: Identity, digest: bytes, generation: int) -> Identity:
        """The identity in an organization, cached beside the one that it comes from; a stamp of either ends it.

        `generation` is that of before the other was read: a stamp since then may have been meant for it.
        """
        identity = identity.own or identity
        if organization == identity.account_id:
            return identity
        chosen = hashlib.sha256(digest + organization.encode("utf-8", "surrogateescape")).digest()
        found = self.cache.get(chosen)
        if found is not None:
            return found
        try:
            member = await member_for(self._documents, self._shards, identity, organization)
            found = await self._acting.for_organization(identity, member)
        except (StoreError, OSError) as error:
            raise ApiError("auth_unavailable", headers={"Retry-After": "1"}) from error
        self.cache.keep(chosen, found, generation)
        return found

    async def _of_key(self, credential: str) -> Identity:
        parsed = self.keys.parse(credential)
        if parsed is None or self._is_unknown(parsed.key_id):
            _refuse("invalid_api_key")
        key = await find_api_key(self._documents, parsed.key_id)
        if key is None:
            self._remember_unknown(parsed.key_id)
            _refuse("invalid_api_key")
        newest = self.keys.matches(credential, key.digest)
        older = key.old is not None and self.keys.matches(credential, key.old.digest)
        if not (newest or older):
            _refuse("invalid_api_key")
        known = Caller(kind="key", user_id=key.created_by, account_id=key.account_id, key_id=key.id)
        if key.revoked_at is not None:
            _refuse("invalid_api_key", about=known)
        creator = await get_user(self._documents, self._shards, key.created_by)
        role = None if creator is None else self._role_of(creator)
        if creator is None or role is None:
            _refuse("invalid_api_key", about=known)
        scopes = expand(key.scopes) & AUTHORITY[role]
        identity = Identity(
            principals=(key.id, creator.id, f"account:{key.account_id}"),
            user_id=creator.id,
            account_id=key.account_id,
            key_id=key.id,
            role=role_of_key(role, scopes),
            scopes=scopes,
            mode=key.mode,
            expires_at=key.expires_at if newest else _earlier(key.expires_at, key.old),
            limits=key.limits,
            project_id=key.project_id,
            subscription=await self._acting.subscription(key.account_id),
            suspended=any([await self._acting.suspended(each) for each in {key.account_id, creator.id}]),
        )
        return await narrowed_key(self._documents, self._shards, identity) or _refuse("invalid_api_key")

    async def _of_token(self, credential: str) -> Identity:
        claims = self._tokens.verify(credential, self._clock())
        user = await get_user(self._documents, self._shards, claims.user_id)
        role = None if user is None else self._role_of(user)
        if user is None or role is None or user.ver != claims.ver:
            _refuse("invalid_token", about=_of_user(claims.user_id))
        return await self._acting.for_self(user, role, claims.expires_at)

    async def _of_external(self, credential: str, address: str, user_agent: str) -> Identity | None:
        """`None` for what no identity provider here has made."""
        if self._external is None:
            return None
        return await self._external.identify(credential, Origin(address=address, user_agent=user_agent))

    def _role_of(self, user: UserView) -> Role | None:
        """`None` where the user's identity provider is not one of ours any more."""
        if self._external is not None:
            return self._external.role_of(user)
        return user.role if user.issuer_hash is None else None

    def _is_unknown(self, key_id: str) -> bool:
        until = self._unknown.get(key_id)
        if until is None:
            return False
        if until <= self._now_s():
            del self._unknown[key_id]
            return False
        return True

    def _remember_unknown(self, key_id: str) -> None:
        self._unknown[key_id] = self._now_s() + UNKNOWN_S
        if len(self._unknown) > UNKNOWN_MAX:
            self._unknown.popitem(last=False)


def _of_user(user_id: str) -> Caller:
    """Whose login token was refused, for the trail of the user's own account."""
    return Caller(kind="user", user_id=user_id, account_id=user_id)


def _caller(identity: Identity, address: str, user_agent: str) -> Caller:
    """Who asks, from where."""
    return Caller(
        kind="key" if identity.key_id else "user",
        user_id=identity.user_id,
        account_id=identity.account_id,
        key_id=identity.key_id,
        role=identity.role,
        scopes=identity.scopes,
        mode=identity.mode,
        expires_at=identity.expires_at if identity.key_id else None,
        limits=identity.limits,
        project_id=identity.project_id,
        level=identity.level,
        subscription=identity.subscription,
        suspended=identity.suspended,
        claims_json=identity.claims_json,
        address=address,
        user_agent=user_agent,
    )


def _earlier(expires_at: Instant | None, old: KeyDigest | None) -> Instant | None:
    """When an older secret ends: with the overlap, or with its key."""
    ends = [end for end in (expires_at, None if old is None else old.until) if end is not None]
    return min(ends, default=None)


def _credential(authorization: str | None, api_key: str | None) -> str:
    """The one credential of a request. 401 `missing_credentials`, 400 `conflicting_credentials`."""
    bearer = ""
    if authorization is not None:
        scheme, _, rest = authorization.partition(" ")
        bearer = rest.strip() if scheme.lower() == "bearer" else ""
    key = "" if api_key is None else api_key.strip()
    if bearer and key and bearer != key:
        raise ApiError("conflicting_credentials")
    credential = key or bearer
    if not credential:
        _refuse("missing_credentials")
    if len(credential) > CREDENTIAL_SIZE_MAX:
        _refuse("invalid_token")
    return credential


def _refuse(code: str, message: str | None = None, *, about: Caller | None = None) -> NoReturn:
    """401 with a challenge (RFC 6750, 3). A credential that was sent and is wrong is an `invalid_token` there.

    `about` is whose credentials they were, for that account's audit trail.
    """
    challenge = "Bearer" if code == "missing_credentials" else 'Bearer error="invalid_token"'
    error = ApiError(code, message, headers={"WWW-Authenticate": challenge})
    error.about = about
    raise error
