"""From an external token to the local user behind it: linked at first sight, by issuer and subject and nothing else.

The user's id is an HMAC of both, so processes that see an identity at once meet in one stream, where the second finds
it linked. Email addresses in a token say nothing about who a user is here.
"""

import asyncio
from weakref import WeakValueDictionary

import msgspec
from msgspec import Struct

from api.errors import ApiError
from api.identity.external_commands import ExternalCommands, Origin, told, unavailable
from api.identity.external_tokens import ExternalToken, ExternalTokens
from api.lookup import LookupHash
from api.profile import IDENTITY_PLACE, NAME_PLACE, check_display_name, seal_text
from domain.user import LinkIdentity, Role, lower_role
from projections.documents import DocumentReader
from projections.users import UserView, get_user


class ExternalUser(Struct, frozen=True, kw_only=True):
    """A user, what its token says, and the role in which the token acts."""

    user: UserView
    token: ExternalToken
    role: Role


class ExternalUsers:
    """`start` before the first `identify`, `stop` after the last."""

    def __init__(
        self, tokens: ExternalTokens, commands: ExternalCommands, lookup: LookupHash, documents: DocumentReader
    ) -> None:
        self._tokens = tokens
        self._commands = commands
        self._lookup = lookup
        self._documents = documents
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self._max_roles = {self._issuer_hash(iss): issuer.max_role for iss, issuer in tokens.issuers.items()}

    def start(self) -> None:
        """Begins to fetch the issuers' keys; waits for none of them."""
        self._tokens.start()

    async def stop(self) -> None:
        """Ends the fetching."""
        await self._tokens.stop()

    def role_of(self, user: UserView) -> Role | None:
        """The role in which the user's own credentials act: never more than its issuer may give today.

        `None` where the operator no longer takes that issuer's tokens: then the user's API keys end as well.
        """
        if user.issuer_hash is None:
            return user.role
        max_role = self._max_roles.get(user.issuer_hash)
        return None if max_role is None else lower_role(user.role, max_role)

    async def identify(self, text: str, origin: Origin) -> ExternalUser | None:
        """The user of a token, linked now if it was never seen; `None` for a token of no issuer here.

        `TokenRefused` for a bad token, 401 `user_erased`, 503 `auth_unavailable` where linking cannot be done now.
        """
        token = await self._tokens.verify(text, self._commands.clock)
        if token is None:
            return None
        user_id = self.user_id(token)
        user = await self._user(user_id)
        if user is None or _says_more(token, user):
            user = await self._told(user_id, token, origin)
        return ExternalUser(user=user, token=token, role=lower_role(token.role, user.role))

    def user_id(self, token: ExternalToken) -> str:
        """The user that an identity is, linked already or not."""
        mac = self._lookup.mac("identity", token.issuer.iss.encode(), token.subject.encode())
        return f"user_{mac[:16].hex()}"

    def _issuer_hash(self, iss: str) -> str:
        return self._lookup.digest("issuer", iss.encode())

    async def _user(self, user_id: str) -> UserView | None:
        return await get_user(self._documents, self._commands.shards, user_id)

    async def _told(self, user_id: str, token: ExternalToken, origin: Origin) -> UserView:
        """Tells the user's stream what the token says, and answers the user as it is then: one at a time."""
        lock = self._locks.setdefault(user_id, asyncio.Lock())
        async with told(), lock:
            user = await self._user(user_id)
            if user is None or _says_more(token, user):
                await self._tell(user_id, token, origin)
                user = await self._user(user_id)
        if user is None:
            raise unavailable()
        return user

    async def _tell(self, user_id: str, token: ExternalToken, origin: Origin) -> None:
        sealer, name = self._commands.sealer, _name(token)
        identity = msgspec.json.encode({"issuer": token.issuer.iss, "subject": token.subject}).decode()
        command = LinkIdentity(
            issuer_hash=self._issuer_hash(token.issuer.iss),
            identity_sealed=await seal_text(sealer, user_id, IDENTITY_PLACE, identity),
            role=token.role,
            said_at=token.issued_at,
            display_name_sealed=None if name is None else await seal_text(sealer, user_id, NAME_PLACE, name),
        )
        await self._commands.send(f"user:{user_id}", command, user_id=user_id, account_id=user_id, origin=origin)


def _name(token: ExternalToken) -> str | None:
    """What the provider calls the person (OpenID Connect Core 1.0, 5.1), where it can be a display name here."""
    name = msgspec.json.decode(token.claims_json).get("name")
    if not isinstance(name, str):
        return None
    try:
        check_display_name(name)
    except ApiError:
        return None
    return name


def _says_more(token: ExternalToken, user: UserView) -> bool:
    """Whether the user's stream would learn of another role from this token (see `LinkIdentity`)."""
    if token.role == user.role:
        return False
    lower = lower_role(token.role, user.role) == token.role
    return token.issued_at > user.role_said_at or (lower and token.issued_at == user.role_said_at)
