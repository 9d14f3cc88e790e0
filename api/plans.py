"""What an operator sells: plans, features, top-ups, from `plans.toml` or the file that `FORMSTATE_PLANS_FILE` names."""

import re
from collections.abc import Iterator, Mapping, Sequence, ValuesView
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any, TypeAlias

from msgspec import Meta, Struct

from api.plan_features import LIMIT_MAX, Feature, feature_limits, plan_features, read_features
from api.scopes import INCLUDED
from api.toml_file import TomlFile
from domain.account.plan_terms import FREE, SEATS_MAX, PlanTerms
from domain.errors import Invalid
from domain.money import AMOUNT_MAX, MICRO, MicroCredits, parse_credits

SHIPPED = Path(__file__).with_name("plans.toml")
LIMITS = (
    *("messages_per_day", "requests_per_minute", "requests_per_day"),
    *("agent_slots", "api_keys", "seats", "organizations"),
)

Limit: TypeAlias = int | str
"""A whole number or "unlimited"; `_limit` says so better than the decoder does."""
Title: TypeAlias = Annotated[str, Meta(min_length=1, max_length=100)]
ProviderId: TypeAlias = Annotated[str, Meta(pattern=r"^[!-~]{1,255}$")]
_ID = re.compile(r"[a-z][a-z0-9_-]{0,49}", re.ASCII)


class _PlanTable(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A plan as it is written."""

    title: Title
    price: str
    monthly_credits: str
    messages_per_day: Limit
    requests_per_minute: Limit
    requests_per_day: Limit
    agent_slots: Limit
    api_keys: Limit
    seats: Limit
    features: tuple[str, ...]
    organizations: Limit = "unlimited"
    per_seat: bool = False
    trial_days: Annotated[int, Meta(ge=0, le=365)] = 0
    grace_days: Annotated[int, Meta(ge=0, le=90)] = 7
    stripe_price: ProviderId | None = None
    closed: bool = False
    feature_limits: Mapping[str, Any] = {}  # msgspec copies the defaults
    scope_requests_per_minute: Mapping[str, int] = {}


class _TopUpTable(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A top-up as it is written."""

    title: Title
    price: str
    credits: str
    stripe_price: ProviderId | None = None


class Plan(PlanTerms, frozen=True, kw_only=True):
    """One plan: its terms, and what is said and asked of it beside them."""

    id: str
    title: str
    stripe_price: str | None = None
    """The id of its price at Stripe; without one it is not sold there."""
    closed: bool = False
    """Who is on it keeps it as it is here; nobody else is shown or sold it."""
    scope_requests_per_minute: Mapping[str, int] = {}  # msgspec copies the default
    """Further limits for requests that need a scope, such as `models:invoke`; other scopes have none."""


class TopUp(Struct, frozen=True, kw_only=True):
    """Credits that are sold for a price, once and without a plan. Micro-dollars and micro-credits, both positive."""

    id: str
    title: str
    price: MicroCredits
    credits: MicroCredits
    stripe_price: str | None = None


class Plans(Mapping[str, Plan]):
    """All plans by id, in the file's order, with the features and top-ups that there are."""

    def __init__(
        self,
        plans: Mapping[str, Plan],
        *,
        features: Mapping[str, Feature] | None = None,
        top_ups: Mapping[str, TopUp] | None = None,
    ) -> None:
        self._plans = dict(plans)
        self._on_offer = tuple(plan for plan in self._plans.values() if not plan.closed)
        self.features: Mapping[str, Feature] = MappingProxyType(dict(features or {}))
        self.top_ups: Mapping[str, TopUp] = MappingProxyType(dict(top_ups or {}))

    def __getitem__(self, plan_id: str) -> Plan:
        return self._plans[plan_id]

    def __iter__(self) -> Iterator[str]:
        return iter(self._plans)

    def __len__(self) -> int:
        return len(self._plans)

    def values(self) -> ValuesView[Plan]:
        """See `Mapping`, whose own asks for each by its id: every refusal that sells looks through all."""
        return self._plans.values()

    @property
    def on_offer(self) -> Sequence[Plan]:
        """Those that are not closed, in the file's order."""
        return self._on_offer

    @property
    def free(self) -> Plan:
        """The plan of an account that was never written."""
        return self._plans[FREE]


def load_plans(path: Path | None = None) -> Plans:
    """The plans of a file, or the shipped ones. `BadFile` names what is wrong."""
    file = TomlFile(path or SHIPPED)
    tables = file.tables("plans", _PlanTable, beside=("features", "top_ups"))
    features = read_features(file)
    plans = {name: _plan(file, name, table, features) for name, table in tables.items()}
    top_ups = {name: _top_up(file, name, table) for name, table in file.tables_if_any("top_ups", _TopUpTable).items()}
    _check_free(file, plans)
    _check_stripe_prices(file, plans, top_ups)
    return Plans(plans, features=features, top_ups=top_ups)


def _check_free(file: TomlFile, plans: Mapping[str, Plan]) -> None:
    """Nobody pays for it, and it has no periods: an account is on it that was never written."""
    if FREE not in plans:
        raise file.wrong(("plans", FREE), "missing; every account begins with it")
    if plans[FREE].closed:
        raise file.wrong(("plans", FREE, "closed"), "expected false; every account begins with it")
    if plans[FREE].price != 0:
        raise file.wrong(("plans", FREE, "price"), 'expected "0"; accounts are on it without paying')
    if plans[FREE].monthly_credits != 0:
        raise file.wrong(("plans", FREE, "monthly_credits"), 'expected "0"; who never subscribed has no periods')


def _check_stripe_prices(file: TomlFile, plans: Mapping[str, Plan], top_ups: Mapping[str, TopUp]) -> None:
    """One price at Stripe is one thing that was bought."""
    seen: set[str] = set()
    for kind, sold in (("plans", plans), ("top_ups", top_ups)):
        for name, each in sold.items():
            if each.stripe_price in seen:
                raise file.wrong((kind, name, "stripe_price"), "expected a price that nothing else has")
            if each.stripe_price is not None:
                seen.add(each.stripe_price)


def _plan(file: TomlFile, name: str, table: _PlanTable, features: Mapping[str, Feature]) -> Plan:
    place = ("plans", name)
    _check_id(file, place)
    _check_scopes(file, place, table.scope_requests_per_minute)
    return Plan(
        id=name,
        title=table.title,
        price=None if table.price == "custom" else _amount(file, (*place, "price"), table.price),
        per_seat=table.per_seat,
        monthly_credits=_amount(file, (*place, "monthly_credits"), table.monthly_credits),
        trial_days=table.trial_days,
        grace_days=table.grace_days,
        features=plan_features(file, name, table.features, features),
        feature_limits=feature_limits(file, name, table.features, table.feature_limits, features),
        stripe_price=table.stripe_price,
        closed=table.closed,
        scope_requests_per_minute=table.scope_requests_per_minute,
        **{limit: _limit(file, (*place, limit), getattr(table, limit)) for limit in LIMITS},
    )


def _top_up(file: TomlFile, name: str, table: _TopUpTable) -> TopUp:
    place = ("top_ups", name)
    _check_id(file, place)
    amounts = {key: _amount(file, (*place, key), getattr(table, key)) for key in ("price", "credits")}
    for key, amount in amounts.items():
        if amount == 0:
            raise file.wrong((*place, key), "expected more than 0")
    return TopUp(id=name, title=table.title, stripe_price=table.stripe_price, **amounts)


def _check_id(file: TomlFile, place: tuple[str, str]) -> None:
    if _ID.fullmatch(place[1]) is None:
        raise file.wrong(place, "expected an id of at most 50 lower-case letters, digits, _ and -, a letter first")


def _check_scopes(file: TomlFile, place: tuple[str, str], limits: Mapping[str, int]) -> None:
    for scope, value in limits.items():
        if INCLUDED.get(scope) != () or not 0 <= value <= LIMIT_MAX:
            known = ", ".join(each for each, included in INCLUDED.items() if not included)
            raise file.wrong(
                (*place, "scope_requests_per_minute", scope), f"expected a whole number from 0, for one of {known}"
            )


def _limit(file: TomlFile, place: tuple[str, str, str], value: Limit) -> int | None:
    if value == "unlimited":
        return None
    low, most = (1, SEATS_MAX) if place[2] == "seats" else (0, LIMIT_MAX)
    if isinstance(value, str) or not low <= value <= most:
        raise file.wrong(place, f'expected a whole number from {low} to {most}, or "unlimited"')
    return value


def _amount(file: TomlFile, place: tuple[str, str, str], text: str) -> MicroCredits:
    try:
        return parse_credits(text, name=place[2])
    except Invalid as error:
        unit = "dollars" if place[2] == "price" else "credits"
        why = f'expected {unit} from 0 to {AMOUNT_MAX // MICRO} in quotes, with at most six places, such as "20.00"'
        raise file.wrong(place, why + (', or "custom"' if place[::2] == ("plans", "price") else "")) from error
