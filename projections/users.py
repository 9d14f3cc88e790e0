"""Users by id. Everything personal in here is sealed under the user's own data key."""

from msgspec import Struct, structs

from domain.instant import Instant
from domain.recorded import Recorded
from domain.user import PasswordChanged, PasswordRehashed, ProfileUpdated, Role, RoleGranted, UserErased, UserRegistered
from eventstore.shards import shard_of
from projections.documents import DocumentReader
from projections.projection import Projection


class UserView(Struct, frozen=True, kw_only=True):
    """A user as authentication and the profile need it."""

    id: str
    email_sealed: str
    display_name_sealed: str | None
    password_sealed: str
    registered_at: Instant
    ver: int = 1
    """Login tokens of another version are no longer good."""
    role: Role = "user"


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
    if view is None:
        return None
    match event:
        case ProfileUpdated():
            return structs.replace(view, display_name_sealed=event.display_name_sealed)
        case PasswordChanged():
            return structs.replace(view, password_sealed=event.password_sealed, ver=event.ver)
        case PasswordRehashed():
            return structs.replace(view, password_sealed=event.password_sealed)
        case RoleGranted():
            return structs.replace(view, role=event.role)
        case UserErased():
            return None
        case _:
            return view


PROJECTION = Projection(
    collection="users",
    version=1,
    document=UserView,
    events=[UserRegistered, ProfileUpdated, PasswordChanged, PasswordRehashed, RoleGranted, UserErased],
    key=lambda recorded: recorded.entity_id,
    evolve=_evolve,
    owner=lambda view: view.id,
    begun_by=[UserRegistered],
)


async def get_user(documents: DocumentReader, shards: int, user_id: str) -> UserView | None:
    """The user, or `None`."""
    doc = await documents.get(PROJECTION.collection, shard_of(f"user:{user_id}", shards), user_id)
    return None if doc is None else PROJECTION.decode(doc)
