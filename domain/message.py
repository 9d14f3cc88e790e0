"""The two kinds of message: commands ask, events tell. Both are tagged structs with tags written out."""

from typing import ClassVar

from msgspec import Struct

from domain.errors import Conflict


class Claim(Struct, frozen=True, kw_only=True):
    """A value that one stream alone may hold, such as an email address (by its HMAC, never in plaintext)."""

    kind: str
    value: str
    code: str
    message: str
    held: bool = True
    """False: taken only while the command is decided, so that nobody who holds it comes in between."""

    def refused(self) -> Conflict:
        """The refusal that the loser of the claim receives."""
        return Conflict(self.code, self.message)


class Erasure(Struct, frozen=True, kw_only=True):
    """What goes in the very transaction of an event that erases."""

    subjects: tuple[str, ...]
    """Whose data keys go: everything that is sealed for them can never be opened again."""
    claims: tuple[tuple[str, str], ...]
    """(kind, value) of the unique values that the stream gives up."""


class Command(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="type", gc=False):
    """Asks one stream to do something. Subclasses write their tag out (`tag="credits.add"`)."""

    category: ClassVar[str]
    """The streams it is for: `account` for `account:{id}`."""
    shed: ClassVar[bool] = True
    """May be refused while the worker is far behind. False for what must never be lost: settle, release, progress."""

    def claims(self) -> tuple[Claim, ...]:
        """Unique values that are taken, in sorted order, before the command is decided."""
        return ()

    def secret(self) -> str | None:
        """A sealed secret that the answer shows once; kept in the outcome for 24 hours, never in an event."""
        return None


class Event(Struct, frozen=True, kw_only=True, tag_field="type", gc=False):
    """Tells what happened, with results and never inputs, so that a replay looks nothing up."""

    schema_version: ClassVar[int] = 1

    def erasure(self, entity_id: str) -> Erasure | None:  # noqa: ARG002  # only those that erase need it
        """What the event makes unreadable and gives up, if anything; its stream is that of `entity_id`."""
        return None
