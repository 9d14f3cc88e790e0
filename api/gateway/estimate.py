"""How much a request can cost at most, before it is made: what its hold sets aside."""

from msgspec import Struct, structs

from api.gateway.request import ChatRequest
from domain.account.usage import TOKENS_PER_PRICE, Price, audio_prices, cache_write_price
from domain.money import AMOUNT_MAX, MicroCredits

OUTPUT_TOKENS_MIN = 16
"""An answer that must be shorter than this to be affordable is refused: it would be paid for and of no use."""


class Estimate(Struct, frozen=True, kw_only=True):
    """Tokens on the safe side, and what the hold asks for."""

    prompt: int
    output: int
    """Of all choices together."""
    amount: MicroCredits
    amount_min: MicroCredits
    """With less the request is refused; between the two its output is cut to what is affordable."""


def estimate(request: ChatRequest, price: Price, *, context: int, max_output: int) -> Estimate:
    """The most that a request can use on a model with this context and output, in tokens and micro-credits.

    No token is shorter than a byte, so the prompt has at most as many tokens as bytes; nor more than the context.
    Without a `max_tokens` of the client's own, the output may be cut to what is affordable; not where something else
    would bound it.
    """
    price = _dearest(price, audio=request.audio)
    extras = request.extras
    prompt = context if request.media or extras.elsewhere else min(request.size, context)
    each = min(request.max_tokens or max_output, context) + extras.predicted_bytes
    output = each * request.n
    whole = request.max_tokens or extras.unbounded
    least = output if whole else min(each, OUTPUT_TOKENS_MIN) * request.n
    return Estimate(
        prompt=prompt, output=output, amount=_amount(prompt, output, price), amount_min=_amount(prompt, least, price)
    )


def _dearest(price: Price, *, audio: bool) -> Price:
    """As if all of it were of the dearest kind that it may be: in the tier or not, and sound where there is some."""
    if price.standard is None and not audio:
        return price
    priced = [price] if price.standard is None else [price, price.standard]
    heard, spoken = zip(*map(audio_prices, priced), strict=True) if audio else ((0,), (0,))
    return structs.replace(
        price,
        input=max(*(each.input for each in priced), *heard),
        cached_input=max(each.cached_input for each in priced),
        cache_write=max(map(cache_write_price, priced)),
        output=max(*(each.output for each in priced), *spoken),
        request=max(each.request for each in priced),
    )


def _amount(prompt: int, output: int, price: Price) -> MicroCredits:
    """As `domain.account.usage.cost`, at the dearest price that the prompt can have: a cache may turn out empty."""
    total = prompt * _dearest_input(price) + output * price.output + price.request * TOKENS_PER_PRICE
    return min(-(-total // TOKENS_PER_PRICE), AMOUNT_MAX)


def _dearest_input(price: Price) -> MicroCredits:
    return max(price.input, price.cached_input, price.cache_write or 0)


def dearest_amount(tokens: int, price: Price) -> MicroCredits:
    """What so many tokens cost at most, whatever they turn out to be, but for sound."""
    total = tokens * max(_dearest_input(price), price.output) + price.request * TOKENS_PER_PRICE
    return min(-(-total // TOKENS_PER_PRICE), AMOUNT_MAX)


def affordable_tokens(request: ChatRequest, wanted: Estimate, granted: MicroCredits, price: Price, context: int) -> int:
    """The `max_tokens` of one choice that a hold of `granted`, less than was asked for, pays for.

    Prompt and `max_tokens` together must fit into the context, or the provider refuses them; as the estimate of the
    prompt is a bound that real text stays far below, half of its bytes is taken for that where the bound does not fit.
    """
    price = _dearest(price, audio=request.audio)
    left = granted - _amount(wanted.prompt, 0, price)
    paid = left * TOKENS_PER_PRICE // price.output // request.n if price.output else wanted.output // request.n
    room = max(context - wanted.prompt, context - -(-request.size // 2), OUTPUT_TOKENS_MIN)
    return max(1, min(paid, wanted.output // request.n, room))
