"""Throttling of logins: guessers wait longer and longer, others do not."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.errors import ApiError
from api.identity.login_throttle import Allowance, LoginThrottle, network_of

HERE, THERE = "198.51.100.7", "203.0.113.9"


class Clock:
    """Seconds that pass when told to."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        """Now."""
        return self.now


def waits(throttle: LoginThrottle, email: str, address: str) -> int | None:
    """The seconds of `Retry-After`, or `None` when let in."""
    try:
        throttle.enter(email, address)
    except ApiError as error:
        return int(error.headers["Retry-After"]) if (error.code, error.status) == ("too_many_attempts", 429) else -1
    return None


def test_waits_double() -> None:
    """After five failures the next waits a second, then two, then four, up to a quarter of an hour."""
    clock = Clock()
    throttle = LoginThrottle(clock=clock)
    for _ in range(5):
        assert waits(throttle, "ada", HERE) is None
    seen = []
    for _ in range(12):
        wait = waits(throttle, "ada", HERE)
        assert wait is not None
        seen.append(wait)
        clock.now += wait
        assert waits(throttle, "ada", HERE) is None
    assert seen == [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 900, 900]


def test_nobody_is_locked_out_elsewhere() -> None:
    """However often a guesser fails from one address, the user logs in from another."""
    throttle = LoginThrottle(clock=Clock())
    while waits(throttle, "ada", HERE) is None:
        pass
    assert waits(throttle, "ada", THERE) is None


def test_success_clears_the_pair() -> None:
    """Who gets in after some failures starts from nothing."""
    throttle = LoginThrottle(clock=Clock())
    for _ in range(4):
        throttle.enter("ada", HERE)
    throttle.succeeded(throttle.enter("ada", HERE))
    for _ in range(5):
        assert waits(throttle, "ada", HERE) is None


def test_own_success_does_not_clear_the_address() -> None:
    """A guesser cannot clean the address's slate by logging in to an account of its own."""
    throttle = LoginThrottle(address=Allowance(free=10, first_s=60.0, longest_s=60.0), clock=Clock())
    for number in range(10):
        throttle.enter(f"user {number}", HERE)
        if number < 9:
            throttle.succeeded(throttle.enter("mine", HERE))
    assert waits(throttle, "user 11", HERE) == 60


def test_parallel_attempts_all_count() -> None:
    """Attempts that are under way count: a hundred at once are not one."""
    throttle = LoginThrottle(clock=Clock())
    let_in = [waits(throttle, "ada", HERE) is None for _ in range(100)]
    assert sum(let_in) == 5


def test_withdrawn_attempts_do_not_count() -> None:
    """An attempt whose password was never looked at leaves no trace."""
    throttle = LoginThrottle(clock=Clock())
    for _ in range(100):
        throttle.withdrawn(throttle.enter("ada", HERE))
    assert waits(throttle, "ada", HERE) is None


def test_forgotten_after_an_hour() -> None:
    """Failures of long ago do not count."""
    clock = Clock()
    throttle = LoginThrottle(clock=clock)
    while waits(throttle, "ada", HERE) is None:
        pass
    clock.now += 3600
    assert waits(throttle, "ada", HERE) is None


@given(st.lists(st.tuples(st.text(max_size=3), st.ip_addresses().map(str)), max_size=60))
def test_memory_is_bounded(attempts: list[tuple[str, str]]) -> None:
    """Whoever comes from wherever, no more than the bound is remembered."""
    throttle = LoginThrottle(clock=Clock(), remembered_max=5)
    for email, address in attempts:
        waits(throttle, email, address)
    assert len(throttle._pairs._rows) <= 5
    assert len(throttle._networks._rows) <= 5


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::"),
        ("2001:db8:1:2:ffff::1", "2001:db8:1:2::"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("unix", "unix"),
    ],
)
def test_addresses_are_counted_by_network(address: str, network: str) -> None:
    """An IPv6 household is one guesser, and IPv4 has one form."""
    assert network_of(address) == network
