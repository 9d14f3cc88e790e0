"""Users by id. Everything personal in here is sealed under the user's own data key."""

from collections.abc import Iterable

from msgspec import Struct, structs

from domain.erasure import UserErased
from domain.instant import Instant
from domain.mailed_tokens import EmailVerified
from domain.recorded import Recorded
from domain.user import (
    IdentityLinked,
    PasswordChanged,
    PasswordRehashed,
    ProfileUpdated,
    Role,
    RoleGranted,
    UserRegistered,
)
from eventstore.shards import shard_of
from projections.documents import DocumentReader
from projections.lookup import read_many
from projections.projection import Projection


class UserView(Struct, frozen=True, kw_only=True):
    """A user as authentication and the profile need it: with email and password, or of an external identity."""

    id: str
    email_sealed: str | None
    display_name_sealed: str | None
    password_sealed: str | None
    registered_at: Instant
    ver: int = 1
    """Login tokens of another version are no longer good."""
    role: Role = "user"
    issuer_hash: str | None = None
    """Of an external identity: the HMAC of its issuer's `iss`."""
    identity_sealed: str | None = None
    """Of an external identity: JSON of `issuer` and `subject`."""
    role_said_at: Instant = 0
    """When the external token was issued that the role comes from."""
    email_verified: bool = False


def _evolve(view: UserView | None, recorded: Recorded) -> UserView | None:
    event = recorded.event
    if isinstance(event, UserRegistered):
        return UserView(
            id=recorded.entity_id,
            email_sealed=event.email_sealed,
            display_name_sealed=event.display_name_sealed,
            password_sealed=event.password_sealed,
            registered_at=event.registered_at,
        )
    if isinstance(event, IdentityLinked):
        return UserView(
            id=recorded.entity_id,
            email_sealed=None,
            display_name_sealed=event.display_name_sealed,
            password_sealed=None,
            registered_at=event.linked_at,
            role=event.role,
            issuer_hash=event.issuer_hash,
            identity_sealed=event.identity_sealed,
            role_said_at=event.said_at,
        )
    if view is None:
        return None
    match event:
        case EmailVerified():
            return structs.replace(view, email_verified=True)
        case ProfileUpdated():
            return structs.replace(view, display_name_sealed=event.display_name_sealed)
        case PasswordChanged():
            return structs.replace(view, password_sealed=event.password_sealed, ver=event.ver)
        case PasswordRehashed():
            return structs.replace(view, password_sealed=event.password_sealed)
        case RoleGranted():
            return structs.replace(view, role=event.role, role_said_at=event.said_at)
        case UserErased():
            return None
        case _:
            return view


PROJECTION = Projection(
    collection="users",
    version=3,
    document=UserView,
    events=[
        UserRegistered,
        ProfileUpdated,
        PasswordChanged,
        PasswordRehashed,
        EmailVerified,
        RoleGranted,
        UserErased,
        IdentityLinked,
    ],
    key=lambda recorded: recorded.entity_id,
    evolve=_evolve,
    owner=lambda view: view.id,
    begun_by=[UserRegistered, IdentityLinked],
    listed=False,
)


async def get_user(documents: DocumentReader, shards: int, user_id: str) -> UserView | None:
    """The user, or `None`."""
    doc = await documents.get(PROJECTION.collection, shard_of(f"user:{user_id}", shards), user_id)
    return None if doc is None else PROJECTION.decode(doc)


async def get_users(documents: DocumentReader, shards: int, user_ids: Iterable[str]) -> dict[str, UserView]:
    """Those that are there, by id."""
    return await read_many(documents, PROJECTION, shards, user_ids, lambda user_id: f"user:{user_id}")
