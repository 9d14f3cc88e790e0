"""What was written last, up to so many bytes of memory: a worker's caches are bounded whatever their contents hold."""

from collections import OrderedDict
from collections.abc import Iterator
from typing import Generic, TypeVar

K = TypeVar("K")
V = TypeVar("V")


class Recent(Generic[K, V]):
    """Keeps values with their sizes; what was put in longest ago goes first. The last one stays, however large.

    Not in a plain dict: whoever asks that for its oldest passes every place that was emptied before it.
    """

    def __init__(self, bytes_max: int) -> None:
        self._bytes_max = bytes_max
        self._kept: OrderedDict[K, tuple[V, int]] = OrderedDict()
        self.size_bytes = 0
        """Of all values, as they were told when they were put in."""

    def __contains__(self, key: K) -> bool:
        return key in self._kept

    def __len__(self) -> int:
        return len(self._kept)

    def get(self, key: K) -> V | None:
        """The value, if it is here."""
        found = self._kept.get(key)
        return None if found is None else found[0]

    def items(self) -> Iterator[tuple[K, V]]:
        """All of them, oldest first."""
        for key, (value, _) in self._kept.items():
            yield key, value

    def put(self, key: K, value: V, size_bytes: int) -> None:
        """Keeps a value as the newest."""
        before = self._kept.pop(key, None)
        self._kept[key] = (value, size_bytes)
        self.size_bytes += size_bytes if before is None else size_bytes - before[1]

    def drop(self, key: K) -> None:
        """Forgets a value, if it is here."""
        found = self._kept.pop(key, None)
        if found is not None:
            self.size_bytes -= found[1]

    def trim(self) -> None:
        """Forgets the oldest until the rest keeps within the bound."""
        while self.size_bytes > self._bytes_max and len(self._kept) > 1:
            _, (_, size_bytes) = self._kept.popitem(last=False)
            self.size_bytes -= size_bytes
