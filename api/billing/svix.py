"""Whether a webhook that Svix delivers is genuine; the same scheme as Standard Webhooks 1.0.0."""

import base64
import hmac
from collections.abc import Mapping, Sequence

import api.billing.refusals  # noqa: F401  # declares what is refused
from api.errors import ApiError

HEADERS = ("svix-id", "svix-timestamp", "svix-signature")
TOLERANCE_S = 300
"""How far a message's time may be from ours: an old one is a replay."""
SIGNATURES_MAX = 20
PREFIX = "whsec_"


def verify(body: bytes, headers: Mapping[str, str], secrets: Sequence[str], now_s: int) -> str:
    """The message's id, the same in every repeat. 400 `invalid_signature` unless one of the secrets has signed it.

    What is signed is `<id>.<timestamp>.<body>` with HMAC-SHA256; `svix-signature` is `v1,<base64> v1,<base64> …`. See
    https://docs.svix.com/receiving/verifying-payloads/how-manual.
    """
    message_id, at, given = (headers.get(name, "").strip() for name in HEADERS)
    good_id = 1 <= len(message_id) <= 255 and message_id.isascii() and message_id.isprintable()  # noqa: PLR2004  # bounds it
    good_time = at.isascii() and at.isdigit() and len(at) <= 12 and abs(now_s - int(at)) <= TOLERANCE_S  # noqa: PLR2004  # digits of a time in seconds
    if not (good_id and good_time):
        raise ApiError("invalid_signature", param=HEADERS[2])
    signed = b"%b.%b.%b" % (message_id.encode(), at.encode(), body)
    expected = [base64.b64encode(hmac.digest(_key(secret), signed, "sha256")) for secret in secrets]
    signatures = [
        each.removeprefix("v1,").encode() for each in given.split()[:SIGNATURES_MAX] if each.startswith("v1,")
    ]
    if not any(hmac.compare_digest(mine, theirs) for mine in expected for theirs in signatures):
        raise ApiError("invalid_signature", param=HEADERS[2])
    return message_id


def _key(secret: str) -> bytes:
    return base64.b64decode(secret.removeprefix(PREFIX))


def is_secret(secret: str) -> bool:
    """Whether it is `whsec_` and base64 of at least 16 bytes."""
    try:
        return len(base64.b64decode(secret.removeprefix(PREFIX), validate=True)) >= 16  # noqa: PLR2004  # bytes that nobody guesses
    except ValueError:
        return False
