"""Base64url without padding (RFC 7515, 2), in which tokens, cursors and other texts for clients are spelled."""

import base64


def encoded(raw: bytes) -> str:
    """The one spelling of these bytes."""
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def decoded(text: str) -> bytes:
    """The bytes of a text. `ValueError` for any text that `encoded` would not have written.

    The last character has bits that decoding drops, so more than one text decodes to the same bytes.
    """
    raw = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    if encoded(raw) != text:
        raise ValueError("not the one spelling of its bytes")
    return raw
