"""Master keys wrap data keys; the wrapped form names the master key that it needs. None is ever stored or sent."""

import os
from collections.abc import Mapping

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from eventstore.records import DataKey

KEY_BYTES = 32
NONCE_BYTES = 12


class UnknownMasterKey(Exception):
    """A data key was wrapped by a master key that is not in `MASTER_KEYS` (any more)."""


class Unwrappable(Exception):
    """A wrapped data key was changed, or belongs to another subject, or the master key has another value."""


class MasterKeys:
    """Wraps and unwraps data keys with AES-256-GCM (NIST SP 800-38D).

    `keys` maps ids to 32-byte keys: the first wraps, all unwrap. The subject and the master key's id are
    additional data, so a row that is moved to another subject does not open.
    """

    def __init__(self, keys: Mapping[str, bytes]) -> None:
        if not keys or any(len(key) != KEY_BYTES for key in keys.values()):
            raise ValueError(f"master keys: at least one, each of {KEY_BYTES} bytes")
        self._ciphers = {name: AESGCM(key) for name, key in keys.items()}
        self.current = next(iter(keys))

    def new_data_key(self, subject: str) -> DataKey:
        """A fresh random data key for the subject, wrapped by the current master key."""
        return self._wrap(subject, os.urandom(KEY_BYTES))

    def unwrap(self, row: DataKey) -> bytes:
        """The 32-byte data key. `UnknownMasterKey` or `Unwrappable` when this is not possible."""
        cipher = self._ciphers.get(row.master_id)
        if cipher is None:
            raise UnknownMasterKey(f"master key {row.master_id!r} is not configured; add it behind the first")
        nonce, sealed = row.wrapped[:NONCE_BYTES], row.wrapped[NONCE_BYTES:]
        try:
            return cipher.decrypt(nonce, sealed, _bound(row.subject, row.master_id))
        except (InvalidTag, ValueError) as error:
            raise Unwrappable(f"the data key of {row.subject!r} does not open") from error

    def rewrapped(self, row: DataKey) -> DataKey | None:
        """The same data key under the current master key, or `None` if it is under it already.

        What was sealed with the data key stays as it is: rotation changes one row for each subject.
        """
        return None if row.master_id == self.current else self._wrap(row.subject, self.unwrap(row))

    def _wrap(self, subject: str, key: bytes) -> DataKey:
        nonce = os.urandom(NONCE_BYTES)
        sealed = self._ciphers[self.current].encrypt(nonce, key, _bound(subject, self.current))
        return DataKey(subject=subject, master_id=self.current, wrapped=nonce + sealed)


def _bound(subject: str, master_id: str) -> bytes:
    return f"formstate data key\n{master_id}\n{subject}".encode()
