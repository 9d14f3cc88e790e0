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

    Where no price of audio or of what is written into a cache is stated, it costs as text: more than nothing in any
    case.
    """

    input: MicroCredits
    cached_input: MicroCredits
    output: MicroCredits
    version: str
    audio_input: MicroCredits | None = None
    audio_output: MicroCredits | None = None
    cache_write: MicroCredits | None = None
    request: MicroCredits = 0
    """For the call itself, once anything of it was used."""
    tier: str | None = None
    """The provider's tier of service that was asked for; `None` is the standard one."""
    standard: "Price | None" = None
    """What is charged instead where the provider has served a tier's request as any other."""


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
    audio = (price.audio_input or 0, price.audio_output or 0)
    every = (price.input, price.cached_input, price.output, price.cache_write or 0, price.request, *audio)
    if min(every) < 0 or max(every) > AMOUNT_MAX:
        raise Invalid("invalid_price", "A price must lie between 0 and 1000000000 credits.", param="price")
    if price.standard is not None:
        if price.standard.standard is not None:
            raise Invalid("invalid_price", "A standard price has no other one.", param="price")
        require_price(price.standard)


def audio_prices(price: Price) -> tuple[MicroCredits, MicroCredits]:
    """What a million tokens of audio cost, in and out; as text where the price list does not say."""
    heard = price.input if price.audio_input is None else price.audio_input
    spoken = price.output if price.audio_output is None else price.audio_output
    return heard, spoken


def price_served(price: Price, *, standard: bool) -> Price:
    """The price of what the provider has served: not a tier's where it has served it as any other request."""
    return price.standard if standard and price.standard is not None else price


def cache_write_price(price: Price) -> MicroCredits:
    """What a million tokens cost that are written into a cache; as fresh ones where the price list does not say."""
    return price.input if price.cache_write is None else price.cache_write


def cost(usage: Usage, price: Price) -> MicroCredits:
    """The exact sum over all buckets and of the call itself, rounded up once to a micro-credit."""
    total = (
        usage.input * price.input + usage.cached * price.cached_input + (usage.output + usage.reasoning) * price.output
    )
    if usage.cache_write:
        total += usage.cache_write * cache_write_price(price)
    if price.request and usage.source != "none":
        total += price.request * TOKENS_PER_PRICE
    if usage.audio_input or usage.audio_output:
        heard, spoken = audio_prices(price)
        total += usage.audio_input * heard + usage.audio_output * spoken
    return -(-total // TOKENS_PER_PRICE)
