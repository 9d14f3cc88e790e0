"""Credits as integers of micro-credits; decimal strings with six places outside; never a float."""

import re
from typing import TypeAlias

from domain.errors import Invalid

MicroCredits: TypeAlias = int
"""One millionth of a credit; one credit stands for one US dollar of list price."""

MICRO = 1_000_000
AMOUNT_MAX: MicroCredits = 10**15
"""The largest single amount: a thousand million credits. Sums of many stay far below 2**63."""

_DECIMAL = re.compile(r"(\d{1,10})(?:\.(\d{1,6}))?", re.ASCII)


def parse_credits(text: str, *, name: str = "amount") -> MicroCredits:
    """Micro-credits of a decimal string such as `"12.5"`. `Invalid` on signs, exponents, or more than six places."""
    match = _DECIMAL.fullmatch(text)
    if match is None:
        raise Invalid(
            "invalid_amount",
            f'{name} must be a decimal string of credits with at most six places, such as "12.500000".',
            param=name,
        )
    amount = int(match[1]) * MICRO + int((match[2] or "").ljust(6, "0"))
    if amount > AMOUNT_MAX:
        raise Invalid("invalid_amount", f"{name} must be at most {format_credits(AMOUNT_MAX)}.", param=name)
    return amount


def format_credits(amount: MicroCredits) -> str:
    """The decimal string with six places; negative amounts keep their sign in front."""
    if amount < 0:
        return f"-{format_credits(-amount)}"
    return "%d.%06d" % divmod(amount, MICRO)  # noqa: UP031  # takes half as long as the f-string of the same


def maybe_credits(amount: MicroCredits | None) -> str | None:
    """The same for what may be absent."""
    return None if amount is None else format_credits(amount)
