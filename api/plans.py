"""The plans that an operator offers: `plans.toml`, or the file that `FORMSTATE_PLANS_FILE` names."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Literal

from msgspec import Struct

from api.scopes import INCLUDED
from api.toml_file import TomlFile
from domain.errors import Invalid
from domain.money import MicroCredits, parse_credits

SHIPPED = Path(__file__).with_name("plans.toml")
FREE = "free"
"""What every account has that subscribed to nothing."""
REQUIRED = (FREE,)

Unlimited = Literal["unlimited"]


class _Table(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A plan as it is written."""

    title: str
    price: str
    monthly_credits: str
    messages_per_day: int | Unlimited
    requests_per_minute: int | Unlimited
    requests_per_day: int | Unlimited
    agent_slots: int | Unlimited
    api_keys: int | Unlimited
    seats: int | Unlimited
    features: tuple[str, ...]
    per_seat: bool = False
    scope_requests_per_minute: Mapping[str, int] = {}  # msgspec copies the default


LIMITS = ("messages_per_day", "requests_per_minute", "requests_per_day", "agent_slots", "api_keys", "seats")


class Plan(Struct, frozen=True, kw_only=True):
    """One plan. Limits are whole numbers, `None` is unlimited; `price` is micro-dollars, `None` is by agreement."""

    id: str
    title: str
    price: MicroCredits | None
    per_seat: bool
    monthly_credits: MicroCredits
    messages_per_day: int | None
    requests_per_minute: int | None
    requests_per_day: int | None
    agent_slots: int | None
    api_keys: int | None
    seats: int | None
    features: tuple[str, ...]
    scope_requests_per_minute: Mapping[str, int] = {}  # msgspec copies the default
    """Further limits for requests that need a scope, such as `models:invoke`; other scopes have none."""


class Plans(Mapping[str, Plan]):
    """All plans by id, in the file's order."""

    def __init__(self, plans: Mapping[str, Plan]) -> None:
        self._plans = dict(plans)

    def __getitem__(self, plan_id: str) -> Plan:
        return self._plans[plan_id]

    def __iter__(self) -> Iterator[str]:
        return iter(self._plans)

    def __len__(self) -> int:
        return len(self._plans)

    @property
    def free(self) -> Plan:
        """The plan of an account that was never written."""
        return self._plans[FREE]


def load_plans(path: Path | None = None) -> Plans:
    """The plans of a file, or the shipped ones. `BadFile` names what is wrong."""
    file = TomlFile(path or SHIPPED)
    plans = {name: _plan(file, name, table) for name, table in file.tables("plans", _Table).items()}
    if FREE not in plans:
        raise file.wrong(("plans", FREE), "missing; every account begins with it")
    return Plans(plans)


def _plan(file: TomlFile, name: str, table: _Table) -> Plan:
    limits: dict[str, int | None] = {}
    for limit in LIMITS:
        value = getattr(table, limit)
        if value != "unlimited" and value < 0:
            raise file.wrong(("plans", name, limit), 'expected a whole number from 0, or "unlimited"')
        limits[limit] = None if value == "unlimited" else value
    for scope, value in table.scope_requests_per_minute.items():
        if INCLUDED.get(scope) != () or value < 0:
            known = ", ".join(each for each, included in INCLUDED.items() if not included)
            raise file.wrong(
                ("plans", name, "scope_requests_per_minute", scope),
                f"expected a whole number from 0, for one of {known}",
            )
    return Plan(
        id=name,
        title=table.title,
        price=None if table.price == "custom" else _amount(file, name, "price", table.price),
        per_seat=table.per_seat,
        monthly_credits=_amount(file, name, "monthly_credits", table.monthly_credits),
        features=table.features,
        scope_requests_per_minute=table.scope_requests_per_minute,
        **limits,
    )


def _amount(file: TomlFile, name: str, key: str, text: str) -> MicroCredits:
    try:
        return parse_credits(text, name=key)
    except Invalid as error:
        raise file.wrong(("plans", name, key), error.message) from error
