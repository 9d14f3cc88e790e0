"""How a transaction came about, as its account sees it: prices, tokens, hold, grants, commands and events."""

from typing import Annotated, Literal

from msgspec import Meta, Struct

from api.rfc3339 import format_instant, maybe_instant
from api.routes.transactions import TokensUsed, TransactionShown, tokens_used
from domain.account.credits import CreditsGranted
from domain.account.hold_corrections import HoldCorrected
from domain.account.holds import HoldClosed, HoldPlaced
from domain.account.ledger import Burn
from domain.account.usage import TOKENS_PER_PRICE, Price, Usage, audio_prices, cache_write_price, price_served
from domain.money import MICRO, MicroCredits, format_credits, maybe_credits
from domain.recorded import Recorded
from eventstore import codec
from projections.transactions import grant_transaction

TokenKind = Literal["input", "cached", "cache_write", "output", "reasoning", "audio_input", "audio_output"]
Exact = Annotated[
    str,
    Meta(description="Credits with twelve places: exact, before the sum is rounded up.", examples=["0.000001250000"]),
]


class EventActor(Struct, frozen=True, kw_only=True):
    """Who caused an event: a user, a user through a key, or the system."""

    kind: str
    id: str
    key_id: str | None


class EventShown(Struct, frozen=True, kw_only=True):
    """An event of the log. `version` counts in the stream, `sequence` in the shard; neither ever changes."""

    id: str
    type: str
    at: str
    stream: str
    version: int
    shard: int
    sequence: int
    command_id: str
    command: str | None
    actor: EventActor


class PricesShown(Struct, frozen=True, kw_only=True):
    """Credits for a million tokens, as the hold recorded them, and for the call itself. Reasoning costs as output.

    Audio without a price costs as text, and what is written into a cache as input. `tier` is the tier of service in
    which it was served, or while that is not known asked for; null is the standard one.
    """

    version: str
    tier: str | None
    input: str
    cached_input: str
    output: str
    audio_input: str | None
    audio_output: str | None
    cache_write: str | None
    request: str


class TokensCharged(Struct, frozen=True, kw_only=True):
    """Tokens of one kind and what they cost; the kinds do not overlap."""

    kind: TokenKind
    tokens: int
    price: str
    cost: Exact


class ChargeShown(Struct, frozen=True, kw_only=True):
    """`cost` is the sum of all kinds and of the call itself, rounded up once.

    `charged` of it was paid, `owed` became debt.
    """

    usage: TokensUsed
    tokens: list[TokensCharged]
    request: str
    exact: Exact
    cost: str
    charged: str
    owed: str


class HoldExplained(Struct, frozen=True, kw_only=True):
    """The credits that were set aside for the request, and how that ended; null while it is open."""

    id: str
    model: str
    amount: str
    placed_at: str
    expires_at: str
    closed_at: str | None
    status: Literal["open", "settled", "released", "expired"]
    reason: str | None
    api_key_id: str | None
    request_id: str | None
    latency_ms: int | None
    prices: PricesShown


class CorrectionShown(Struct, frozen=True, kw_only=True):
    """What was true after all. `difference` was added to the cost; `repaid` of what came back went to debt."""

    at: str
    difference: str
    charged: str
    owed: str
    repaid: str
    usage: TokensUsed
    tokens: list[TokensCharged]


class GrantExplained(Struct, frozen=True, kw_only=True):
    """Credits that came in together. `priority` and `expires_at` say when they are used."""

    id: str
    transaction_id: str
    source: str
    reference: str
    priority: int
    amount: str
    repaid: str
    granted_at: str
    expires_at: str | None


class BurnShown(Struct, frozen=True, kw_only=True):
    """What one grant gave. Corrections have made grants too; those have no transaction of their own name."""

    grant_id: str
    amount: str
    transaction_id: str | None


class TransactionExplained(Struct, frozen=True, kw_only=True):
    """A transaction and everything behind it; what a kind of transaction does not have is null or empty."""

    transaction: TransactionShown
    events: list[EventShown]
    hold: HoldExplained | None
    charge: ChargeShown | None
    correction: CorrectionShown | None
    grant: GrantExplained | None
    burnt: list[BurnShown]


def event_shown(recorded: Recorded) -> EventShown:
    """The event with who caused it; where that was, is for the audit trail."""
    metadata = recorded.metadata
    actor = metadata.actor
    return EventShown(
        id=f"{recorded.stream}/{recorded.version}",
        type=codec.tag_of(recorded.event),
        at=format_instant(recorded.at),
        stream=recorded.stream,
        version=recorded.version,
        shard=recorded.shard,
        sequence=recorded.seq,
        command_id=metadata.command_id,
        command=metadata.command,
        actor=EventActor(kind=actor.kind, id=actor.id, key_id=actor.key_id),
    )


def hold_explained(placed: HoldPlaced, closed: HoldClosed | None) -> HoldExplained:
    """The hold from its own events."""
    price = placed.price if closed is None else price_served(placed.price, standard=closed.standard)
    return HoldExplained(
        id=placed.hold_id,
        model=placed.model,
        amount=format_credits(placed.amount),
        placed_at=format_instant(placed.placed_at),
        expires_at=format_instant(placed.expires_at),
        closed_at=None if closed is None else format_instant(closed.closed_at),
        status="open" if closed is None else closed.how,
        reason=None if closed is None else closed.reason,
        api_key_id=placed.key_id,
        request_id=None if closed is None else closed.request_id,
        latency_ms=None if closed is None else closed.latency_ms,
        prices=PricesShown(
            version=price.version,
            tier=price.tier,
            input=format_credits(price.input),
            cached_input=format_credits(price.cached_input),
            output=format_credits(price.output),
            audio_input=maybe_credits(price.audio_input),
            audio_output=maybe_credits(price.audio_output),
            cache_write=maybe_credits(price.cache_write),
            request=format_credits(price.request),
        ),
    )


def charge_shown(closed: HoldClosed, price: Price) -> ChargeShown:
    """The charge, kind by kind, at the hold's price."""
    price = price_served(price, standard=closed.standard)
    tokens = charged_tokens(closed.usage, price)
    request = 0 if closed.usage.source == "none" else price.request
    usage = tokens_used(closed.usage)
    assert usage is not None
    return ChargeShown(
        usage=usage,
        tokens=tokens,
        request=format_credits(request),
        exact=format_exact(
            sum(count * each for _, count, each in _kinds(closed.usage, price)) + request * TOKENS_PER_PRICE
        ),
        cost=format_credits(closed.cost),
        charged=format_credits(closed.charged),
        owed=format_credits(closed.owed),
    )


def correction_shown(event: HoldCorrected, price: Price) -> CorrectionShown:
    """The one late correction, at the hold's price."""
    usage = tokens_used(event.usage)
    assert usage is not None
    return CorrectionShown(
        at=format_instant(event.corrected_at),
        difference=format_credits(event.difference),
        charged=format_credits(event.charged),
        owed=format_credits(event.owed),
        repaid=format_credits(event.repaid),
        usage=usage,
        tokens=charged_tokens(event.usage, price_served(price, standard=event.standard)),
    )


def grant_explained(account_id: str, event: CreditsGranted) -> GrantExplained:
    """The grant from its own event."""
    return GrantExplained(
        id=event.grant_id,
        transaction_id=grant_transaction(account_id, event.grant_id),
        source=event.source,
        reference=event.reference,
        priority=event.priority,
        amount=format_credits(event.amount),
        repaid=format_credits(event.repaid),
        granted_at=format_instant(event.granted_at),
        expires_at=maybe_instant(event.expires_at),
    )


def burn_shown(account_id: str, burn: Burn) -> BurnShown:
    """What a grant gave, and where to read on."""
    named = not burn.grant_id.startswith("correction_")
    return BurnShown(
        grant_id=burn.grant_id,
        amount=format_credits(burn.amount),
        transaction_id=grant_transaction(account_id, burn.grant_id) if named else None,
    )


def charged_tokens(usage: Usage, price: Price) -> list[TokensCharged]:
    """Each kind that was used, with its price and its exact cost."""
    return [
        TokensCharged(kind=kind, tokens=count, price=format_credits(each), cost=format_exact(count * each))
        for kind, count, each in _kinds(usage, price)
        if count
    ]


def _kinds(usage: Usage, price: Price) -> tuple[tuple[TokenKind, int, MicroCredits], ...]:
    """Kind, tokens, and micro-credits for a million of them, as `domain.account.usage.cost` adds them up."""
    heard, spoken = audio_prices(price)
    return (
        ("input", usage.input, price.input),
        ("cached", usage.cached, price.cached_input),
        ("cache_write", usage.cache_write, cache_write_price(price)),
        ("output", usage.output, price.output),
        ("reasoning", usage.reasoning, price.output),
        ("audio_input", usage.audio_input, heard),
        ("audio_output", usage.audio_output, spoken),
    )


def format_exact(amount: int) -> str:
    """Tokens times micro-credits for a million, as credits with all twelve places."""
    whole, fraction = divmod(amount, MICRO * TOKENS_PER_PRICE)
    return f"{whole}.{fraction:012d}"
