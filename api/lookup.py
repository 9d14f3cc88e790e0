"""HMACs of what must be found again without being readable: email addresses, request fingerprints, signed ids."""

import hmac
import unicodedata

import idna

from api.master_keys import MasterKeys
from eventstore.store import SecretStore

LOOKUP_SUBJECT = "lookup"
DOMAIN_MAX = 253
ENCODED = "xn--"


class LookupHash:
    """HMAC-SHA256 (RFC 2104) with the one lookup key of this installation, which is never rotated.

    Each purpose has a name of its own in the message, so that a hash for one is worthless for another.
    """

    def __init__(self, key: bytes) -> None:
        self._key = key

    @classmethod
    async def load(cls, store: SecretStore, master_keys: MasterKeys) -> "LookupHash":
        """The installation's lookup key; made here if this is the first process that asks for it."""
        stored = await store.lookup_key(master_keys.new_data_key(LOOKUP_SUBJECT))
        rewrapped = master_keys.rewrapped(stored)
        if rewrapped is not None:
            await store.rewrap_lookup_key(stored, rewrapped)
        return cls(master_keys.unwrap(stored))

    def mac(self, purpose: str, *parts: bytes) -> bytes:
        """32 bytes. Lengths are part of the message, so no two lists of parts give the same."""
        message = b"".join([b"%d:%b" % (len(part), part) for part in (purpose.encode(), *parts)])
        return hmac.digest(self._key, message, "sha256")

    def digest(self, purpose: str, *parts: bytes) -> str:
        """The same as 64 hexadecimal digits."""
        return self.mac(purpose, *parts).hex()

    def email(self, address: str) -> str:
        """What keeps an address unique and finds its user: the same for any case and Unicode form of it."""
        return self.digest("email", normal_email(address).encode())


def normal_email(address: str) -> str:
    """Lower case, in Unicode's NFKC, the domain in letters: people type the same address in several ways."""
    lowered = unicodedata.normalize("NFKC", address).lower()
    local, at, domain = unicodedata.normalize("NFKC", lowered).rpartition("@")
    return f"{local}{at}{_in_letters(domain)}"


def _in_letters(domain: str) -> str:
    """The domain as people read it (RFC 5891), however it was spelled; what is none that may be so stays as it is."""
    if len(domain) > DOMAIN_MAX or (domain.isascii() and ENCODED not in domain):
        return domain
    try:
        return idna.decode(idna.encode(domain, uts46=True))
    except idna.IDNAError:
        return domain
