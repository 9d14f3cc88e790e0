"""A sliding window that never forgets too early: what counts is every slice that the window still touches.

Sixty slices make a window. It covers the slice that is under way and the sixty before it, so a request counts for at
least the window's length and at most one slice (1/60) longer: no span of a window's length ever sees more than the
limit, and somebody who asks at an even pace gets at least 60/61 of it. Time is monotonic seconds; what a wall clock
does, here or at the store, moves nothing.
"""

from array import array

SLICES = 60
_RING = SLICES + 1


class Window:
    """Counts of one subject by slice, in a ring; 400 bytes."""

    __slots__ = ("_counts", "_head", "_oldest", "frees_at", "slice_s", "total", "turns_at")

    def __init__(self, length_s: float, now_s: float) -> None:
        self.slice_s = length_s / SLICES
        self._counts = array("I", bytes(4 * _RING))
        self._head = self._oldest = int(now_s / self.slice_s)
        self.total = 0
        """What counts, as of the last `advance`."""
        self.turns_at = 0.0
        """Until then `advance` would find nothing to do."""
        self.frees_at = 0.0
        """When the oldest of what counts no longer does; 0 when nothing counts."""
        self._turned()

    def advance(self, now_s: float) -> int:
        """Lets go of what the window no longer touches; answers the total. A clock that went back changes nothing."""
        head = int(now_s / self.slice_s)
        if head <= self._head:
            return self.total
        counts, gone = self._counts, min(head - self._head, _RING)
        for slot in range(head - gone + 1, head + 1):
            place = slot % _RING
            self.total -= counts[place]
            counts[place] = 0
        self._head = head
        self._oldest = max(self._oldest, head - SLICES)
        self._turned()
        return self.total

    def _turned(self) -> None:
        """Finds the oldest that counts, after slices have come or gone."""
        counts, slot = self._counts, self._oldest
        while slot < self._head and counts[slot % _RING] == 0:
            slot += 1
        self._oldest = slot
        self.turns_at = (self._head + 1) * self.slice_s
        self.frees_at = (slot + _RING) * self.slice_s if self.total else 0.0

    def add(self, count: int = 1) -> None:
        """Counts requests of this moment, which `advance` has been told."""
        self._counts[self._head % _RING] += count
        if self.total == 0:
            self._oldest = self._head
            self.frees_at = (self._head + _RING) * self.slice_s
        self.total += count

    def spread(self, count: int, begun_s_ago: float, ended_s_ago: float = 0.0) -> None:
        """Counts requests that came evenly in a time that is past; what of it the window has left does not count."""
        oldest, newest = self._head - int(begun_s_ago / self.slice_s), self._head - int(ended_s_ago / self.slice_s)
        first = max(oldest, self._head - SLICES)
        if count <= 0 or newest < first:
            return
        count = -(-count * (newest - first + 1) // (newest - oldest + 1))
        each, rest = divmod(count, newest - first + 1)
        for slot in range(first, newest + 1) if each else ():
            self._counts[slot % _RING] += each
        self._counts[newest % _RING] += rest
        self._oldest = min(self._oldest, first if each else newest)
        self.total += count
        self._turned()

    def frees_in_s(self, now_s: float, wanted: int = 1) -> float:
        """Seconds until `wanted` of what counts no longer does; 0 when nothing counts."""
        if self.total == 0:
            return 0.0
        counts, slot = self._counts, self._oldest
        freed = counts[slot % _RING]
        while freed < wanted and slot < self._head:
            slot += 1
            freed += counts[slot % _RING]
        return max((slot + _RING) * self.slice_s - now_s, 0.0)
