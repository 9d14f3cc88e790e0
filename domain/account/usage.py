"""What a model call used, in buckets that do not overlap, and what that costs at a price."""

from typing import Literal, TypeAlias

from msgspec import Struct

from domain.errors import Invalid
from domain.money import AMOUNT_MAX, MicroCredits

UsageSource: TypeAlias = Literal["provider", "estimated", "none"]
"""Where the counts came from: the provider said so, we counted what was delivered, or nothing was used."""

TOKENS_PER_PRICE = 1_000_000
"""Prices are per million tokens."""
TOKENS_MAX = 1_000_000_000
"""The most tokens of one kind that one call can have used."""


class Price(Struct, frozen=True, kw_only=True, gc=False):
    """Micro-credits per million tokens of each kind, and the version of the price list they come from."""

    input: MicroCredits
    cached_input: MicroCredits
    output: MicroCredits
    version: str


class Usage(Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """Tokens by kind. The buckets are disjoint: `input` is fresh input only, `output` excludes `reasoning`."""

    source: UsageSource
    input: int = 0
    cached: int = 0
    cache_write: int = 0
    output: int = 0
    reasoning: int = 0

    @property
    def prompt(self) -> int:
        """All tokens that went in: what providers call prompt tokens."""
        return self.input + self.cached + self.cache_write

    @property
    def completion(self) -> int:
        """All tokens that came out: what providers call completion tokens."""
        return self.output + self.reasoning


def require_usage(usage: Usage) -> None:
    """`Invalid` for counts that no call can have: negative ones would give credits away."""
    counts = (usage.input, usage.cached, usage.cache_write, usage.output, usage.reasoning)
    if not all(0 <= count <= TOKENS_MAX for count in counts):
        raise Invalid("invalid_usage", "Token counts must lie between 0 and a thousand million.", param="usage")


def require_price(price: Price) -> None:
    """`Invalid` for a price below zero or beyond all amounts."""
    if not all(0 <= each <= AMOUNT_MAX for each in (price.input, price.cached_input, price.output)):
        raise Invalid("invalid_price", "A price must lie between 0 and 1000000000 credits.", param="price")


def cost(usage: Usage, price: Price) -> MicroCredits:
    """The exact sum over all buckets, rounded up once to a micro-credit."""
    total = (
        (usage.input + usage.cache_write) * price.input
        + usage.cached * price.cached_input
        + usage.completion * price.output
    )
    return -(-total // TOKENS_PER_PRICE)
