"""From an external token to the local user behind it: linked at first sight, by issuer and subject and nothing else.

The user's id is an HMAC of both, so processes that see an identity at once meet in one stream, where the second finds
it linked. Email addresses in a token say nothing about who a user is here.
"""

import asyncio
from collections.abc import Callable
from weakref import WeakValueDictionary

import msgspec
from msgspec import Struct

from api.bus import BusError
from api.commands import DEADLINE, Commands
from api.errors import ApiError, refusal
from api.external_tokens import ExternalToken, ExternalTokens
from api.ids import random_hex, uuid7
from api.lookup import LookupHash
from api.profile import IDENTITY_PLACE, seal_text
from api.sealing import Erased, Sealer
from domain.envelope import Actor, Envelope, Header
from domain.instant import Instant
from domain.user import LinkIdentity, Role, lower_role
from projections.documents import DocumentReader
from projections.users import UserView, get_user

LINK_S = 10.0
"""How long a first sight may take, behind others of the same user included."""


class ExternalUser(Struct, frozen=True, kw_only=True):
    """A user, what its token says, and the role in which the token acts."""

    user: UserView
    token: ExternalToken
    role: Role


class ExternalUsers:
    """`start` before the first `identify`, `stop` after the last."""

    def __init__(
        self,
        tokens: ExternalTokens,
        commands: Commands,
        sealer: Sealer,
        lookup: LookupHash,
        documents: DocumentReader,
        *,
        clock: Callable[[], Instant],
    ) -> None:
        self._tokens = tokens
        self._commands = commands
        self._sealer = sealer
        self._lookup = lookup
        self._documents = documents
        self._clock = clock
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

    async def identify(self, text: str, *, address: str, user_agent: str) -> ExternalUser | None:
        """The user of a token, linked now if it was never seen; `None` for a token of no issuer here.

        `TokenRefused` for a bad token, 401 `user_erased`, 503 `auth_unavailable` where linking cannot be done now.
        """
        token = await self._tokens.verify(text, self._clock)
        if token is None:
            return None
        user_id = self.user_id(token)
        user = await get_user(self._documents, self._commands.shards, user_id)
        if user is None or _says_more(token, user):
            user = await self._told(user_id, token, address, user_agent)
        return ExternalUser(user=user, token=token, role=lower_role(token.role, user.role))

    def user_id(self, token: ExternalToken) -> str:
        """The user that an identity is, linked already or not."""
        mac = self._lookup.mac("identity", token.issuer.iss.encode(), token.subject.encode())
        return f"user_{mac[:16].hex()}"

    def _issuer_hash(self, iss: str) -> str:
        return self._lookup.digest("issuer", iss.encode())

    async def _told(self, user_id: str, token: ExternalToken, address: str, user_agent: str) -> UserView:
        """Tells the user's stream what the token says, and answers the user as it is then: one at a time."""
        lock = self._locks.setdefault(user_id, asyncio.Lock())
        try:
            async with asyncio.timeout(LINK_S), lock:
                user = await get_user(self._documents, self._commands.shards, user_id)
                if user is None or _says_more(token, user):
                    await self._send(await self._envelope(user_id, token, address, user_agent))
                    user = await get_user(self._documents, self._commands.shards, user_id)
        except Erased:
            raise ApiError("user_erased") from None
        except (BusError, TimeoutError) as error:
            raise _unavailable() from error
        if user is None:
            raise _unavailable()
        return user

    async def _envelope(self, user_id: str, token: ExternalToken, address: str, user_agent: str) -> Envelope:
        stream, issued_at = f"user:{user_id}", self._clock()
        identity = msgspec.json.encode({"issuer": token.issuer.iss, "subject": token.subject}).decode()
        origin = msgspec.json.encode({"address": address, "user_agent": user_agent})
        command = LinkIdentity(
            issuer_hash=self._issuer_hash(token.issuer.iss),
            identity_sealed=await seal_text(self._sealer, user_id, IDENTITY_PLACE, identity),
            role=token.role,
            said_at=token.issued_at,
        )
        actor = Actor(kind="user", id=user_id, origin=await self._sealer.seal(stream, "origin", origin))
        header = Header(
            id=uuid7(),
            attempt=random_hex(),
            stream=stream,
            account=user_id,
            actor=actor,
            issued_at=issued_at,
            deadline=issued_at + DEADLINE,
        )
        return Envelope(header=header, body=command)

    async def _send(self, envelope: Envelope) -> None:
        """Returns when the command was applied. A repeat after anything else finds what there is."""
        self._commands.poller.admit()
        ack = await self._commands.send(envelope)
        header = envelope.header
        outcome = await self._commands.outcome(ack.shard, header.id, header.attempt, LINK_S)
        if outcome is not None and outcome.status == "rejected":
            raise refusal(outcome.data)
        if outcome is None or outcome.status != "applied":
            raise _unavailable()


def _says_more(token: ExternalToken, user: UserView) -> bool:
    """Whether the user's stream would learn of another role from this token (see `LinkIdentity`)."""
    if token.role == user.role:
        return False
    lower = lower_role(token.role, user.role) == token.role
    return token.issued_at > user.role_said_at or (lower and token.issued_at == user.role_said_at)


def _unavailable() -> ApiError:
    return ApiError("auth_unavailable", headers={"Retry-After": "1"})
