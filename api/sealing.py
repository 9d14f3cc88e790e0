"""Seals secrets and personal data before a command exists (I8): AES-256-GCM under a data key for each subject.

A sealed text is `v1.{data key id}.{base64url of nonce and ciphertext}`, a sealed blob has the raw bytes behind the
second dot. The data keys are rows of the store, wrapped by a master key; deleting one erases everything under it.
"""

import base64
import hashlib
import os
from collections import OrderedDict
from collections.abc import Callable, Iterable
from time import monotonic

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from msgspec import Struct

from api.master_keys import NONCE_BYTES, MasterKeys
from eventstore.errors import KeyErased
from eventstore.records import DataKey
from eventstore.store import SecretStore

CACHED_S = 60.0
"""An erased data key may live this long in a process."""
CACHED_MAX = 10_000
_VERSION = "v1"
_TAG_BYTES = 16


class SealingError(Exception):
    """The root of what opening a sealed value raises; its text never holds a part of the value."""


class Erased(SealingError):
    """The data key is gone: the subject was erased, and nothing can bring the plaintext back."""


class Unsealable(SealingError):
    """Not a sealed value, changed since, or sealed for another subject or place."""


class _Key(Struct, frozen=True, kw_only=True):
    id: str
    cipher: AESGCM
    until: float


class Sealer:
    """Seals and opens. `subject` is `user:{id}` or `account:{id}`, `place` says what the value is.

    Both are additional data: a sealed value that is moved to another place or subject does not open. Data keys are
    cached for 60 s, the least recently used go first. `clock` is monotonic seconds.
    """

    def __init__(
        self,
        store: SecretStore,
        master_keys: MasterKeys,
        *,
        clock: Callable[[], float] = monotonic,
        cached_max: int = CACHED_MAX,
    ) -> None:
        self._store = store
        self._master_keys = master_keys
        self._clock = clock
        self._cached_max = cached_max
        self._keys: OrderedDict[str, _Key] = OrderedDict()

    async def seal(self, subject: str, place: str, plaintext: bytes) -> str:
        """The sealed text; makes the subject's data key if there is none yet. `Erased` if there must be none again."""
        key = await self._key_to_seal(subject)
        return f"{_VERSION}.{key.id}." + base64.urlsafe_b64encode(_sealed(key, subject, place, plaintext)).decode()

    async def open(self, subject: str, place: str, sealed: str) -> bytes:
        """The plaintext of a sealed text. `Erased` or `Unsealable`."""
        version, _, rest = sealed.partition(".")
        key_id, _, body = rest.partition(".")
        try:
            raw = base64.b64decode(body, altchars=b"-_", validate=True)
        except ValueError as error:
            raise Unsealable("not a sealed text") from error
        return await self._open(subject, place, version, key_id, raw)

    async def seal_blob(self, subject: str, place: str, plaintext: bytes) -> bytes:
        """The same for what is stored as bytes, such as a kept answer: a quarter smaller."""
        key = await self._key_to_seal(subject)
        return f"{_VERSION}.{key.id}.".encode() + _sealed(key, subject, place, plaintext)

    async def open_blob(self, subject: str, place: str, sealed: bytes) -> bytes:
        """The plaintext of a sealed blob. `Erased` or `Unsealable`."""
        version, _, rest = sealed.partition(b".")
        key_id, _, raw = rest.partition(b".")
        return await self._open(subject, place, version.decode("latin-1"), key_id.decode("latin-1"), raw)

    async def _open(self, subject: str, place: str, version: str, key_id: str, raw: bytes) -> bytes:
        if version != _VERSION or len(raw) < NONCE_BYTES + _TAG_BYTES:
            raise Unsealable("not a sealed value of a version that this release knows")
        key = self._cached(subject)
        if key is None or key.id != key_id:
            row = await self._store.data_key(subject)
            if row is None:
                raise Erased(f"the data key of {subject!r} was erased")
            key = await self._remember(row)
        if key.id != key_id:
            raise Erased(f"the data key {key_id!r} of {subject!r} was erased")
        try:
            return key.cipher.decrypt(raw[:NONCE_BYTES], raw[NONCE_BYTES:], _bound(subject, place))
        except InvalidTag as error:
            raise Unsealable(f"does not open as {place!r} of {subject!r}") from error

    async def _key_to_seal(self, subject: str) -> _Key:
        key = self._cached(subject)
        if key is not None:
            return key
        row = await self._store.data_key(subject)
        if row is None:
            try:
                row = await self._store.add_data_key(self._master_keys.new_data_key(subject))
            except KeyErased as error:
                raise Erased(f"{subject!r} was erased") from error
        return await self._remember(row)

    async def look_up(self, subjects: Iterable[str]) -> None:
        """Has the subjects' keys at hand, so that opening many texts of many is one look-up."""
        missing = [subject for subject in set(subjects) if self._cached(subject) is None]
        if len(missing) > 1:
            for row in (await self._store.data_keys(missing)).values():
                await self._remember(row)

    def forget(self, *subjects: str) -> None:
        """Drops keys that were erased by this very process; the others drop them within 60 s."""
        for subject in subjects:
            self._keys.pop(subject, None)

    def _cached(self, subject: str) -> _Key | None:
        key = self._keys.get(subject)
        if key is None:
            return None
        if key.until <= self._clock():
            del self._keys[subject]
            return None
        self._keys.move_to_end(subject)
        return key

    async def _remember(self, row: DataKey) -> _Key:
        """Keeps the key at hand for a while; one that an older master key wraps is wrapped anew."""
        plain = self._master_keys.unwrap(row)
        rewrapped = self._master_keys.rewrapped(row)
        if rewrapped is not None:
            await self._store.rewrap_data_key(row, rewrapped)
        key = _Key(id=_key_id(plain), cipher=AESGCM(plain), until=self._clock() + CACHED_S)
        self._keys[row.subject] = key
        self._keys.move_to_end(row.subject)
        if len(self._keys) > self._cached_max:
            self._keys.popitem(last=False)
        return key


def _sealed(key: _Key, subject: str, place: str, plaintext: bytes) -> bytes:
    nonce = os.urandom(NONCE_BYTES)
    return nonce + key.cipher.encrypt(nonce, plaintext, _bound(subject, place))


def _bound(subject: str, place: str) -> bytes:
    return f"formstate sealed {_VERSION}\n{subject}\n{place}".encode()


def _key_id(key: bytes) -> str:
    """Names a data key without telling anything of it: tells an erased and remade key from a changed value."""
    return hashlib.sha256(b"formstate data key id\n" + key).hexdigest()[:12]
