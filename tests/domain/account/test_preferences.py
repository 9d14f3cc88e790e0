"""Preferences: what is left out stays, what is so already is no event, nonsense is refused."""

import pytest

from domain.account.preferences import PreferencesChanged, SetPreferences
from domain.money import AMOUNT_MAX, MICRO
from tests.domain.account.asking import account
from tests.domain.scenario import T0


def test_each_is_set_alone() -> None:
    """What is left out stays as it was; the event says all."""
    scenario = account()
    assert scenario.when(SetPreferences(time_zone="Europe/Berlin")) == [
        PreferencesChanged(time_zone="Europe/Berlin", low_balance=MICRO, changed_at=T0)
    ]
    assert scenario.when(SetPreferences(low_balance=5)) == [
        PreferencesChanged(time_zone="Europe/Berlin", low_balance=5, changed_at=T0)
    ]
    assert scenario.answer == {"time_zone": "Europe/Berlin", "low_balance": 5}
    assert scenario.replayed() == scenario.state == scenario.snapshot()


def test_what_is_so_already_is_no_event() -> None:
    """Nor is a change of nothing."""
    scenario = account()
    assert scenario.when(SetPreferences()) == []
    assert scenario.when(SetPreferences(time_zone="UTC", low_balance=MICRO)) == []


@pytest.mark.parametrize("zone", ["", "a b", "../etc/passwd", "Europe/Zürich", "x" * 65, "/UTC"])
def test_what_is_no_name_is_refused(zone: str) -> None:
    """Whether there is such a zone is for the API to know; the domain keeps no nonsense."""
    assert account().refused(SetPreferences(time_zone=zone)).code == "invalid_time_zone"


@pytest.mark.parametrize("amount", [-1, AMOUNT_MAX + 1])
def test_amounts_are_bounded(amount: int) -> None:
    """Neither negative nor beyond what an amount can be."""
    assert account().refused(SetPreferences(low_balance=amount)).code == "invalid_amount"
