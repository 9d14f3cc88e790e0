"""Windows of quotas under every change of the zone: never more than one quota for one day."""

from hypothesis import given, settings
from hypothesis import strategies as st

from domain.account.quota_windows import Asked, Counter, level
from domain.instant import DAY, HOUR, MINUTE, Instant
from projections.local_days import local_day
from tests.domain.scenario import T0

ZONES = ("UTC", "Pacific/Auckland", "Pacific/Honolulu", "Europe/Berlin", "Asia/Kathmandu", "America/Havana")
LIMIT = 3
STEPS = st.lists(
    st.tuples(
        st.sampled_from(ZONES),
        st.sampled_from((0, MINUTE, HOUR, 5 * HOUR, 11 * HOUR, 23 * HOUR, DAY, 3 * DAY)),
        st.sampled_from((-MINUTE, 0, 0, 0, MINUTE)),
    ),
    min_size=1,
    max_size=80,
)


def asked(zone: str, at: Instant) -> Asked:
    """What an API asks for at that moment."""
    found = local_day(zone, at)
    return Asked(limit=LIMIT, starts_at=found.start, ends_at=found.end, next_ends_at=found.next_end)


@settings(max_examples=300, deadline=None)
@given(STEPS)
def test_no_zone_gives_a_second_quota(steps: list[tuple[str, Instant, Instant]]) -> None:
    """Days never overlap, are at least a whole day of some zone, and hold no more messages than one quota.

    An API's clock may be a minute before or behind the worker's.
    """
    counter, at = Counter(), T0
    sent: list[tuple[Instant, Instant, Instant]] = []
    for zone, step, skew in steps:
        at += step
        counted = counter.with_more(asked(zone, at + skew), 1, at)
        assert at < counted.ends_at
        if counted.used > LIMIT:
            continue
        if counted.starts_at != counter.starts_at:
            assert counter.ends_at <= counted.starts_at, "it overlaps the one before"
            assert counted.ends_at - counted.starts_at >= 23 * HOUR
        else:
            assert counted.ends_at >= counter.ends_at, "it was cut short"
        counter.take(counted)
        sent.append((at, counted.starts_at, counted.ends_at))
    for start in {each[1] for each in sent}:
        assert sum(1 for each in sent if each[1] == start) <= LIMIT


@given(st.integers(0, 1_000), st.integers(0, 1_000))
def test_levels(used: int, limit: int) -> None:
    """80 from four fifths on, 100 when nothing is left."""
    counted = Counter(used=used).with_more(Asked(limit=limit, starts_at=1, ends_at=2, next_ends_at=3), used, 1)
    assert level(counted) == (100 if used >= limit else 80 if used / limit >= 0.8 else 0)
