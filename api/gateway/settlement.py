"""What a hold granted and what a call came to, and how its client is told."""

from msgspec import Struct

from domain.account.quota_windows import Counted
from domain.money import MicroCredits, format_credits


class Placed(Struct, frozen=True, kw_only=True):
    """A hold that was decided. `granted` may be less than was asked for; `available` is what is left beside it."""

    granted: MicroCredits
    available: MicroCredits
    messages: Counted | None = None
    """The account's day with this message, where messages are limited."""


class Settlement(Struct, frozen=True, kw_only=True):
    """What a call came to. `settled` is False while its outcome is not known yet: `remaining` is reckoned then."""

    cost: MicroCredits
    remaining: MicroCredits
    settled: bool


def cost_headers(settlement: Settlement) -> dict[str, str]:
    """What every billable answer carries."""
    return {
        "X-Credits-Cost": format_credits(settlement.cost),
        "X-Credits-Remaining": format_credits(settlement.remaining),
        "X-Settlement": "settled" if settlement.settled else "pending",
    }


def cost_comment(settlement: Settlement) -> bytes:
    """The line that tells a stream's cost; a comment, which clients ignore (WHATWG HTML, "Server-sent events")."""
    state = "settled" if settlement.settled else "pending"
    cost, remaining = format_credits(settlement.cost), format_credits(settlement.remaining)
    return f": cost={cost} remaining={remaining} settlement={state}\n\n".encode()
