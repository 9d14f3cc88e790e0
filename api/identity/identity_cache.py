"""Identities that were verified lately, so that warm authentication costs microseconds; dropped when stamped.

A stamp says that a principal's authority changed; `api/identity/stamps.py` polls them.
"""

from collections import OrderedDict
from collections.abc import Iterable

from msgspec import Struct

from api.account_plan import AccountPlan
from api.caller import Mode
from domain.account.api_key_limits import NO_LIMITS, KeyLimits
from domain.instant import Instant
from domain.member import Level
from domain.user import Role

CACHED_MAX = 20_000
CLAIMS_BYTES_MAX = 16 * 1024 * 1024
"""Claims that external tokens bring along: the rest of an identity is a few hundred bytes."""


class Identity(Struct, frozen=True, kw_only=True):
    """What verified credentials stand for. `principals` are those whose stamp ends it."""

    principals: tuple[str, ...]
    user_id: str
    account_id: str
    key_id: str | None
    role: Role
    scopes: frozenset[str]
    mode: Mode
    expires_at: Instant | None
    limits: KeyLimits = NO_LIMITS
    """A key's own limits."""
    level: Level | None = None
    """Of the member, where the account is an organization's."""
    project_id: str | None = None
    """The one project that the credentials see."""
    subscription: AccountPlan | None = None
    suspended: bool = False
    """The acting account is."""
    claims_json: bytes = b"{}"
    """Of an external token: its other claims."""
    own: "Identity | None" = None
    """The same person on its own account, where its token acts for an organization by itself."""


class IdentityCache:
    """Identities by the digest of their credentials, least recently used first.

    `generation` grows with each stamp: an identity whose documents were read under an older one may be stale before it
    is kept, so `keep` does not keep it.
    """

    def __init__(self, cached_max: int = CACHED_MAX, claims_bytes_max: int = CLAIMS_BYTES_MAX) -> None:
        self._cached_max = cached_max
        self._claims_bytes_max = claims_bytes_max
        self._claims_bytes = 0
        self._entries: OrderedDict[bytes, Identity] = OrderedDict()
        self._of: dict[str, set[bytes]] = {}
        self.generation = 0

    def get(self, digest: bytes) -> Identity | None:
        """The identity; it becomes the most recently used."""
        found = self._entries.get(digest)
        if found is not None:
            self._entries.move_to_end(digest)
        return found

    def keep(self, digest: bytes, identity: Identity, generation: int) -> None:
        """Keeps an identity whose documents were read while the cache was at `generation`."""
        if generation != self.generation:
            return
        self.forget(digest)
        self._entries[digest] = identity
        for principal in identity.principals:
            self._of.setdefault(principal, set()).add(digest)
        self._claims_bytes += len(identity.claims_json)
        while len(self._entries) > self._cached_max or self._claims_bytes > self._claims_bytes_max:
            self.forget(next(iter(self._entries)))

    def forget(self, digest: bytes) -> None:
        """Drops one."""
        identity = self._entries.pop(digest, None)
        if identity is None:
            return
        self._claims_bytes -= len(identity.claims_json)
        for principal in identity.principals:
            digests = self._of[principal]
            digests.discard(digest)
            if not digests:
                del self._of[principal]

    def stamped(self, principals: Iterable[str]) -> None:
        """Drops all identities of principals whose authority changed."""
        for principal in principals:
            self.generation += 1
            for digest in tuple(self._of.get(principal, ())):
                self.forget(digest)

    def clear(self) -> None:
        """Drops everything."""
        self.generation += 1
        self._claims_bytes = 0
        self._entries.clear()
        self._of.clear()

    def __len__(self) -> int:
        return len(self._entries)
