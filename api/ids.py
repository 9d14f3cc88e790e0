"""Ids of commands and requests."""

import os
import re
import time
import uuid
from typing import Final

NAMESPACE: Final = uuid.UUID("7c1b6a0e-5b0f-5d5e-9a57-0f4ddc6f5f5e")
"""The name space of every derived id; never changed, or repeats would no longer meet their first try."""
_SANE = re.compile(rb"[A-Za-z0-9._:/+=@-]{1,128}", re.ASCII)

_VARIANT: Final = {digit: "89ab"[int(digit, 16) & 3] for digit in "0123456789abcdef"}
"""A random digit as the one that carries the variant: its two high bits are 10."""

FETCHED: Final = 256
_pool: Final[list[str]] = []
os.register_at_fork(after_in_child=_pool.clear)  # or parent and child would make the same ids


def uuid7() -> str:
    """A UUIDv7 (RFC 9562, 5.7): milliseconds of the clock, then random bits."""
    millis = time.time_ns() // 1_000_000
    time_digits, chance = f"{millis & 0xFFFF_FFFF_FFFF:012x}", random_hex()
    variant = _VARIANT[chance[3]]
    return f"{time_digits[:8]}-{time_digits[8:]}-7{chance[:3]}-{variant}{chance[4:7]}-{chance[7:19]}"


def derived(*parts: str) -> str:
    """uuid5 of the parts: the same for the same parts, whatever process asks. Lengths count, so parts cannot blur."""
    return str(uuid.uuid5(NAMESPACE, "".join(f"{len(part)}:{part}" for part in parts)))


def random_hex() -> str:
    """128 random bits as 32 hexadecimal digits. The system is asked for many at a time: a request takes five."""
    try:
        return _pool.pop()
    except IndexError:
        digits = os.urandom(16 * FETCHED).hex()
        _pool.extend(digits[start : start + 32] for start in range(0, len(digits), 32))
        return random_hex()


def request_id(given: bytes | None) -> str:
    """The client's `X-Request-Id` if it is sane (up to 128 harmless characters), else one of our own."""
    if given is not None and _SANE.fullmatch(given):
        return given.decode("ascii")
    return f"req_{random_hex()}"
