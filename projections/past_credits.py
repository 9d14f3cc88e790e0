"""An account's credits as they were at a moment, by the same fold that keeps the read model of now."""

from domain.account.ledger import Ledger
from domain.instant import Instant
from domain.recorded import Recorded
from eventstore.past import Past, read_past
from eventstore.shards import shard_of
from eventstore.store import LogStore
from projections.credits import PROJECTION, CreditsView


async def credits_at(
    log: LogStore, shards: int, account_id: str, at: Instant, *, events_max: int
) -> tuple[CreditsView, Past]:
    """The credits at `at`, what was due by then included. `TooLong` where that is more than `events_max` events.

    Both the account and its read model are folded from the log: the one knows what was due, the other what is shown.
    """
    stream = f"account:{account_id}"
    view = CreditsView(account_id=account_id)

    def seen(recorded: Recorded) -> None:
        nonlocal view
        if type(recorded.event) in PROJECTION.events:
            view = PROJECTION.evolve(view, recorded) or view

    past = await read_past(log, shard_of(stream, shards), stream, at, seen=seen, events_max=events_max)
    for recorded in past.due:
        seen(recorded)
    ledger: Ledger = past.state.credits
    assert (view.balance, view.held, view.debt) == (ledger.balance, ledger.held, ledger.debt), "two folds of one log"
    return view, past
