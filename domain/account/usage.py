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


class Price(Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """Micro-credits per million tokens of each kind, and the version of the price list they come from.

    Where no price of audio is stated, audio that is used all the same costs as text: more than nothing in any case.
    """

    input: MicroCredits
    cached_input: MicroCredits
    output: MicroCredits
    version: str
    audio_input: MicroCredits | None = None
    audio_output: MicroCredits | None = None


class Usage(Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """Tokens by kind. The buckets are disjoint: `input` is fresh text only, `output` excludes `reasoning` and audio."""

    source: UsageSource
    input: int = 0
    cached: int = 0
    cache_write: int = 0
    output: int = 0
    reasoning: int = 0
    audio_input: int = 0
    audio_output: int = 0

    @property
    def prompt(self) -> int:
        """All tokens that went in: what providers call prompt tokens."""
        return self.input + self.cached + self.cache_write + self.audio_input

    @property
    def completion(self) -> int:
        """All tokens that came out: what providers call completion tokens."""
        return self.output + self.reasoning + self.audio_output


NOTHING_USED = Usage(source="none")


def require_usage(usage: Usage) -> None:
    """`Invalid` for counts that no call can have: negative ones would give credits away."""
    counts = (usage.input, usage.cached, usage.cache_write, usage.output, usage.reasoning)
    audio = (usage.audio_input, usage.audio_output)
    if not all(0 <= count <= TOKENS_MAX for count in counts + audio):
        raise Invalid("invalid_usage", "Token counts must lie between 0 and a thousand million.", param="usage")


def require_price(price: Price) -> None:
    """`Invalid` for a price below zero or beyond all amounts."""
    every = (price.input, price.cached_input, price.output, price.audio_input or 0, price.audio_output or 0)
    if min(every) < 0 or max(every) > AMOUNT_MAX:
        raise Invalid("invalid_price", "A price must lie between 0 and 1000000000 credits.", param="price")


def audio_prices(price: Price) -> tuple[MicroCredits, MicroCredits]:
    """What a million tokens of audio cost, in and out; as text where the price list does not say."""
    heard = price.input if price.audio_input is None else price.audio_input
    spoken = price.output if price.audio_output is None else price.audio_output
    return heard, spoken


def cost(usage: Usage, price: Price) -> MicroCredits:
    """The exact sum over all buckets, rounded up once to a micro-credit."""
    total = (
        (usage.input + usage.cache_write) * price.input
        + usage.cached * price.cached_input
        + (usage.output + usage.reasoning) * price.output
    )
    if usage.audio_input or usage.audio_output:
        heard, spoken = audio_prices(price)
        total += usage.audio_input * heard + usage.audio_output * spoken
    return -(-total // TOKENS_PER_PRICE)
