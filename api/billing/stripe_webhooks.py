"""Stripe's webhooks: whether one is genuine, and which object it hints at.

Nothing but ids is taken from an event: it may be late, repeated, out of order, or of another API version. What it is
about is asked of Stripe again.
"""

import hmac
from collections.abc import Sequence
from typing import Any, Literal, TypeAlias

import msgspec
import structlog
from msgspec import Struct

from api.errors import ApiError

TOLERANCE_S = 300
"""How far a signature's time may be from ours: an old one is a replay."""
SIGNATURES_MAX = 20
ID_LENGTH_MAX = 255
Subject: TypeAlias = Literal["session", "payment", "subscription", "invoice"]


class Hint(Struct, frozen=True, kw_only=True):
    """What to look up: the object's kind and id. `event_id` names the news."""

    event_id: str
    event_type: str = ""
    subject: Subject = "session"
    id: str = ""


class _Data(Struct, frozen=True, kw_only=True):
    object: dict[str, Any]


class _Event(Struct, frozen=True, kw_only=True):
    id: str
    type: str
    data: _Data
    livemode: bool | None = None


_decode = msgspec.json.Decoder(_Event).decode
_log = structlog.get_logger()


def verify(body: bytes, header: str | None, secrets: Sequence[str], now_s: int) -> None:
    """400 `invalid_signature` unless one of the secrets signed `<t>.<body>` with HMAC-SHA256, not long ago.

    The header is `t=<unix seconds>,v1=<hex>,…`; see https://docs.stripe.com/webhooks#verify-manually.
    """
    parts = [part.partition("=") for part in (header or "").split(",")[:SIGNATURES_MAX]]
    times = [value for name, _, value in parts if name.strip() == "t"]
    given = [value.strip() for name, _, value in parts if name.strip() == "v1"]
    at = times[0].strip() if len(times) == 1 else ""
    if not (at.isascii() and at.isdigit() and len(at) <= 12) or abs(now_s - int(at)) > TOLERANCE_S:  # noqa: PLR2004  # digits of a time in seconds
        raise ApiError("invalid_signature", param="Stripe-Signature")
    signed = b"%b.%b" % (at.encode("ascii"), body)
    expected = [hmac.digest(secret.encode(), signed, "sha256").hex() for secret in secrets]
    if not any(hmac.compare_digest(each.encode(), value.encode()) for each in expected for value in given):
        raise ApiError("invalid_signature", param="Stripe-Signature")


def hint_of(body: bytes, *, livemode: bool | None = None) -> Hint | None:
    """What the event is about, or `None` where it is nothing to us. 400 `invalid_event`.

    An event of Stripe's other mode than ours is about objects that our key cannot see: nothing, and said in the log.
    """
    try:
        event = _decode(body)
    except msgspec.DecodeError:
        raise ApiError("invalid_event") from None
    if None not in (livemode, event.livemode) and event.livemode != livemode:
        _log.warning("webhook_of_other_mode", event_id=event.id[:ID_LENGTH_MAX], livemode=event.livemode)
        return None
    found = _subject(event.type, event.data.object)
    if found is None:
        return None
    subject, object_id = found
    if not isinstance(object_id, str) or not 1 <= len(object_id) <= ID_LENGTH_MAX or not object_id.isascii():
        return None
    return Hint(event_id=event.id[:ID_LENGTH_MAX], event_type=event.type, subject=subject, id=object_id)


def _subject(kind: str, about: dict[str, Any]) -> tuple[Subject, Any] | None:
    if kind.startswith("checkout.session."):
        return "session", about.get("id")
    if kind == "payment_intent.succeeded":
        return "payment", about.get("id")
    if kind.startswith(("charge.refund", "charge.dispute.", "refund.")):
        return "payment", about.get("payment_intent")
    if kind.startswith("customer.subscription."):
        return "subscription", about.get("id")
    if kind in ("invoice.paid", "invoice.payment_succeeded", "invoice.payment_failed"):
        return "invoice", about.get("id")
    return None
