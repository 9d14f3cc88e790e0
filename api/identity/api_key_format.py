"""How an API key is written, recognised and compared: `fs_live_{id}_{secret}{checksum}`.

`id` is the public part of `key_{id}` (32 hexadecimal digits), `secret` 256 random bits in base62 (43 digits),
`checksum` the CRC-32 (ISO 3309) of all before it in base62 (6 digits): a mistyped key is refused without a look-up,
and scanners for leaked keys can tell one from random text.
"""

import hmac
import re
import secrets
import zlib
from collections.abc import Mapping
from typing import Literal

from msgspec import Struct

BRAND = "fs"
SECRET_BYTES = 32
SECRET_DIGITS = 43
CHECKSUM_DIGITS = 6
PEPPER_BYTES_MIN = 32
HINT_DIGITS = 4
_DIGITS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_BRAND = re.compile(r"[a-z][a-z0-9]{1,15}", re.ASCII)

Mode = Literal["live", "test"]


class ParsedKey(Struct, frozen=True, kw_only=True):
    """A well-formed key; whether it exists and its secret is right is still to be seen."""

    key_id: str
    mode: Mode


class NewKey(Struct, frozen=True, kw_only=True):
    """A key as its owner gets it, once, and what may be stored of it."""

    text: str
    digest: str
    hint: str


class ApiKeyFormat:
    """Makes, recognises and compares keys of one brand.

    `peppers` maps ids to secrets of 32 bytes or more, kept outside the database: the first digests new keys, all
    compare. A stored digest names its pepper: `{pepper id}:{hexadecimal HMAC-SHA256 of the whole key}`.
    """

    def __init__(self, peppers: Mapping[str, bytes], *, brand: str = BRAND) -> None:
        if not peppers or any(len(pepper) < PEPPER_BYTES_MIN for pepper in peppers.values()):
            raise ValueError(f"API key peppers: at least one, each of {PEPPER_BYTES_MIN} bytes or more")
        if _BRAND.fullmatch(brand) is None:
            raise ValueError("the brand of API keys is 2 to 16 lower-case letters and digits, a letter first")
        self._peppers = dict(peppers)
        self._current = next(iter(peppers))
        self._prefix = f"{brand}_"
        self._pattern = re.compile(
            rf"{brand}_(live|test)_([0-9a-f]{{32}})_[0-9A-Za-z]{{{SECRET_DIGITS + CHECKSUM_DIGITS}}}", re.ASCII
        )

    def make(self, key_id: str, mode: Mode) -> NewKey:
        """A key with a fresh secret for the id `key_…`."""
        secret = base62(int.from_bytes(secrets.token_bytes(SECRET_BYTES)), SECRET_DIGITS)
        body = f"{self._prefix}{mode}_{key_id.removeprefix('key_')}_{secret}"
        text = body + checksum(body)
        if self._pattern.fullmatch(text) is None:
            raise ValueError("the id of an API key is key_ and 32 hexadecimal digits")
        return NewKey(text=text, digest=self.digest(text), hint=self.hint(text))

    def looks_like_key(self, credential: str) -> bool:
        """Is it meant as an API key, even a mistyped one? Such a credential is never tried as a JWT."""
        return credential.startswith(self._prefix)

    def parse(self, text: str) -> ParsedKey | None:
        """The parts of a well-formed key, or `None` for anything mistyped or foreign. Looks nothing up."""
        match = self._pattern.fullmatch(text)
        if match is None or checksum(text[:-CHECKSUM_DIGITS]) != text[-CHECKSUM_DIGITS:]:
            return None
        return ParsedKey(key_id=f"key_{match[2]}", mode="test" if match[1] == "test" else "live")

    def digest(self, text: str) -> str:
        """What is stored in place of the key."""
        return f"{self._current}:{self._hmac(self._current, text)}"

    def matches(self, text: str, stored: str) -> bool:
        """Does the key have this stored digest? In constant time; False when its pepper is not known any more."""
        pepper_id, _, expected = stored.rpartition(":")
        if pepper_id not in self._peppers:
            return False
        return hmac.compare_digest(self._hmac(pepper_id, text), expected)

    def hint(self, text: str) -> str:
        """What listings show of a key: its beginning and the last digits of its checksum, none of its secret."""
        return f"{text[: len(self._prefix) + 5 + 6]}…{text[-HINT_DIGITS:]}"

    def _hmac(self, pepper_id: str, text: str) -> str:
        return hmac.digest(self._peppers[pepper_id], text.encode(), "sha256").hex()


def base62(number: int, digits: int) -> str:
    """The number in base62, most significant digit first, padded with zeros to `digits`."""
    written = []
    for _ in range(digits):
        number, digit = divmod(number, 62)
        written.append(_DIGITS[digit])
    return "".join(reversed(written))


def checksum(body: str) -> str:
    """The CRC-32 of a key's text before its checksum."""
    return base62(zlib.crc32(body.encode()), CHECKSUM_DIGITS)
