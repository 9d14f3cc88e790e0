"""What a read model is: which events it folds into which document, and how documents are listed."""

from collections.abc import Callable, Sequence
from typing import Any, Generic, TypeVar

import msgspec
from msgspec import Struct

from domain.message import Event
from domain.recorded import Recorded

D = TypeVar("D", bound=Struct)


class CannotFold(Exception):
    """A read model cannot fold an event: a bug in it, or an event that should not be there."""


class Projection(Generic[D]):
    """One collection of documents, each folded from the events of exactly one stream.

    `key(recorded)` names the document that an event changes, or `None`; `evolve(document, recorded)` answers the new
    document, or `None` to remove it. Both are pure. `owner(document)` and `sort(document)` are the columns that
    listings use: an account's or user's id, and a text that sorts as the listing should.
    """

    def __init__(
        self,
        *,
        collection: str,
        version: int,
        document: type[D],
        events: Sequence[type[Event]],
        key: Callable[[Recorded], str | None],
        evolve: Callable[[D | None, Recorded], D | None],
        owner: Callable[[D], str],
        sort: Callable[[D], str] = lambda _document: "",
        begun_by: Sequence[type[Event]] = (),
        done: Callable[[D], bool] | None = None,
        written_once: bool = False,
        found_by_key: bool = False,
        followed: bool = False,
        listed: bool = True,
        listed_everywhere: bool = False,
    ) -> None:
        self.collection = collection
        self.version = version
        """Raised when the fold or the document changes: `rebuild` makes the new one beside the live one."""
        self.document = document
        self.events = frozenset(events)
        self.key = key
        self.evolve = evolve
        self.owner = owner
        self.sort = sort
        self.begun_by = frozenset(begun_by)
        """Events whose document is the same whatever was there before: a worker need not look for an earlier one."""
        self.done = done
        """Tells that a document will hardly change again: a worker does not keep it at hand."""
        self.written_once = written_once
        """Hardly any document is ever changed: the pages of its table keep no room for that."""
        self.found_by_key = found_by_key
        """Documents are also looked up by key alone, where the reader cannot know the stream."""
        self.followed = followed
        """Readers ask for what is newer than a position (`DocumentReader.newer`)."""
        self.listed = listed and not listed_everywhere
        """An owner's documents of one shard are listed together (`DocumentReader.page`)."""
        self.listed_everywhere = listed_everywhere
        """An owner's documents lie in many shards, and are listed together (`DocumentReader.page_everywhere`)."""
        self.encode: Callable[[D], bytes] = msgspec.json.Encoder().encode
        """The document as JSON."""
        self.decode: Callable[[bytes], D] = msgspec.json.Decoder(document).decode
        """The document of its JSON."""

    def fold(self, document: D | None, recorded: Sequence[Recorded]) -> D | None:
        """The document after all these events of it, in their order. `CannotFold` names the event."""
        for each in recorded:
            try:
                document = self.evolve(document, each)
            except Exception as error:
                raise self.cannot_fold(each) from error
        return document

    def cannot_fold(self, recorded: Recorded) -> CannotFold:
        """The error that names an event."""
        event = type(recorded.event).__name__
        return CannotFold(f"{self.collection} cannot fold {event}, version {recorded.version} of {recorded.stream}")


AnyProjection = Projection[Any]
