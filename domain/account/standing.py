"""Whether an account may do anything new. An admin suspends and resumes it; what was begun is still settled."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, TypeAlias

from msgspec import Struct

from domain.aggregate import Answer
from domain.errors import Suspended
from domain.instant import Instant
from domain.message import Command, Event

if TYPE_CHECKING:
    from domain.account.account import Account


class SuspendAccount(Command, frozen=True, kw_only=True, tag="account.suspend"):
    """Stops the account. The reason is sealed by the API, under the account's own key."""

    category = "account"
    reason_sealed: str


class ResumeAccount(Command, frozen=True, kw_only=True, tag="account.resume"):
    """Lets the account go on."""

    category = "account"


class AccountSuspended(Event, frozen=True, kw_only=True, tag="account.suspended"):
    """The account does nothing new from now on."""

    reason_sealed: str
    suspended_at: Instant


class AccountResumed(Event, frozen=True, kw_only=True, tag="account.resumed"):
    """The account goes on."""

    resumed_at: Instant


class Standing(Struct, kw_only=True):
    """Since when the account is suspended, if it is."""

    suspended_at: Instant | None = None


COMMANDS = (SuspendAccount, ResumeAccount)
EVENTS = (AccountSuspended, AccountResumed)
StandingCommand: TypeAlias = SuspendAccount | ResumeAccount
StandingEvent: TypeAlias = AccountSuspended | AccountResumed


def decide(account: "Account", command: StandingCommand, at: Instant) -> Sequence[StandingEvent]:
    """Nothing where it is so already: a suspension keeps its first reason and moment."""
    suspended = account.standing.suspended_at is not None
    match command:
        case SuspendAccount(reason_sealed=reason):
            return [] if suspended else [AccountSuspended(reason_sealed=reason, suspended_at=at)]
        case ResumeAccount():
            return [AccountResumed(resumed_at=at)] if suspended else []


def require_good(account: "Account") -> None:
    """`Suspended` while the account is: for commands that begin something new."""
    if account.standing.suspended_at is not None:
        raise Suspended("account_suspended", "The account is suspended.")


def evolve(standing: Standing, event: StandingEvent) -> None:
    """Writes a suspension or its end down."""
    standing.suspended_at = event.suspended_at if isinstance(event, AccountSuspended) else None


def answer(account: "Account", _command: StandingCommand, _events: Sequence[Event]) -> Answer:
    """How the account stands now."""
    return {"suspended_at": account.standing.suspended_at}
