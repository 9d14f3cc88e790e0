"""Whether a billable operation may begin, and with how much: the one place that decides it.

The account's writer asks here when it places a hold; the API asks the same about what its read models show, to answer
whether a request would be let in. So the two cannot disagree about the same facts.
"""

from typing import TYPE_CHECKING

from msgspec import Struct

from domain.account.ledger import Ledger
from domain.account.quota_windows import Counted
from domain.account.quotas import count_message
from domain.account.usage import require_price
from domain.errors import Forbidden, Full, Invalid, PaymentRequired
from domain.instant import DAY, Instant
from domain.money import AMOUNT_MAX, MicroCredits

if TYPE_CHECKING:
    from domain.account.account import Account
    from domain.account.holds import PlaceHold

HOLDS_MAX = 5_000
"""Open holds of one account at a time; they may all expire at once, in one transaction."""
HOLD_LENGTH_MAX: Instant = DAY


class Admitted(Struct, frozen=True, kw_only=True, gc=False):
    """What the hold sets aside, and the day with its message counted, where messages are."""

    amount: MicroCredits
    messages: Counted | None


def admit(account: "Account", command: "PlaceHold", at: Instant) -> Admitted:
    """What may be held. `Invalid`, `Full`, `Forbidden`, `PaymentRequired` or `TooMany` where nothing may."""
    credits = account.credits
    require_price(command.price)
    if not 0 <= command.amount_min <= command.amount <= AMOUNT_MAX:
        raise Invalid("invalid_amount", "The amount to hold is out of range.")
    if not at < command.expires_at <= at + HOLD_LENGTH_MAX:
        raise Invalid("invalid_expiry", "A hold must end in the future and within a day.")
    if len(credits.holds) >= HOLDS_MAX:
        raise Full("too_many_holds", f"An account can have {HOLDS_MAX} open holds.")
    _require_credits(credits, command.amount, command.amount_min)
    return Admitted(
        amount=min(_granted_to_key(account, command, at), credits.available),
        messages=None if command.messages is None else count_message(account.quotas, command.messages, at),
    )


def _require_credits(credits: Ledger, amount: MicroCredits, amount_min: MicroCredits) -> None:
    if amount > 0 and credits.debt > 0:
        raise PaymentRequired(
            "debt_outstanding", "The account owes credits; add credits first.", debt=credits.debt, required=amount_min
        )
    if credits.available < amount_min:
        raise PaymentRequired(
            "insufficient_credits",
            "There are not enough credits for this request.",
            required=amount_min,
            available=credits.available,
        )


def _granted_to_key(account: "Account", command: "PlaceHold", at: Instant) -> MicroCredits:
    """How much of the amount the key may hold; a key that has just ended holds nothing any more."""
    if command.key_id is None:
        return command.amount
    key = account.api_keys.active.get(command.key_id)
    if command.key_id in account.api_keys.revoked or (key is not None and not key.works(at)):
        raise Forbidden("invalid_api_key", "The API key was revoked or has expired.")
    if key is None or command.amount == 0:
        return command.amount
    return account.api_key_spending.grant(command.key_id, key.limits, command.amount, command.amount_min, at)
