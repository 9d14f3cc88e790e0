"""What can go wrong below the domain. None of these is the client's fault.

StoreError
├── Fenced            a shard of the round belongs to another worker by now: drop it, commit nothing
├── VersionConflict   a stream head moved: decide the batch again
├── DataError         one of the rows can never be written: find the culprit
├── KeyErased         the subject of a data key was erased: there is none, and never will be
├── Unavailable       the store cannot be reached: pause and try again
└── Unmigrated        the store's tables are missing, or of another release: run `python -m worker migrate`
Undecodable           bytes that are no command; they go to the dead letters
UnknownType           a well-formed command of a newer release; its shard is given back
"""

from collections.abc import Iterable


class StoreError(Exception):
    """The root of what a store raises."""


class Fenced(StoreError):
    """These shards are not this worker's any more."""

    def __init__(self, shards: Iterable[int]) -> None:
        self.shards = frozenset(shards)
        super().__init__(f"shards {sorted(self.shards)} belong to another worker")


class VersionConflict(StoreError):
    """A stream has another version than the batch was decided on, or two batches claimed in a deadly embrace."""


class DataError(StoreError):
    """The database refuses a value of the batch; it would refuse it every time."""


class Unavailable(StoreError):
    """The database cannot be reached, or ended the connection. What was not committed did not happen."""


class Unmigrated(StoreError):
    """The tables are missing, or do not fit this release."""


class KeyErased(StoreError):
    """The subject was erased: it has no data key, and never gets one again."""


class Undecodable(Exception):
    """Bytes that are no command envelope."""


class UnknownType(Exception):
    """A command or event type that this release does not know."""
