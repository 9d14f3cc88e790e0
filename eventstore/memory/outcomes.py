"""Outcomes of commands."""

from collections.abc import Iterable

from msgspec.structs import replace

from domain.instant import Instant
from eventstore.memory.tables import Tables
from eventstore.records import SECRET_KEPT, Outcome, Refusal


class Outcomes(Tables):
    """See `store.LogStore`."""

    async def read_outcomes(self, ids: Iterable[tuple[int, str]]) -> dict[str, Outcome]:
        """See `store.LogStore`."""
        return {found.command_id: found for _, each in ids if (found := self._outcomes.get(each)) is not None}

    def forget_secrets(self, at: Instant) -> int:
        """Deletes secrets of outcomes that are past their time; answers how many."""
        stale = [each for each in self._outcomes.values() if each.secret is not None and each.at <= at - SECRET_KEPT]
        self._outcomes |= {outcome.command_id: replace(outcome, secret=None) for outcome in stale}
        return len(stale)

    async def refusals(self, account: str, *, limit: int, after: tuple[Instant, str] | None = None) -> list[Refusal]:
        """See `store.LogStore`."""
        found = [each for each in self._refusals.values() if each.account == account]
        behind = [each for each in found if after is None or (each.at, each.command_id) < after]
        return sorted(behind, key=lambda each: (each.at, each.command_id, each.attempt), reverse=True)[:limit]
