"""All windows of this process: admits or refuses at once, and keeps what the other processes have to be told.

What another process has admitted is known a tenth of a second later. Until then each hands out a share of what was
left when it last asked: a quarter of an even one. Whoever has used up its share asks again before it admits more (see
`exchange.py`). So P processes together admit at most L + (P - 1) * ceil(L / 4P) under a limit L, in any span of a
window's length; and L where one process alone is asked.
"""

import math
from collections import OrderedDict
from collections.abc import Callable, Iterable
from time import monotonic

from msgspec import Struct

from api.rate_limits.rules import Allowance, Rule
from api.rate_limits.window import Window
from domain.instant import SECOND
from eventstore.rates import NOTHING, Count, RateDelta, RateExchange, RateTotal

ENTRIES_MAX = 20_000
"""Windows at once, some 12 MB; the least recently used goes first, and what it counted was told long before."""
SHARE = 4
"""Into how many parts an even share is cut: more cost more exchanges near a limit, fewer let more pass beyond it."""
WATCHED_S = 1.0
"""How long after a request the others' counts are still asked for, so that each of their bursts is seen in its time."""
FRESH_S = 1.0
"""What was known of others longer ago is no base for a share: others may have admitted anything since."""


class State(Struct, frozen=True, kw_only=True, gc=False):
    """One limit, right after a decision: `remaining` requests, and in `frees_in_s` there will be more."""

    rule: Rule
    limit: int
    remaining: int
    frees_in_s: float


class Verdict(Struct, frozen=True, kw_only=True, gc=False):
    """`refused` is the limit that said no. `unsure`: nothing was counted; ask the others first, then again."""

    states: list[State]
    refused: State | None = None
    unsure: bool = False


class _Entry:
    """What this process knows of one subject and window."""

    __slots__ = (
        "admitted",
        "cell",
        "known",
        "learned_at",
        "limit",
        "poke_at",
        "refused",
        "rule",
        "shared_at",
        "spare",
        "touched",
        "touched_at",
        "window",
    )

    def __init__(self, rule: Rule, now_s: float) -> None:
        self.rule = rule
        self.window = Window(rule.window_s, now_s)
        self.limit = 0
        self.spare = self.poke_at = 0
        """How many more may be admitted before the others are asked, and when it is time to ask in good time."""
        self.touched = False
        self.shared_at = self.learned_at = self.touched_at = -math.inf
        self.cell = -1
        self.known = NOTHING
        """The store's count in `cell` as it was last read."""
        self.admitted = self.refused = 0
        """What was not told yet."""

    def share(self, processes: int, now_s: float) -> None:
        """Sets the share of what is left now; what was not told yet is part of it."""
        left = max(self.limit - self.window.total, 0) + self.admitted
        self.spare = math.ceil(left / (SHARE * processes)) - self.admitted
        self.poke_at = self.spare // 2
        self.shared_at = now_s


class RateLimiter:
    """`take` decides. `tell` is what an exchange carries off, `learn` or `untold` what became of it.

    `clock` is monotonic seconds. `processes` and `alone` are kept by the exchange.
    """

    def __init__(self, *, clock: Callable[[], float] = monotonic, entries_max: int = ENTRIES_MAX) -> None:
        self.clock = clock
        self.processes = 1
        """How many processes share the limits, as last heard."""
        self.alone = False
        """The store is away: each process keeps to its part of every limit."""
        self.poke: Callable[[], None] = lambda: None
        """Called when it is time to ask the others."""
        self._entries_max = entries_max
        self._entries: OrderedDict[tuple[str, int], _Entry] = OrderedDict()
        self._touched: list[_Entry] = []

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def active(self) -> int:
        """Windows that the next exchange is about."""
        return len(self._touched)

    def take(self, allowance: Allowance, *, final: bool = False) -> Verdict:
        """Counts one request if every rule allows it, else none.

        `final` is never `unsure`: the others could not be heard, so this process keeps to its part of every limit.
        """
        now_s, known = self.clock(), self._entries
        entries: list[_Entry] = []
        refused: State | None = None
        divided = self.processes > 1 and (final or self.alone)
        unsure, shared = False, self.processes > 1 and not divided
        for rule in allowance.rules:
            entry = known.get(rule.key)
            if entry is None or entry.rule is not rule:
                entry = self._entry(rule, now_s)
            known.move_to_end(rule.key)
            entries.append(entry)
            limit = rule.limit
            if limit is None:
                continue
            entry.limit = limit = self._part_of(limit) if divided else limit
            window = entry.window
            left = limit - (window.total if now_s < window.turns_at else window.advance(now_s))
            if left <= 0 and refused is None:
                wait_s = window.frees_in_s(now_s, 1 - left) or rule.window_s
                refused = State(rule=rule, limit=limit, remaining=0, frees_in_s=wait_s)
            elif shared and not unsure:
                unsure = self._must_ask(entry, now_s)
        if refused is None and unsure:
            for entry in entries:
                self._touch(entry, now_s)
            return Verdict(states=[], unsure=True)
        if refused is None:
            self._count(entries, now_s, shared=shared)
        else:
            for entry in entries:
                self._touch(entry, now_s)
                entry.refused += entry.rule.reported
        return Verdict(states=_standing(entries, now_s), refused=refused)

    def refused(self, allowance: Allowance) -> None:
        """Counts a request that was let through and then refused for another limit, where such counts are reported."""
        now_s = self.clock()
        for entry in [self._entry(rule, now_s) for rule in allowance.rules if rule.reported]:
            self._touch(entry, now_s)
            entry.refused += 1

    def peek(self, allowance: Allowance) -> list[State]:
        """How the limits stand, counting nothing."""
        now_s = self.clock()
        entries = [self._entry(rule, now_s) for rule in allowance.rules]
        for entry in entries:
            entry.limit = self._part_of(entry.rule.limit or 0) if self.alone else entry.rule.limit or 0
            entry.window.advance(now_s)
        return _standing(entries, now_s)

    def used_up(self, allowance: Allowance) -> State | None:
        """The first limit that would refuse one more request, if any does; counts nothing."""
        now_s = self.clock()
        for rule in allowance.rules:
            if rule.limit is None:
                continue
            window = self._entry(rule, now_s).window
            limit = self._part_of(rule.limit) if self.alone else rule.limit
            if window.advance(now_s) >= limit:
                return State(rule=rule, limit=limit, remaining=0, frees_in_s=max(window.frees_at - now_s, 0.0))
        return None

    def _part_of(self, limit: int) -> int:
        """This process's part of a limit, while the others cannot be heard."""
        return max(limit // self.processes, min(limit, 1))

    def _must_ask(self, entry: _Entry, now_s: float) -> bool:
        """Whether this process's share is used up."""
        if now_s - entry.shared_at > FRESH_S:
            entry.share(self.processes, now_s)
        return entry.spare <= 0

    def _count(self, entries: Iterable[_Entry], now_s: float, *, shared: bool) -> None:
        for entry in entries:
            if not entry.touched:
                self._touch(entry, now_s)
            entry.touched_at = now_s
            entry.admitted += 1
            if entry.rule.limit is not None:
                entry.window.add()
                entry.spare -= 1
                if shared and entry.spare == entry.poke_at:
                    self.poke()

    def _touch(self, entry: _Entry, now_s: float) -> None:
        """Makes it a matter of the next exchange."""
        entry.touched_at = now_s
        if not entry.touched:
            entry.touched = True
            self._touched.append(entry)

    def _entry(self, rule: Rule, now_s: float) -> _Entry:
        entry = self._entries.get(rule.key)
        if entry is not None:
            entry.rule = rule
            return entry
        entry = self._entries[rule.key] = _Entry(rule, now_s)
        while len(self._entries) > self._entries_max and self._drop_one():
            pass
        return entry

    def _drop_one(self) -> bool:
        """Drops the least recently used; one that was not told yet stays, until there are twice as many."""
        key, oldest = next(iter(self._entries.items()))
        if (oldest.admitted or oldest.refused) and len(self._entries) <= 2 * self._entries_max:
            return False
        del self._entries[key]
        return True

    def tell(self, count_max: int) -> list[RateDelta]:
        """What was counted and is not told yet, and a question about each that was busy within the last second."""
        now_s, told = self.clock(), self._touched[:count_max]
        del self._touched[:count_max]
        told = [entry for entry in told if self._entries.get(entry.rule.key) is entry]
        deltas = [self._delta(entry, now_s) for entry in told]
        for entry in told:
            entry.touched = now_s - entry.touched_at < WATCHED_S and entry.rule.limit is not None
        self._touched += [entry for entry in told if entry.touched]
        return deltas

    def _delta(self, entry: _Entry, now_s: float) -> RateDelta:
        rule, admitted, refused = entry.rule, entry.admitted, entry.refused
        if rule.limit is not None:
            # After an outage: what no window counts any more is nobody's business.
            admitted = min(admitted, entry.window.advance(now_s))
        entry.admitted = entry.refused = 0
        return RateDelta(
            subject=rule.subject, window_s=rule.window_s, admitted=admitted, refused=refused, reported=rule.reported
        )

    def untold(self, deltas: Iterable[RateDelta]) -> None:
        """Takes back what could not be told: it may have arrived, but counting it twice is the safe side."""
        for delta in deltas:
            entry = self._entries.get((delta.subject, delta.window_s))
            if entry is not None:
                entry.admitted += delta.admitted
                entry.refused += delta.refused
                self._touch(entry, entry.touched_at)

    def learn(self, deltas: Iterable[RateDelta], exchange: RateExchange) -> None:
        """Counts what others have admitted since this process last asked, and shares out what is left."""
        self.processes = exchange.processes
        told = {(delta.subject, delta.window_s): delta.admitted for delta in deltas}
        now_s = self.clock()
        for total in exchange.totals:
            key = (total.subject, total.window_s)
            entry = self._entries.get(key)
            if entry is not None:
                self._learn(entry, total, told.get(key, 0), exchange.at, now_s)

    def _learn(self, entry: _Entry, total: RateTotal, mine: int, at: int, now_s: float) -> None:
        window, length_s = entry.window, float(total.window_s)
        window.advance(now_s)
        forgotten = now_s - entry.learned_at > length_s
        begun_s = at / SECOND - total.cell * length_s
        now, before = total.now, total.before
        if not forgotten and total.cell == entry.cell:
            now, before = now.less(entry.known), NOTHING  # a cell that is over never changes
        elif not forgotten and total.cell == entry.cell + 1:
            before = before.less(entry.known)
        elif not forgotten and total.cell < entry.cell:
            now = before = NOTHING  # the store's clock was put back: these cells were counted in their time
        now = now.less(Count(admitted=mine, offsets_ms=int(mine * begun_s * 1_000)))
        unseen_s = now_s - entry.learned_at
        _count_others(window, now, begun_s, begun_s, min(unseen_s, begun_s))
        _count_others(window, before, begun_s + length_s, length_s, min(unseen_s - begun_s, length_s))
        entry.cell, entry.known, entry.learned_at = total.cell, total.now, now_s
        entry.share(self.processes, now_s)


def _count_others(window: Window, count: Count, begun_s_ago: float, length_s: float, unseen_s: float) -> None:
    """Counts what came evenly around its mean time in the unseen end of a cell, or of the part of it that is over."""
    if count.admitted <= 0:
        return
    mean_s = count.offsets_ms / 1_000 / count.admitted
    reach_s = max(min(mean_s - (length_s - unseen_s), length_s - mean_s), 0.0)
    middle_s_ago = min(max(begun_s_ago - mean_s, 0.0), begun_s_ago)
    window.spread(count.admitted, middle_s_ago + reach_s, max(middle_s_ago - reach_s, 0.0))


def _standing(entries: Iterable[_Entry], now_s: float) -> list[State]:
    """How each limit stands; a window in which nothing counts has nothing to free."""
    return [
        State(
            rule=entry.rule,
            limit=entry.limit,
            remaining=max(entry.limit - entry.window.total, 0),
            frees_in_s=max(entry.window.frees_at - now_s, 0.0),
        )
        for entry in entries
        if entry.rule.limit is not None
    ]
