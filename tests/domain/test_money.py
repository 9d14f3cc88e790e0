"""Credits outside are decimal strings with six places, inside integers; there and back again."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.errors import Invalid
from domain.money import AMOUNT_MAX, format_credits, parse_credits


@given(st.integers(0, AMOUNT_MAX))
def test_there_and_back_again(amount: int) -> None:
    """Every amount survives its own text."""
    assert parse_credits(format_credits(amount)) == amount


@pytest.mark.parametrize(
    ("text", "amount"),
    [("0", 0), ("0.000001", 1), ("12.5", 12_500_000), ("1000000000", AMOUNT_MAX), ("1000000000.000000", AMOUNT_MAX)],
)
def test_what_is_an_amount(text: str, amount: int) -> None:
    """With up to six places."""
    assert parse_credits(text) == amount


@pytest.mark.parametrize(
    "text",
    ["", " 1", "1 ", "-1", "+1", "1e3", "1.", ".5", "1.0000001", "1,5", "NaN", "inf", "0x1", "١", "1\n", "1_0",
     "1000000000.000001", "9" * 11, "9" * 5_000],
)  # fmt: skip
def test_what_is_no_amount(text: str) -> None:
    """Signs, exponents, spaces, other digits, seven places, and more than the largest."""
    with pytest.raises(Invalid, match="invalid_amount"):
        parse_credits(text)


@pytest.mark.parametrize(("amount", "text"), [(-1, "-0.000001"), (-1_500_000, "-1.500000"), (0, "0.000000")])
def test_negative_amounts_keep_their_sign(amount: int, text: str) -> None:
    """Transactions are signed."""
    assert format_credits(amount) == text
