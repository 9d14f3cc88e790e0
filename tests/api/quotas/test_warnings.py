"""`X-Quota-Warning`: from 80 % on, in a form that programs read."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from api.account_plan import AccountPlan
from api.plans import Plans, load_plans
from api.quotas.warnings import credits_warning, warning, warning_headers
from domain.account.quota_windows import Counted
from domain.instant import SECOND
from tests.api.running import application

SHIPPED = load_plans()
FORM = re.compile(r'"[a-z_.-]+";used=\d+;limit=\d+(;reset=\d+)?', re.ASCII)


def on(plan: str, seats: int | None = 1) -> AccountPlan:
    """A subscription."""
    return AccountPlan(account_id="user_1", plan=SHIPPED[plan], status="active", seats=seats)


@given(st.integers(0, 10_000), st.none() | st.integers(0, 10_000), st.integers(0, 10**6))
def test_a_warning_from_four_fifths_on(used: int, limit: int | None, wait_s: int) -> None:
    """None below, none without a limit; the seconds are rounded up and never negative."""
    counted = Counted(starts_at=0, ends_at=wait_s * SECOND, used=used, limit=limit)
    said = warning("messages_per_day", counted, 1)
    if limit is None or used * 5 < limit * 4:
        assert said is None
    else:
        assert said == f'"messages_per_day";used={used};limit={limit};reset={wait_s}'
        assert FORM.fullmatch(said)


@pytest.mark.parametrize(
    ("plan", "seats", "available", "said"),
    [
        ("pro", 1, 4_000_001, None),
        ("pro", 1, 4_000_000, '"monthly_credits";used=16000000;limit=20000000'),
        ("pro", 1, 0, '"monthly_credits";used=20000000;limit=20000000'),
        ("team", 10, 30_000_000, '"monthly_credits";used=120000000;limit=150000000'),
        ("team", 10, 30_000_001, None),
        ("free", 1, 0, None),
        ("enterprise", 5, 0, None),
    ],
)
def test_monthly_credits(plan: str, seats: int, available: int, said: str | None) -> None:
    """Of what the plan grants for all seats; bought credits are credits, and a plan that grants none warns of none."""
    assert credits_warning(on(plan, seats), available) == said


def test_several_are_a_list() -> None:
    """In one header, or none."""
    assert warning_headers(None, None) == {}
    assert warning_headers('"a";used=1;limit=1', None, '"b";used=1;limit=1') == {
        "X-Quota-Warning": '"a";used=1;limit=1, "b";used=1;limit=1'
    }


async def test_requests_a_day_warn_on_every_answer() -> None:
    """Also on one that is refused for another reason."""
    free = replace(SHIPPED.free, requests_per_day=5, requests_per_minute=None)
    plans = Plans({**SHIPPED, "free": free}, features=SHIPPED.features)
    async with application(plans=plans, limits=True, anonymous_requests_per_minute=1_000) as app:
        person = await app.register()
        said = [
            (await app.ask("GET", path, token=person.token)).headers.get("x-quota-warning")
            for path in ("/users/me", "/billing/credits", "/users/me", "/audit/nothing", "/api-keys/nothing")
        ]
        heard = [each for each in said if each is not None]
        assert said[:3] == [None] * 3
        assert heard
        assert all(re.fullmatch(r'"account-day";used=[45];limit=5;reset=\d+', each) for each in heard)
