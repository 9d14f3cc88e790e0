"""Nobody's mailbox is flooded through us."""

import pytest

from api.errors import ApiError
from api.mail.mail_pace import MAILS_MAX, WINDOW_S, MailPace


class Clock:
    """Monotonic seconds that pass when told to."""

    now = 100.0

    def __call__(self) -> float:
        """Now."""
        return self.now


def test_mails_to_one_address_are_few() -> None:
    """Refused ones do not count, others are not held up, and time lets it go on."""
    clock = Clock()
    pace = MailPace(clock)
    for _ in range(MAILS_MAX):
        pace.admit("a")
        clock.now += 1
    for _ in range(3):
        with pytest.raises(ApiError) as refused:
            pace.admit("a")
        assert (refused.value.status, refused.value.headers["Retry-After"]) == (429, str(int(WINDOW_S) - MAILS_MAX))
    pace.admit("b")
    clock.now = 100.0 + WINDOW_S
    pace.admit("a")
    with pytest.raises(ApiError):
        pace.admit("a")


def test_memory_is_bounded() -> None:
    """The least recently used are forgotten."""
    pace = MailPace(remembered_max=10)
    for number in range(100):
        pace.admit(str(number))
    assert len(pace._sent) == 10
