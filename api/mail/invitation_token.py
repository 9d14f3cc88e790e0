"""The token that an invitation is accepted with: it goes to the invited address and nowhere else.

`inv_` and base64url of a version, the organization's and the invitation's id, and 32 bytes of HMAC-SHA256 over these.
It is made anew whenever the mail is to be sent again, so nothing that opens an organization is stored. That it works
once, and until when, the organization decides.
"""

import hmac
import struct

from msgspec import Struct

from api import base64url
from api.lookup import LookupHash

PREFIX = "inv_"
LENGTH = 91
"""Of every token, in characters."""
_PURPOSE = "invitation token"
_VERSION = 1
_HEAD = struct.Struct(">B16s16s")


class InvitationToken(Struct, frozen=True, kw_only=True):
    """Which invitation of which organization."""

    org_id: str
    invitation_id: str

    def sign(self, lookup: LookupHash) -> str:
        """The text of the token."""
        org, invitation = (bytes.fromhex(each.partition("_")[2]) for each in (self.org_id, self.invitation_id))
        payload = _HEAD.pack(_VERSION, org, invitation)
        return PREFIX + base64url.encoded(payload + lookup.mac(_PURPOSE, payload))


def verify(lookup: LookupHash, text: str) -> InvitationToken | None:
    """The token of a text that we signed; `None` for any other."""
    if len(text) != LENGTH or not text.isascii() or not text.startswith(PREFIX):
        return None
    try:
        raw = base64url.decoded(text.removeprefix(PREFIX))
    except ValueError:
        return None
    _, org, invitation = _HEAD.unpack(raw[: _HEAD.size])
    token = InvitationToken(org_id=f"org_{org.hex()}", invitation_id=f"invitation_{invitation.hex()}")
    return token if hmac.compare_digest(token.sign(lookup), text) else None
