"""Dead letters and streams in quarantine."""

from msgspec.structs import replace

from eventstore.memory.tables import Tables
from eventstore.records import DeadLetter


class DeadLetters(Tables):
    """See `store.DeadLetterStore`."""

    async def dead_letters(self, *, state: str = "open", limit: int = 100) -> list[DeadLetter]:
        """See `store.DeadLetterStore`."""
        found = [letter for letter in self._dead_letters.values() if letter.state == state]
        oldest = sorted(found, key=lambda letter: (letter.at, *letter.place))[:limit]
        return [replace(letter, record=b"") for letter in oldest]

    async def dead_letter(self, shard: int, epoch: int, offset: int) -> DeadLetter | None:
        """See `store.DeadLetterStore`."""
        return self._dead_letters.get((shard, epoch, offset))

    async def set_aside(self, shard: int, stream: str, limit: int) -> list[DeadLetter]:
        """See `store.DeadLetterStore`."""
        return self._set_aside(shard, stream)[:limit]

    async def count_set_aside(self, shard: int, stream: str) -> int:
        """See `store.DeadLetterStore`."""
        return len(self._set_aside(shard, stream))

    def _set_aside(self, shard: int, stream: str) -> list[DeadLetter]:
        wanted = (shard, stream, "quarantined", "open")
        letters = self._dead_letters.values()
        found = [each for each in letters if (each.shard, each.stream, each.reason, each.state) == wanted]
        return sorted(found, key=lambda letter: letter.place)

    async def quarantined(self) -> list[str]:
        """See `store.DeadLetterStore`."""
        return sorted(name for name, head in self.heads.items() if head.quarantined)
