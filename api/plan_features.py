"""The features that plans are made of: those that the product knows, and those that an operator declares."""

import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal, TypeAlias

from msgspec import Meta, Struct

from api.toml_file import TomlFile
from domain.account.plan_terms import FeatureLimit

LIMIT_MAX = 10**12
"""The largest limit of anything; what is more is "unlimited"."""
FEATURES_MAX = 200
Limit: TypeAlias = Annotated[int, Meta(ge=0, le=LIMIT_MAX)] | Literal["unlimited"]
_ID = re.compile(r"[a-z][a-z0-9_]{0,49}", re.ASCII)

KNOWN: Mapping[str, str] = {
    "basic_models": "Basic models",
    "advanced_models": "Advanced models",
    "priority_support": "Priority support",
    "organizations": "Organizations",
    "shared_threads": "Shared threads",
    "admin_controls": "Admin controls",
    "sso": "Single sign-on",
    "audit_logs": "Audit logs",
    "dedicated_support": "Dedicated support",
    "self_host": "Self-hosting",
}
"""Features that every plan file knows, with their titles; all others it declares itself."""


class _FeatureTable(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A feature as it is written."""

    title: Annotated[str, Meta(min_length=1, max_length=100)]
    metered: bool = False


class _LimitTable(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How much of a metered feature a plan has, as it is written."""

    per_day: Limit = "unlimited"
    per_month: Limit = "unlimited"


class Feature(Struct, frozen=True, kw_only=True):
    """Something that a plan has or has not. Of a `metered` one it may have so much a day and a month."""

    id: str
    title: str
    metered: bool = False


def read_features(file: TomlFile) -> dict[str, Feature]:
    """All features by id: the known ones, which the file may give other titles, and the file's own."""
    features = {name: Feature(id=name, title=title) for name, title in KNOWN.items()}
    for name, table in file.tables_if_any("features", _FeatureTable).items():
        if _ID.fullmatch(name) is None:
            raise file.wrong(
                ("features", name), "expected an id of at most 50 lower-case letters, digits and _, a letter first"
            )
        if table.metered and name in KNOWN:
            raise file.wrong(("features", name, "metered"), "expected false; it is had or not, and never counted")
        features[name] = Feature(id=name, title=table.title, metered=table.metered)
    if len(features) > FEATURES_MAX:
        raise file.wrong(("features",), f"expected at most {FEATURES_MAX}, the known ones included")
    return features


def plan_features(
    file: TomlFile, plan: str, names: tuple[str, ...], features: Mapping[str, Feature]
) -> tuple[str, ...]:
    """The plan's features. `BadFile` for one that nobody knows, or that is named twice."""
    for index, name in enumerate(names):
        if name not in features:
            known = ", ".join(features)
            raise file.wrong(
                ("plans", plan, "features"), f"{name!r} is unknown; declare [features.{name}], or use one of {known}"
            )
        if name in names[:index]:
            raise file.wrong(("plans", plan, "features"), f"{name!r} is there twice")
    return names


def feature_limits(
    file: TomlFile, plan: str, names: tuple[str, ...], limits: Mapping[str, Any], features: Mapping[str, Feature]
) -> dict[str, FeatureLimit]:
    """The plan's limits by feature. `BadFile` for what is not metered, or not in the plan."""
    found = {}
    for name, table in limits.items():
        place = ("plans", plan, "feature_limits", name)
        if name not in names or not features[name].metered:
            raise file.wrong(place, "expected a metered feature that the plan has")
        written = file.converted(place, table, _LimitTable)
        found[name] = FeatureLimit(per_day=_limit(written.per_day), per_month=_limit(written.per_month))
    return found


def _limit(written: Limit) -> int | None:
    return None if written == "unlimited" else written
