"""Erasing a user takes steps: it is begun, the user leaves its organizations, it is done, what it left outside ends.

From the first step on nobody can make the user a member of anything. That is a claim of the user's stream: whatever
makes a membership takes the same claim while it is decided, and meets it (`membership_lock`). So the memberships that
are left in the second step are all that there will ever be, however many API processes are at work. The stream is the
user's: `domain.user` decides and evolves with what is here. An erasure that was begun is gone on with until it is
finished, whatever becomes of who began it: `projections.erasures` lists those that are not.
"""

from collections.abc import Sequence
from typing import TypeAlias

from domain.errors import Conflict
from domain.instant import Instant
from domain.message import Claim, Command, Erasure, Event

MEMBERSHIPS = "memberships"
"""The claim's kind; its value is the user's id."""


class BeginErasure(Command, frozen=True, kw_only=True, tag="user.begin_erasure"):
    """Bars new memberships of the user. One that was begun before goes on: the answer holds its `erasure_id`."""

    category = "user"
    user_id: str
    erasure_id: str

    def claims(self) -> tuple[Claim, ...]:
        """The user's memberships, until the user is kept."""
        return (_memberships(self.user_id, held=True),)


class KeepUser(Command, frozen=True, kw_only=True, tag="user.keep"):
    """Ends an erasure that cannot be done; the user may become a member again."""

    category = "user"
    erasure_id: str


class EraseUser(Command, frozen=True, kw_only=True, tag="user.erase"):
    """Makes everything personal of the user unreadable, for good, and frees the email address.

    `erasure_id` is that of the erasure which was begun; without it nothing is known of memberships.
    """

    category = "user"
    erasure_id: str | None = None


class FinishErasure(Command, frozen=True, kw_only=True, tag="user.finish_erasure"):
    """Nothing is left to be done for the erased user, here or outside."""

    category = "user"
    shed = False
    erasure_id: str


class ErasureBegun(Event, frozen=True, kw_only=True, tag="user.erasure_begun"):
    """The user is a member of nothing new from now on."""

    erasure_id: str
    begun_at: Instant
    email_hash: str = ""
    """Of the user's address: who was invited by it is found by that. Empty where there is none."""


class UserKept(Event, frozen=True, kw_only=True, tag="user.kept"):
    """The erasure that was begun is over, and the user is as before."""

    erasure_id: str

    def erasure(self, entity_id: str) -> Erasure:
        """Nothing is erased; the claim is given up."""
        return Erasure(subjects=(), claims=((MEMBERSHIPS, entity_id),))


class UserErased(Event, frozen=True, kw_only=True, tag="user.erased"):
    """The user is gone: no data key, no address, no credentials. The account's balance and its trail stay."""

    email_hash: str
    erased_at: Instant

    def erasure(self, entity_id: str) -> Erasure:
        """The keys of the user and of the user's own account; the email address."""
        address = (("email", self.email_hash),) if self.email_hash else ()
        return Erasure(subjects=(f"user:{entity_id}", f"account:{entity_id}"), claims=address)


class ErasureFinished(Event, frozen=True, kw_only=True, tag="user.erasure_finished"):
    """The erasure is over in all its steps."""

    erasure_id: str
    finished_at: Instant


COMMANDS = (BeginErasure, KeepUser, EraseUser, FinishErasure)
EVENTS = (ErasureBegun, UserKept, UserErased, ErasureFinished)
ErasingCommand: TypeAlias = BeginErasure | KeepUser | EraseUser
ErasingEvent: TypeAlias = ErasureBegun | UserKept | UserErased | ErasureFinished


def membership_lock(user_id: str) -> Claim:
    """What a command claims that makes the user a member: only while it is decided."""
    return _memberships(user_id, held=False)


def _memberships(user_id: str, *, held: bool) -> Claim:
    return Claim(
        kind=MEMBERSHIPS,
        value=user_id,
        code="erasure_begun",
        message="The user is being erased and becomes a member of nothing any more.",
        held=held,
    )


def decide(begun: str | None, email_hash: str, command: ErasingCommand, at: Instant) -> Sequence[ErasingEvent]:
    """For a user who is there; `begun` is the erasure under way. `Conflict` for one that is not, or no more."""
    match command:
        case BeginErasure(erasure_id=erasure_id):
            return [] if begun else [ErasureBegun(erasure_id=erasure_id, begun_at=at, email_hash=email_hash)]
        case KeepUser(erasure_id=erasure_id):
            return [UserKept(erasure_id=erasure_id)] if begun == erasure_id else []
        case EraseUser(erasure_id=said):
            if said is not None and said != begun:
                raise Conflict("erasure_ended", "The erasure was ended by another request; begin it again.")
            return [UserErased(email_hash=email_hash, erased_at=at)]


def finish(unfinished: str | None, command: FinishErasure, at: Instant) -> Sequence[ErasureFinished]:
    """For a user who was erased; `unfinished` is the erasure that is not over. Nothing for any other."""
    if unfinished is None or unfinished != command.erasure_id:
        return []
    return [ErasureFinished(erasure_id=unfinished, finished_at=at)]
