"""For whom a hold is: told once, kept to its end, and no bytes where it is nobody in particular."""

from msgspec import json, structs

from domain.account.hold_corrections import HoldCorrected
from domain.account.holds import HoldClosed, HoldPlaced, SettleHold
from domain.account.ledger import CHAT, HeldFor
from domain.instant import MINUTE, SECOND
from tests.domain.account.asking import account_with, place, release, settle, used
from tests.domain.scenario import T0, of_type

SOMEBODY = HeldFor(user_id="user_2", project_id="project_1", operation="agent.run", agent_id="agent_1")


def _held_for(it: HeldFor) -> dict[str, str | None]:
    return {name: getattr(it, name) for name in HeldFor.__struct_fields__}


def test_it_is_kept_to_the_end() -> None:
    """Placed, charged, and given back by a late release: every event says it, and so does a replay."""
    scenario = account_with(10)
    asked = structs.replace(place("h", 4), **_held_for(SOMEBODY))
    [placed] = of_type(scenario.when(asked), HoldPlaced)
    [closed] = of_type(scenario.when(settle("h", 3)), HoldClosed)
    [corrected] = of_type(scenario.when(release("h")), HoldCorrected)
    assert _held_for(placed) == _held_for(closed) == _held_for(corrected) == _held_for(SOMEBODY)
    assert scenario.replayed() == scenario.state == scenario.snapshot()


def test_a_late_settle_tells_how_long_it_took() -> None:
    """A settle after the expiry is the only one that knows."""
    scenario = account_with(10)
    scenario.when(place("h", 4, expires_at=T0 + SECOND))
    late = SettleHold(hold_id="h", usage=used(2), latency_ms=700)
    [corrected] = of_type(scenario.when(late, at=T0 + MINUTE), HoldCorrected)
    assert corrected.latency_ms == 700


def test_nobody_in_particular_costs_no_bytes() -> None:
    """The account's own user and the usual operation are not written down: they go without saying."""
    scenario = account_with(10)
    command = place("h", 4)
    events = [*scenario.when(command), *scenario.when(settle("h", 3))]
    for written in map(json.encode, (command, *events)):
        assert not any(name.encode() in written for name in (*HeldFor.__struct_fields__, CHAT))
