"""Which user an email address belongs to, by the address's HMAC: how a login finds its user."""

from msgspec import Struct

from domain.erasure import UserErased
from domain.recorded import Recorded
from domain.user import UserRegistered
from projections.documents import DocumentReader
from projections.projection import Projection


class EmailView(Struct, frozen=True, kw_only=True):
    """The user behind an address."""

    user_id: str


def _key(recorded: Recorded) -> str | None:
    """A user of an identity provider has no address."""
    assert isinstance(recorded.event, UserRegistered | UserErased)
    return recorded.event.email_hash or None


def _evolve(_view: EmailView | None, recorded: Recorded) -> EmailView | None:
    return EmailView(user_id=recorded.entity_id) if isinstance(recorded.event, UserRegistered) else None


PROJECTION = Projection(
    collection="emails",
    version=1,
    document=EmailView,
    events=[UserRegistered, UserErased],
    key=_key,
    evolve=_evolve,
    owner=lambda view: view.user_id,
    begun_by=[UserRegistered, UserErased],
    done=lambda _view: True,
    found_by_key=True,
    listed=False,
)


async def find_user_id(documents: DocumentReader, email_hash: str) -> str | None:
    """The id of the user with this address, or `None`."""
    found = await documents.find(PROJECTION.collection, email_hash)
    return None if found is None else PROJECTION.decode(found[1]).user_id
