"""Uses of API keys by the minute: each minute is on record once, at its largest totals."""

import pytest

from domain.account.api_key_use import COUNT_MAX, ApiKeyUsed, UseApiKey
from domain.account.api_keys import RevokeApiKey
from domain.instant import DAY, MINUTE, SECOND, Instant
from tests.domain.account.asking import account, create_key
from tests.domain.scenario import T0

M0: Instant = T0 - T0 % MINUTE


def use(count: int, refused: int = 0, *, minute: Instant = M0, last_at: Instant | None = None) -> UseApiKey:
    """A minute of key_1."""
    last_at = minute + SECOND if last_at is None else last_at
    return UseApiKey(key_id="key_1", minute=minute, count=count, refused=refused, last_at=last_at)


def test_a_minute_is_recorded_once() -> None:
    """Again with the same or smaller totals it is no news; larger totals replace what was there, and never add up."""
    scenario = account()
    scenario.when(create_key("key_1"))
    assert scenario.when(use(5, 1)) == [ApiKeyUsed(key_id="key_1", minute=M0, count=5, refused=1, last_at=M0 + SECOND)]
    assert scenario.when(use(5, 1)) == []
    assert scenario.when(use(4, 1)) == []
    assert scenario.when(use(4, 2)) == [ApiKeyUsed(key_id="key_1", minute=M0, count=5, refused=2, last_at=M0 + SECOND)]
    assert scenario.when(use(1, minute=M0 + MINUTE))
    assert scenario.replayed() == scenario.state == scenario.snapshot()


def test_a_late_minute_does_not_forget_the_latest() -> None:
    """Reports may come out of order."""
    scenario = account()
    scenario.when(create_key("key_1"))
    scenario.when(use(2, minute=M0))
    assert scenario.when(use(3, minute=M0 - MINUTE))
    assert scenario.when(use(2, minute=M0)) == []


def test_uses_of_a_revoked_key_count() -> None:
    """Its last minute is told after its end."""
    scenario = account()
    scenario.when(create_key("key_1"))
    scenario.when(RevokeApiKey(key_id="key_1"))
    assert scenario.when(use(1))


@pytest.mark.parametrize(
    "command",
    [
        use(1, minute=M0 + 1),
        use(1, minute=-MINUTE),
        use(1, minute=M0 + DAY),
        use(1, last_at=M0 - 1),
        use(1, last_at=M0 + MINUTE),
    ],
)
def test_what_is_no_minute(command: UseApiKey) -> None:
    """Refused."""
    scenario = account()
    scenario.when(create_key("key_1"))
    assert scenario.refused(command).code == "invalid_minute"


def test_what_is_no_count_and_no_key() -> None:
    """Refused."""
    scenario = account()
    assert scenario.refused(use(1)).code == "api_key_not_found"
    scenario.when(create_key("key_1"))
    for command in (use(-1), use(0, -1), use(COUNT_MAX + 1)):
        assert scenario.refused(command).code == "invalid_count"
