"""Who is asking, and the one thing that finds it out."""

from typing import Any, Literal, TypeAlias

import msgspec
from msgspec import Struct

from api.account_plan import AccountPlan
from domain.account.api_key_limits import NO_LIMITS, KeyLimits
from domain.envelope import Actor
from domain.instant import Instant
from domain.member import Level
from domain.user import Role

Mode: TypeAlias = Literal["live", "test"]
CallerKind: TypeAlias = Literal["user", "key", "anonymous"]
_claims = msgspec.json.Decoder(dict[str, Any]).decode


class Caller(Struct, frozen=True, kw_only=True):
    """An authenticated user or key, or nobody in particular on a public route.

    `scopes` are expanded (`read` brings `billing:read` and the like along), so that authorizing is one look-up.
    """

    kind: CallerKind
    user_id: str = ""
    """Of a key: the user who made it. Empty for `anonymous`."""
    account_id: str = ""
    """The acting account: whose money and limits a request is about."""
    key_id: str | None = None
    role: Role | None = None
    scopes: frozenset[str] = frozenset()
    mode: Mode = "live"
    expires_at: Instant | None = None
    """When an API key ends: what it makes ends no later. A login token's own end binds nothing."""
    limits: KeyLimits = NO_LIMITS
    """An API key's own limits, beside its account's."""
    project_id: str | None = None
    """The one project that the credentials see; `None`: all of the account."""
    level: Level | None = None
    """Where the acting account is an organization's: the level of the member that asks, or that made the key."""
    subscription: AccountPlan | None = None
    """The acting account's plan and how its subscription stands; `None` for `anonymous`."""
    suspended: bool = False
    """The acting account is: only what its owner must still see is open to it (`Access.while_suspended`)."""
    address: str = ""
    user_agent: str = ""

    claims_json: bytes = b"{}"
    """Of an external token: its other claims, as JSON."""

    @property
    def claims(self) -> dict[str, Any]:
        """Of an external token: the claims that have no meaning here, kept as they came."""
        return _claims(self.claims_json)

    @property
    def principal(self) -> str:
        """Whom an `Idempotency-Key` belongs to: the key, or the user."""
        return self.key_id or self.user_id

    def actor(self, origin: str | None = None) -> Actor:
        """Who asked, as commands carry it; `origin` is the sealed address and user agent."""
        return Actor(kind=self.kind, id=self.user_id, key_id=self.key_id, origin=origin)
