"""Eligibility against the aggregate, for random histories: what read models are asked is what the writer decides."""

from contextlib import suppress
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from api.account_plan import AccountPlan
from api.eligibility import Facts, feature_refusal, model_refusal
from api.gateway.estimate import dearest_amount
from api.plan_features import Feature
from api.plans import Plan, load_plans
from api.quotas.features import asked_feature
from api.quotas.windows import asked_messages
from domain.account import account as account_module
from domain.account.account import Account
from domain.account.api_key_limits import CreditPeriod, KeyLimits
from domain.account.holds import PlaceHold, SettleHold
from domain.account.plan_terms import FeatureLimit
from domain.account.quotas import TrackFeature
from domain.account.standing import ResumeAccount, SuspendAccount
from domain.account.usage import Price, Usage
from domain.errors import DomainError
from domain.instant import DAY, HOUR, MINUTE, Instant
from domain.recorded import Recorded
from projections import credits, feature_uses
from tests.domain.account.asking import account, add, create_key, release
from tests.domain.scenario import T0, Scenario
from tests.projections.histories import ACCOUNT, METADATA, folded

FLAT = Price(input=1_000_000, cached_input=1_000_000, output=1_000_000, version="flat")
SHIPPED = load_plans()
SEARCHES = Feature(id="searches", title="Searches", metered=True)
PERIODS: tuple[CreditPeriod, ...] = ("total", "day", "month")
STEPS = st.lists(
    st.tuples(
        st.sampled_from(("add", "chat", "chat", "hold", "hold", "settle", "release", "track", "suspend", "resume")),
        st.integers(0, 40),
        st.sampled_from((0, 0, 0, MINUTE, 5 * HOUR, DAY)),
        st.sampled_from(("UTC", "Asia/Kathmandu", "Pacific/Niue")),
    ),
    max_size=25,
)


def on(zone: str, messages: int | None, searches: int | None) -> AccountPlan:
    """A plan with so many messages and searches a day, in a zone."""
    plan: Plan = replace(
        SHIPPED.free,
        messages_per_day=messages,
        features=("basic_models", "searches"),
        feature_limits={"searches": FeatureLimit(per_day=searches, per_month=None)},
    )
    return AccountPlan(account_id=ACCOUNT, plan=plan, status="active", seats=1, time_zone=zone)


def place(hold_id: str, tokens: int, plan: AccountPlan, at: Instant) -> PlaceHold:
    """What the gateway sends for a request of so many tokens."""
    amount = dearest_amount(tokens, FLAT)
    return PlaceHold(
        hold_id=hold_id,
        amount=amount,
        amount_min=amount,
        model="m",
        price=FLAT,
        expires_at=at + MINUTE,
        key_id="key_1",
        messages=asked_messages(plan, at, enforced=True),
    )


def commanded(kind: str, number: int, amount: int, plan: AccountPlan, at: Instant) -> list[Any]:
    """The commands of one step of a history."""
    day, month = asked_feature(plan, "searches", at, enforced=True)
    hold = place(f"h{number}", amount, plan, at)
    settled = SettleHold(hold_id=hold.hold_id, usage=Usage(source="provider", output=amount * 2))
    made: dict[str, list[Any]] = {
        "add": [add(f"g{number}", amount + 1, expires_at=at + HOUR if amount % 3 == 0 else None)],
        "chat": [hold, settled],
        "hold": [hold],
        "settle": [replace(settled, hold_id=f"h{number - 1}")],
        "release": [release(f"h{number - 1}")],
        "track": [TrackFeature(feature="searches", amount=amount % 4 + 1, reference="r", day=day, month=month)],
        "suspend": [SuspendAccount(reason_sealed="s")],
        "resume": [ResumeAccount()],
    }
    return made[kind]


def refusal_of(scenario: Scenario[Account], command: Any, at: Instant) -> tuple[str, Any] | None:
    """What the aggregate says, which is asked without writing anything."""
    try:
        account_module.decide(scenario.state, command, at)
    except DomainError as error:
        return error.code, error.detail
    return None


@settings(max_examples=150, deadline=None)
@given(
    STEPS,
    st.sampled_from((None, 0, 1, 3, 6)),
    st.sampled_from((None, 0, 2, 5)),
    st.sampled_from((None, 0, 15, 60)),
    st.sampled_from(PERIODS),
    st.integers(0, 60),
)
def test_eligibility_and_the_writer_agree(
    steps: list[tuple[str, int, Instant, str]],
    messages: int | None,
    searches: int | None,
    key_limit: int | None,
    period: CreditPeriod,
    tokens: int,
) -> None:
    """Whatever has happened: the same refusal with the same figures, or none."""
    limits = KeyLimits(credit_limit=key_limit, credit_period=period)
    scenario, recorded, at, plan = account(), [], T0, on("UTC", messages, searches)
    scenario.when(create_key("key_1", limits=limits))
    scenario.when(add("g", 100))
    for number, (kind, amount, step, zone) in enumerate(steps):
        at, plan = at + step, on(zone, messages, searches)
        with suppress(DomainError):
            for command in commanded(kind, number, amount, plan, at):
                scenario.when(command, at=at)
    scenario.pass_time(at)
    for version, event in enumerate(scenario.events, start=1):
        recorded.append(
            Recorded(
                stream=f"account:{ACCOUNT}",
                entity_id=ACCOUNT,
                version=version,
                shard=0,
                seq=version,
                at=at,
                metadata=METADATA,
                event=event,
            )
        )
    spending = scenario.state.api_key_spending.keys.get("key_1")
    facts = Facts(
        subscription=plan,
        credits=folded(credits.PROJECTION, recorded).get(ACCOUNT, credits.CreditsView(account_id=ACCOUNT)),
        uses=folded(feature_uses.PROJECTION, recorded).get(ACCOUNT),
        now=at,
        suspended=scenario.state.standing.suspended_at is not None,
        key_id="key_1",
        limits=limits,
        key_spent=0 if spending is None else spending.spent(period, at),
        key_held=0 if spending is None else spending.held,
    )
    found = model_refusal(facts, "m", FLAT, tokens)
    assert (found and (found.code, found.detail)) == refusal_of(scenario, place("new", tokens, plan, at), at)
    day, month = asked_feature(plan, "searches", at, enforced=True)
    track = TrackFeature(feature="searches", amount=tokens % 4 + 1, reference="r", day=day, month=month)
    found = feature_refusal(facts, "searches", track.amount)
    assert (found and (found.code, found.detail)) == refusal_of(scenario, track, at)
