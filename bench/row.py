"""One measured figure, and when it is good enough."""

from typing import Literal

from msgspec import Struct


class Row(Struct, frozen=True, kw_only=True):
    """A figure in `unit`; `ratio` is its relation to `ceiling`; `ok` tells whether what was asked of it holds."""

    name: str
    value: float
    unit: str
    ceiling: float | None = None
    ratio: float | None = None
    target: float | None = None
    """What the ratio, or without a ceiling the value, is held against; `None` for a figure that is only reported."""
    ok: bool = True


def reported(name: str, value: float, unit: str, *, ceiling: float | None = None) -> Row:
    """A figure that nothing is asked of."""
    return Row(name=name, value=value, unit=unit, ceiling=ceiling, ratio=_ratio(value, ceiling))


def held(
    name: str,
    value: float,
    unit: str,
    *,
    target: float,
    better: Literal["high", "low"],
    ceiling: float | None = None,
    ratio: float | None = None,
) -> Row:
    """A figure with a target: its `ratio` (value by ceiling, unless given), or the value where there is no ceiling."""
    if ratio is None:
        ratio = _ratio(value, ceiling)
    figure = value if ratio is None else ratio
    good = figure >= target if better == "high" else figure <= target
    return Row(name=name, value=value, unit=unit, ceiling=ceiling, ratio=ratio, target=target, ok=good)


def _ratio(value: float, ceiling: float | None) -> float | None:
    return None if not ceiling else value / ceiling
