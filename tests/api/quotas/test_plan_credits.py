"""What a refusal promises of another plan's credits: what taking it brings, and never more."""

from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from api.account_plan import AccountPlan
from api.billing.stripe_facts import billed_credits
from api.plans import Plan, load_plans
from api.quotas.plan_credits import MICRO_PER_CENT, credits_at_once
from domain.account.subscription_period import PeriodCredits, credited
from domain.instant import DAY, SECOND
from domain.money import MICRO

PRO = load_plans()["pro"]
PERIOD = (0, 30 * DAY)


def plan_of(price: int, credits: int, *, trial_days: int = 0) -> Plan:
    """A plan of so many cents and credits for a cent of it."""
    return replace(PRO, price=price * MICRO_PER_CENT, monthly_credits=credits, trial_days=trial_days)


PLANS = st.builds(plan_of, st.integers(1, 100_000), st.integers(0, 10**12))


def on(plan: Plan, *, granted: int | None = None, billed: bool = True, status: str = "active") -> AccountPlan:
    """An account in the midst of a period of the plan, whose credits it was granted."""
    amount = plan.monthly_credits if granted is None else granted
    return AccountPlan(
        account_id="user_1",
        plan=plan,
        status=status,  # type: ignore[arg-type]
        seats=1,
        billed_as="sub_1" if billed else None,
        period=PERIOD,
        period_credits=PeriodCredits(since=PERIOD[0], until=PERIOD[1], amount=amount) if amount else None,
    )


def line(plan: Plan, amount: int) -> tuple[dict[str, object], Plan]:
    """A line of an invoice that ends with the period."""
    return {"amount": amount, "period": {"start": 0, "end": PERIOD[1] // SECOND}}, plan


def cents(plan: Plan, left: int) -> int:
    """What the rest of a period costs with it, as Stripe rounds it."""
    return round(Fraction((plan.price or 0) * left, MICRO_PER_CENT * PERIOD[1]))


@given(PLANS, PLANS, st.integers(0, PERIOD[1] // SECOND))
def test_no_more_is_promised_than_a_change_in_mid_period_grants(old: Plan, new: Plan, seconds: int) -> None:
    """Stripe bills the rest of the period with the new plan and gives back that of the old one, in cents."""
    now = seconds * SECOND
    left = PERIOD[1] - now
    known = on(old)
    invoices = [
        line(old, (old.price or 0) // MICRO_PER_CENT),
        line(old, -cents(old, left)),
        line(new, cents(new, left)),
    ]
    paid = max(billed_credits(invoices, PERIOD[1] // SECOND), 0)
    _, granted = credited(known.period_credits, *PERIOD, min(new.monthly_credits, paid))
    promised = credits_at_once(new, 1, known=known, now=now)
    assert 0 <= promised <= granted
    a_cent_each = sum(-(-each.monthly_credits * MICRO_PER_CENT // (each.price or 1)) for each in (old, new))
    assert promised >= min(granted - 2 * a_cent_each - 2, new.monthly_credits - old.monthly_credits)


@given(PLANS, PLANS, st.integers(0, PERIOD[1]))
def test_no_more_is_promised_than_a_new_period_grants(old: Plan, new: Plan, now: int) -> None:
    """Who is billed by nobody buys a period of its own: what is unused of the last one counts towards it."""
    known = on(old, billed=False)
    _, granted = credited(known.period_credits, now, now + 30 * DAY, new.monthly_credits)
    assert credits_at_once(new, 1, known=known, now=now) == granted


def test_half_of_a_month_is_half_of_the_difference() -> None:
    """To the cent; all of it at the beginning, and nothing at the end."""
    ten, thirty = plan_of(1_000, 10 * MICRO), plan_of(3_000, 30 * MICRO)
    promised = [credits_at_once(thirty, 1, known=on(ten), now=day * DAY) for day in (0, 15, 30)]
    assert promised == [19_980_000, 9_980_000, 0]


def test_what_was_granted_before_counts() -> None:
    """Whoever took a smaller plan in this period keeps its credits, and gets them once."""
    ten, thirty = plan_of(1_000, 10 * MICRO), plan_of(3_000, 30 * MICRO)
    assert credits_at_once(thirty, 1, known=on(ten, granted=30 * MICRO), now=DAY) == 0


def test_trials_and_unpaid_plans() -> None:
    """A trial has the credits of one seat, of a plan that has trials; what is not paid grants nothing."""
    ten, tried = plan_of(1_000, 10 * MICRO), plan_of(3_000, 30 * MICRO, trial_days=7)
    untried = plan_of(3_000, 30 * MICRO)
    assert credits_at_once(tried, 1, known=on(ten, status="trialing"), now=DAY) == 20 * MICRO
    assert credits_at_once(untried, 1, known=on(ten, status="trialing"), now=DAY) == 0
    assert credits_at_once(tried, 1, known=on(ten, status="past_due"), now=DAY) == 0
