"""Autumn's webhooks: which customer one is about. Nothing else is taken from it: Autumn is asked how things stand."""

from typing import Any

import msgspec
from msgspec import Struct

import api.billing.refusals  # noqa: F401  # declares what is refused
from api.errors import ApiError

PREFIXES = ("billing.", "customer.", "invoice.")
"""The events after which a plan or a payment may be another; those about balances say nothing that we do not know."""
ID_LENGTH_MAX = 255


class _Event(Struct, frozen=True, kw_only=True):
    type: str
    data: dict[str, Any]


_decode = msgspec.json.Decoder(_Event).decode


def customer_of(body: bytes) -> str | None:
    """The id of the customer, which is our account's; `None` where it is nothing to us. 400 `invalid_event`."""
    try:
        event = _decode(body)
    except msgspec.DecodeError:
        raise ApiError("invalid_event") from None
    if not event.type.startswith(PREFIXES):
        return None
    customer = event.data.get("customer")
    found = event.data.get("customer_id") or (customer.get("id") if isinstance(customer, dict) else None)
    return found if isinstance(found, str) and 1 <= len(found) <= ID_LENGTH_MAX and found.isascii() else None
