"""Commands with the values that most tests do not care about."""

from typing import Any

from domain.account.account import AGGREGATE, Account
from domain.account.api_key_limits import NO_LIMITS, KeyLimits
from domain.account.api_keys import CreateApiKey
from domain.account.credits import AddCredits
from domain.account.holds import PlaceHold, ReleaseHold, ReportProgress, SettleHold
from domain.account.usage import Price, Usage
from domain.instant import MINUTE, Instant
from domain.message import Event
from tests.domain.scenario import T0, Scenario

ONE_EACH = Price(input=1_000_000, cached_input=1_000_000, output=1_000_000, version="v1")
"""One micro-credit for each token, so that amounts and tokens are the same numbers."""


def account(*given: Event) -> Scenario[Account]:
    """An account with a past."""
    return Scenario(AGGREGATE, *given)


def account_with(amount: int, **words: Any) -> Scenario[Account]:
    """An account with one grant, `g`."""
    scenario = account()
    scenario.when(add("g", amount, **words))
    return scenario


def add(grant_id: str, amount: int, *, priority: int = 100, expires_at: Instant | None = None) -> AddCredits:
    """Grants credits."""
    return AddCredits(
        grant_id=grant_id,
        amount=amount,
        source="test",
        reference=grant_id,
        priority=priority,
        expires_at=expires_at,
    )


def place(
    hold_id: str,
    amount: int,
    *,
    amount_min: int | None = None,
    expires_at: Instant = T0 + 10 * MINUTE,
    price: Price = ONE_EACH,
    key_id: str | None = "key_1",
) -> PlaceHold:
    """Holds credits, all of them or nothing unless told otherwise."""
    least = amount if amount_min is None else amount_min
    return PlaceHold(
        hold_id=hold_id, amount=amount, amount_min=least, model="m", price=price, expires_at=expires_at, key_id=key_id
    )


def used(tokens: int, source: Any = "provider") -> Usage:
    """So many tokens of output."""
    return Usage(source=source, output=tokens)


def settle(hold_id: str, tokens: int) -> SettleHold:
    """Charges so many tokens."""
    return SettleHold(hold_id=hold_id, usage=used(tokens))


def progress(hold_id: str, tokens: int) -> ReportProgress:
    """Reports so many tokens."""
    return ReportProgress(hold_id=hold_id, usage=used(tokens, "estimated"))


def release(hold_id: str) -> ReleaseHold:
    """Gives everything back."""
    return ReleaseHold(hold_id=hold_id, reason="failed")


def create_key(
    key_id: str, *, keys_max: int | None = 2, expires_at: Instant | None = None, limits: KeyLimits = NO_LIMITS
) -> CreateApiKey:
    """Makes an API key."""
    return CreateApiKey(
        key_id=key_id,
        name="key",
        scopes=("read", "write"),
        mode="live",
        digest="digest",
        hint="fs_live_…abcd",
        created_by="user_1",
        keys_max=keys_max,
        secret_sealed="sealed",
        expires_at=expires_at,
        limits=limits,
    )
