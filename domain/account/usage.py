"""What a model call used, in buckets that do not overlap, and what that costs at a price."""

from typing import Literal, TypeAlias

from msgspec import Struct

from domain.money import MicroCredits

UsageSource: TypeAlias = Literal["provider", "estimated", "none"]
"""Where the counts came from: the provider said so, we counted what was delivered, or nothing was used."""

TOKENS_PER_PRICE = 1_000_000
"""Prices are per million tokens."""


class Price(Struct, frozen=True, kw_only=True):
    """Micro-credits per million tokens of each kind, and the version of the price list they come from."""

    input: MicroCredits
    cached_input: MicroCredits
    output: MicroCredits
    version: str


class Usage(Struct, frozen=True, kw_only=True, omit_defaults=True):
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


def cost(usage: Usage, price: Price) -> MicroCredits:
    """The exact sum over all buckets, rounded up once to a micro-credit."""
    total = (
        (usage.input + usage.cache_write) * price.input
        + usage.cached * price.cached_input
        + usage.completion * price.output
    )
    return -(-total // TOKENS_PER_PRICE)
