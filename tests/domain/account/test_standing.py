"""Suspended accounts begin nothing, and lose nothing that was begun."""

from domain.account.holds import SettleHold
from domain.account.standing import AccountResumed, AccountSuspended, ResumeAccount, SuspendAccount
from tests.domain.account.asking import account_with, add, create_key, place, used
from tests.domain.scenario import T0

SUSPEND = SuspendAccount(reason_sealed="r")


def test_a_suspended_account_begins_nothing_until_it_is_resumed() -> None:
    """No hold and no key; the refusal may be cured, so the same request can be tried again later."""
    scenario = account_with(100)
    assert scenario.when(SUSPEND) == [AccountSuspended(reason_sealed="r", suspended_at=T0)]
    for command in (place("hold_1", 10), create_key("key_1")):
        refused = scenario.refused(command)
        assert (refused.code, refused.kind, refused.curable) == ("account_suspended", "forbidden", True)
    assert scenario.when(ResumeAccount()) == [AccountResumed(resumed_at=T0)]
    assert scenario.when(place("hold_1", 10))
    assert scenario.when(create_key("key_1"))
    assert scenario.replayed() == scenario.state == scenario.snapshot()


def test_what_was_begun_is_settled() -> None:
    """A request under way when the account was suspended is charged; credits can be added."""
    scenario = account_with(100)
    scenario.when(place("hold_1", 10))
    scenario.when(SUSPEND)
    scenario.when(SettleHold(hold_id="hold_1", usage=used(4), latency_ms=1))
    scenario.when(add("g2", 5))
    assert (scenario.state.credits.balance, scenario.state.credits.held) == (101, 0)


def test_what_is_so_already_is_no_event() -> None:
    """A second suspension keeps the first one's reason and moment."""
    scenario = account_with(1)
    assert scenario.when(ResumeAccount()) == []
    scenario.when(SUSPEND)
    assert scenario.when(SuspendAccount(reason_sealed="another"), at=T0 + 1) == []
    assert scenario.answer == {"suspended_at": T0}
    scenario.when(ResumeAccount())
    assert scenario.answer == {"suspended_at": None}
