"""The lines of invoices, in Stripe's shape: of a whole period, and of what is left of it when it changes."""

import secrets
from collections.abc import Sequence
from typing import Any, TypeAlias

Thing: TypeAlias = dict[str, Any]
SHOWN_MAX = 10
"""Lines that an invoice shows; all of them have an address of their own."""


def whole(item: Thing) -> Thing:
    """The line of a subscription's item for its running period."""
    return _line(item, item["current_period_start"], item["price"]["unit_amount"] * item["quantity"])


def prorated(before: Thing, after: Thing, now: int) -> Sequence[Thing]:
    """What is left of the period, sent back as it was and billed as it is, by the second."""
    start, end = before["current_period_start"], before["current_period_end"]
    left = min(max(end - now, 0), end - start)
    full = [each["price"]["unit_amount"] * each["quantity"] for each in (before, after)]
    old, new = (round(cents * left / (end - start)) for cents in full)
    return [_line(before, end - left, -old), _line(after, end - left, new)]


def first_lines(lines: Thing) -> Thing:
    """As an invoice shows them."""
    return {**lines, "data": lines["data"][:SHOWN_MAX], "has_more": len(lines["data"]) > SHOWN_MAX}


def _line(item: Thing, start: int, cents: int) -> Thing:
    return {
        "id": f"il_{secrets.token_hex(8)}",
        "object": "line_item",
        "amount": cents,
        "currency": item["price"]["currency"],
        "quantity": item["quantity"],
        "period": {"start": start, "end": item["current_period_end"]},
        "pricing": {"type": "price_details", "price_details": {"price": item["price"]["id"]}},
    }
