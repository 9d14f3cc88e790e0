"""What `verify` has found: how many differences of which kind, and the first of them in words."""

from collections import Counter

SHOWN_MAX = 100


class Findings:
    """Differences between what is stored and what the log says. Counts all, keeps the text of the first."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.shown: list[str] = []
        self.notes: Counter[str] = Counter()
        """Numbers that are no differences, such as streams and open dead letters."""

    def add(self, kind: str, place: str, detail: str, *, count: int = 1) -> None:
        """Notes a difference at a place."""
        self.counts[kind] += count
        if len(self.shown) < SHOWN_MAX:
            self.shown.append(f"  {kind}: {place}: {detail}")

    def note(self, what: str, count: int = 1) -> None:
        """Counts something that is as it should be, or that the operator knows of."""
        self.notes[what] += count

    def report(self) -> str:
        """The summary, and below it each difference that was kept."""
        seen = ", ".join(f"{count:,} {what}" for what, count in self.notes.items())
        if not self.counts:
            return f"verified: {seen}; no difference"
        kinds = ", ".join(f"{count:,} × {kind}" for kind, count in self.counts.most_common())
        lines = [f"verified: {seen}", f"DIFFERENCES: {kinds}", *self.shown]
        hidden = self.counts.total() - len(self.shown)
        return "\n".join(lines) + (f"\n  … and {hidden:,} more" if hidden > 0 else "")
