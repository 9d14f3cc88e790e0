"""Whose authority changed, in commit order: what every API process polls to drop cached identities within a second."""

from collections.abc import Mapping

from msgspec import Struct

from domain.account.api_keys import ApiKeyRevoked, ApiKeyRotated, ApiKeyUpdated
from domain.account.preferences import PreferencesChanged
from domain.account.standing import AccountResumed, AccountSuspended
from domain.account.subscription import SubscriptionConfirmed
from domain.account.subscription_change import SubscriptionChanged
from domain.erasure import UserErased
from domain.member import MemberAdded, MemberLevelChanged, MemberRemoved
from domain.project import ProjectArchived, ProjectRestored
from domain.recorded import Recorded
from domain.user import PasswordChanged, RoleGranted
from projections.documents import DocumentReader
from projections.members import member_key
from projections.projection import Projection

_EVENTS = (
    ApiKeyRevoked,
    ApiKeyRotated,
    ApiKeyUpdated,
    AccountSuspended,
    AccountResumed,
    MemberAdded,
    MemberLevelChanged,
    MemberRemoved,
    PasswordChanged,
    PreferencesChanged,
    ProjectArchived,
    ProjectRestored,
    RoleGranted,
    SubscriptionChanged,
    SubscriptionConfirmed,
    UserErased,
)


class Stamp(Struct, frozen=True, kw_only=True):
    """A principal and the place in its shard's log where its authority last changed."""

    principal: str
    """The id of a key, a user, a membership or a project; `account:{id}` whose plan, standing or settings changed."""
    seq: int


def _key(recorded: Recorded) -> str:
    match recorded.event:
        case ApiKeyRevoked(key_id=key_id) | ApiKeyRotated(key_id=key_id) | ApiKeyUpdated(key_id=key_id):
            return key_id
        case SubscriptionConfirmed() | PreferencesChanged() | AccountSuspended() | AccountResumed():
            return recorded.stream
        case MemberAdded() | MemberLevelChanged() | MemberRemoved():
            return member_key(recorded)
        case _:
            return recorded.entity_id


PROJECTION = Projection(
    collection="stamps",
    version=1,
    document=Stamp,
    events=_EVENTS,
    key=_key,
    evolve=lambda _stamp, recorded: Stamp(principal=_key(recorded), seq=recorded.seq),
    owner=lambda stamp: stamp.principal,
    sort=lambda stamp: f"{stamp.seq:020d}",
    begun_by=_EVENTS,
    done=lambda _stamp: True,
    followed=True,
    listed=False,
)


async def stamps_after(
    documents: DocumentReader, positions: Mapping[int, str], *, limit: int = 1_000
) -> list[tuple[int, str, Stamp]]:
    """(shard, position, stamp) of what changed behind the positions, which start at "" for every shard.

    A shard's events become visible in the order of their `seq`, so nothing can appear behind a position later.
    """
    rows = await documents.newer(PROJECTION.collection, positions, limit)
    return [(row.shard, row.sort, PROJECTION.decode(row.doc)) for row in rows]
