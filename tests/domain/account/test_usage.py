"""What usage costs: exact, rounded up once, in buckets that do not overlap."""

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from domain.account.usage import TOKENS_MAX, Price, Usage, UsageSource, cost, require_price, require_usage
from domain.errors import Invalid
from domain.money import AMOUNT_MAX

TOKENS = st.integers(0, TOKENS_MAX)
AMOUNTS = st.integers(0, AMOUNT_MAX)


PRICES = st.builds(
    Price,
    input=AMOUNTS,
    cached_input=AMOUNTS,
    output=AMOUNTS,
    audio_input=st.none() | AMOUNTS,
    audio_output=st.none() | AMOUNTS,
    cache_write=st.none() | AMOUNTS,
    request=AMOUNTS,
    version=st.just("v"),
)
USAGES = st.builds(
    Usage,
    source=st.just("provider"),
    input=TOKENS,
    cached=TOKENS,
    cache_write=TOKENS,
    output=TOKENS,
    reasoning=TOKENS,
    audio_input=TOKENS,
    audio_output=TOKENS,
)


USED: tuple[tuple[UsageSource, int], ...] = (("provider", 1), ("estimated", 1), ("none", 0))


@given(usage=USAGES, price=PRICES)
def test_cost_is_the_exact_sum_rounded_up_once(usage: Usage, price: Price) -> None:
    """To the micro-credit: never below the exact sum, and less than one micro-credit above it."""
    heard = price.input if price.audio_input is None else price.audio_input
    spoken = price.output if price.audio_output is None else price.audio_output
    exact = (
        Fraction(usage.input * price.input, 10**6)
        + Fraction(usage.cache_write * (price.input if price.cache_write is None else price.cache_write), 10**6)
        + price.request
        + Fraction(usage.cached * price.cached_input, 10**6)
        + Fraction((usage.output + usage.reasoning) * price.output, 10**6)
        + Fraction(usage.audio_input * heard + usage.audio_output * spoken, 10**6)
    )
    assert 0 <= cost(usage, price) - exact < 1
    assert cost(usage, price) < 2**63


@given(usage=USAGES)
def test_buckets_are_disjoint(usage: Usage) -> None:
    """Prompt and completion together count every token once."""
    every = usage.input + usage.cached + usage.cache_write + usage.output + usage.reasoning
    every += usage.audio_input + usage.audio_output
    assert usage.prompt + usage.completion == every


def test_one_token_costs_at_least_a_micro_credit_unless_free() -> None:
    """The smallest paid use is not lost in rounding; free use is free."""
    cheap = Price(input=1, cached_input=1, output=1, version="v")
    assert cost(Usage(source="provider", input=1), cheap) == 1
    assert cost(Usage(source="provider", input=1), Price(input=0, cached_input=0, output=0, version="v")) == 0
    assert cost(Usage(source="none"), cheap) == 0
    called = Price(input=0, cached_input=0, output=0, request=7, version="v")
    assert [cost(Usage(source=source, input=count), called) for source, count in USED] == [7, 7, 0]


def test_the_published_price_of_a_million_tokens() -> None:
    """A million tokens of each kind cost exactly what the price list says."""
    price = Price(input=1_000_000, cached_input=100_000, output=4_000_000, version="v")
    usage = Usage(source="provider", input=10**6, cached=10**6, output=10**6)
    assert cost(usage, price) == 5_100_000


@pytest.mark.parametrize(
    "name", ["input", "cached", "cache_write", "output", "reasoning", "audio_input", "audio_output"]
)
@pytest.mark.parametrize("count", [-1, TOKENS_MAX + 1])
def test_impossible_counts_are_refused(name: str, count: int) -> None:
    """A negative count would give credits away."""
    with pytest.raises(Invalid, match="invalid_usage"):
        require_usage(structs.replace(Usage(source="provider"), **{name: count}))


@pytest.mark.parametrize(
    "name", ["input", "cached_input", "output", "audio_input", "audio_output", "cache_write", "request"]
)
@pytest.mark.parametrize("amount", [-1, AMOUNT_MAX + 1])
def test_impossible_prices_are_refused(name: str, amount: int) -> None:
    """A negative price would too."""
    fine = Price(input=1, cached_input=1, output=1, version="v")
    require_price(structs.replace(fine, standard=fine))
    with pytest.raises(Invalid, match="invalid_price"):
        require_price(structs.replace(fine, **{name: amount}))
    with pytest.raises(Invalid, match="invalid_price"):
        require_price(structs.replace(fine, standard=structs.replace(fine, **{name: amount})))
