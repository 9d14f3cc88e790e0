"""Passwords: PBKDF2-HMAC-SHA256 (RFC 8018, 5.2) in one bounded pool, never on the event loop.

What is stored is `pbkdf2-sha256$iterations$salt$hash`, base64url; `salt$hash` of an older system (100,000 iterations,
hexadecimal or base64) verifies too. Stored hashes are sealed by whoever stores them.
"""

import asyncio
import base64
import hashlib
import hmac
import os
import unicodedata
from concurrent.futures import ThreadPoolExecutor

from msgspec import Struct

from api import base64url
from api.errors import ApiError, declare

SCHEME = "pbkdf2-sha256"
ITERATIONS = 600_000
"""OWASP's figure for PBKDF2-HMAC-SHA256."""
ITERATIONS_IMPORTED = 100_000
ITERATIONS_MAX = 10_000_000
"""A stored hash that asks for more is damaged: it must not occupy a thread for minutes."""
SALT_BYTES = 16
KEY_BYTES = 32
LENGTH_MIN = 8
SIZE_BYTES_MAX = 1024
WAITING_PER_THREAD = 16
"""About three seconds of work at the current cost; more would only time out in the queue."""


declare("busy", "unavailable", "Too many passwords are being checked.", "Try again after the seconds in Retry-After.")
declare(
    "invalid_password",
    "invalid",
    "The password cannot be accepted.",
    "Use 8 characters or more and at most 1,024 bytes; any characters but NUL.",
)


class Verdict(Struct, frozen=True, kw_only=True):
    """Whether the password is right, and whether its hash should be made anew under current parameters."""

    ok: bool
    outdated: bool = False


class _Stored(Struct, frozen=True, kw_only=True):
    iterations: int
    salt: bytes
    key: bytes
    imported: bool = False


def check_password(password: str, *, param: str = "password") -> None:
    """400 `invalid_password` unless it has 8 code points or more, at most 1,024 bytes of UTF-8, and no NUL.

    There are no rules on kinds of characters (NIST SP 800-63B, 5.1.1.2). The message never quotes the password.
    """
    try:
        size_bytes = len(password.encode())
    except UnicodeEncodeError as error:
        raise ApiError("invalid_password", "The password is not valid Unicode.", param=param) from error
    if "\0" in password:
        raise ApiError("invalid_password", "The password must not hold a NUL character.", param=param)
    if len(password) < LENGTH_MIN:
        raise ApiError("invalid_password", f"The password must have at least {LENGTH_MIN} characters.", param=param)
    if size_bytes > SIZE_BYTES_MAX:
        message = f"The password must have at most {SIZE_BYTES_MAX} bytes in UTF-8."
        raise ApiError("invalid_password", message, param=param)


class Passwords:
    """Hashes and verifies in one pool of as many threads as there are processors.

    `iterations` is the current cost. It is no setting: only a program that builds this object, such as a test, can
    choose another.
    """

    def __init__(
        self, *, iterations: int = ITERATIONS, threads: int | None = None, waiting_max: int | None = None
    ) -> None:
        threads = threads or os.cpu_count() or 1
        self._iterations = iterations
        self._places = threads + (threads * WAITING_PER_THREAD if waiting_max is None else waiting_max)
        self._taken = 0
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="passwords")
        self._nobody = _Stored(iterations=iterations, salt=os.urandom(SALT_BYTES), key=os.urandom(KEY_BYTES))

    async def hash(self, password: str) -> str:
        """The text to store for an accepted password. 503 `busy` when the pool is full."""
        salt = os.urandom(SALT_BYTES)
        key = await self._run(_normal(password), salt, self._iterations, 0)
        return f"{SCHEME}${self._iterations}${base64url.encoded(salt)}${base64url.encoded(key)}"

    async def verify(self, password: str, stored: str | None) -> Verdict:
        """Compares in constant time. `None`, an unknown user, costs what a wrong password costs, and is never right.

        A hash of a lower cost is padded to the current one: its age does not show in the time of a refusal.
        """
        known = self._nobody if stored is None else parse_stored(stored)
        text = _as_typed(password) if known.imported else _normal(password)
        padding = max(self._iterations - known.iterations, 0)
        key = await self._run(text, known.salt, known.iterations, padding)
        same = hmac.compare_digest(key, known.key)
        return Verdict(
            ok=same and stored is not None,
            outdated=same and (known.imported or known.iterations < self._iterations),
        )

    def close(self) -> None:
        """Ends the threads; what waits is given up."""
        self._pool.shutdown(wait=True, cancel_futures=True)

    async def _run(self, password: bytes, salt: bytes, iterations: int, padding: int) -> bytes:
        if self._taken >= self._places:
            raise ApiError("busy", headers={"Retry-After": "1"})
        self._taken += 1
        loop = asyncio.get_running_loop()
        future = self._pool.submit(derive, password, salt, iterations, padding)
        # A client that goes away frees nothing: its thread works on, so the place stays taken until that is over.
        future.add_done_callback(lambda _: self._release(loop))
        return await asyncio.wrap_future(future, loop=loop)

    def _release(self, loop: asyncio.AbstractEventLoop) -> None:
        if not loop.is_closed():
            loop.call_soon_threadsafe(self._free)

    def _free(self) -> None:
        self._taken -= 1


def derive(password: bytes, salt: bytes, iterations: int, padding: int) -> bytes:
    """The 32-byte key, after `padding` more iterations for nothing."""
    key = hashlib.pbkdf2_hmac("sha256", password, salt, iterations, KEY_BYTES)
    if padding:
        hashlib.pbkdf2_hmac("sha256", password, salt, padding, KEY_BYTES)
    return key


def parse_stored(stored: str) -> _Stored:
    """The parts of a stored hash. `ValueError` for anything that is none; the text is not quoted."""
    parts = stored.split("$")
    if len(parts) == 2:  # noqa: PLR2004 - salt and hash
        salt, key = _either(parts[0], SALT_BYTES), _either(parts[1], KEY_BYTES)
        return _Stored(iterations=ITERATIONS_IMPORTED, salt=salt, key=key, imported=True)
    if len(parts) != 4 or parts[0] != SCHEME or not parts[1].isdecimal():  # noqa: PLR2004 - scheme, cost, salt, hash
        raise ValueError("not a stored password hash")
    iterations = int(parts[1])
    if not 0 < iterations <= ITERATIONS_MAX:
        raise ValueError("a stored password hash of an impossible cost")
    return _Stored(iterations=iterations, salt=_either(parts[2], SALT_BYTES), key=_either(parts[3], KEY_BYTES))


def _either(text: str, size_bytes: int) -> bytes:
    """Bytes of hexadecimal, base64 or base64url text; for these sizes the length tells which."""
    try:
        if len(text) == 2 * size_bytes:
            return bytes.fromhex(text)
        padded = text.rstrip("=").replace("-", "+").replace("_", "/")
        raw = base64.b64decode(padded + "=" * (-len(padded) % 4), validate=True)
    except ValueError as error:
        raise ValueError("a stored password hash that is not hexadecimal or base64") from error
    if len(raw) != size_bytes:
        raise ValueError("a stored password hash of a wrong length")
    return raw


def _normal(password: str) -> bytes:
    """NFKC, as NIST SP 800-63B asks: the same password typed on another system may come in another Unicode form."""
    return unicodedata.normalize("NFKC", password).encode("utf-8", "surrogatepass")


def _as_typed(password: str) -> bytes:
    """The older system hashed the bytes that it was sent."""
    return password.encode("utf-8", "surrogatepass")
