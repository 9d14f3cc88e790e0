"""Reads settings from environment variables, and lists everything that is wrong with them at once."""

import base64
import binascii
import os
import re
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlsplit

PREFIX = "FORMSTATE_"
SECRET_BYTES = 32
SHOWN_FOR_SECRETS = '2026a:… with 32 random bytes in base64 (`echo "2026a:$(openssl rand -base64 32)"`)'
_ID = re.compile(r"[A-Za-z0-9_-]{1,32}", re.ASCII)
_DISTINCT_BYTES_MIN = 12
"""32 random bytes have fewer than this many distinct values less than once in 10**20: anything below was typed."""


class SettingsError(Exception):
    """What is wrong with the settings: one line for each variable, with what is expected and an example."""

    def __init__(self, problems: list[str]) -> None:
        self.problems = problems
        super().__init__("the settings are not usable:\n" + "\n".join(f"  {each}" for each in problems))


class Environment:
    """Variables with the prefix. Readers answer a usable value always, and note what was wrong; `check` raises it."""

    def __init__(self, variables: Mapping[str, str]) -> None:
        self._variables = variables
        self.problems: list[str] = []
        self._secrets: dict[bytes, str] = {}

    def wrong(self, name: str, why: str, *, expected: str, example: str) -> None:
        """Notes a problem. `why` never repeats a secret's value."""
        self.problems.append(f"{PREFIX}{name} {why}: expected {expected}, for example {example}")

    def check(self) -> None:
        """`SettingsError` with everything that was wrong, if anything was."""
        if self.problems:
            raise SettingsError(self.problems)

    def text(self, name: str, *, default: str | None, expected: str, example: str, pattern: str = r".+") -> str:
        """A text that matches the pattern; without a default it must be given."""
        value = self._variables.get(PREFIX + name, "").strip()
        if not value:
            if default is None:
                self.wrong(name, "is missing", expected=expected, example=example)
            return default or ""
        if re.fullmatch(pattern, value) is None:
            self.wrong(name, f"is {value!r}", expected=expected, example=example)
            return default or ""
        return value

    def credential(self, name: str, *, required: bool, expected: str, example: str, pattern: str) -> str:
        """A secret text of somebody else's making, such as an API key; never shown again."""
        value = self._variables.get(PREFIX + name, "").strip()
        if not value and not required:
            return ""
        if re.fullmatch(pattern, value, re.ASCII) is None:
            self.wrong(name, "is malformed" if value else "is missing", expected=expected, example=example)
            return ""
        return value

    def choice(self, name: str, choices: tuple[str, ...], *, default: str) -> str:
        """One of a few words."""
        value = self._variables.get(PREFIX + name, "").strip() or default
        if value not in choices:
            self.wrong(name, f"is {value!r}", expected="one of " + ", ".join(choices), example=default)
            return default
        return value

    def number(self, name: str, *, default: int | None, low: int, high: int) -> int | None:
        """A whole number within bounds."""
        value = self._variables.get(PREFIX + name, "").strip()
        if not value:
            return default
        if re.fullmatch(r"\d{1,12}", value, re.ASCII) is None or not low <= int(value) <= high:
            expected = f"a whole number from {low} to {high}"
            self.wrong(name, f"is {value!r}", expected=expected, example=str(default if default is not None else low))
            return default
        return int(value)

    def url(self, name: str, schemes: tuple[str, ...], *, example: str) -> str:
        """A URL with a host; never shown again, since it may hold a password."""
        value = self._variables.get(PREFIX + name, "").strip()
        expected = (
            "a URL with one of the schemes "
            + ", ".join(f"{scheme}://" for scheme in schemes)
            + " (in user and password @, :, / and the like as %40, %3A, %2F)"
        )
        if not value:
            self.wrong(name, "is missing", expected=expected, example=example)
            return ""
        try:
            parts = urlsplit(value)
            usable = parts.scheme in schemes and (bool(parts.hostname) or "host=" in parts.query) and parts.port != 0
        except ValueError:
            usable = False
        if not usable:
            self.wrong(name, "is malformed", expected=expected, example=example)
        return value

    def servers(self, name: str, *, example: str) -> tuple[str, ...]:
        """`host:port`, several separated by commas."""
        value = self._variables.get(PREFIX + name, "").strip()
        expected = "host:port, several separated by commas"
        if not value:
            self.wrong(name, "is missing", expected=expected, example=example)
            return ()
        servers = tuple(each.strip() for each in value.split(","))
        if not all(re.fullmatch(r"[^\s:/]+:\d{1,5}|\[[0-9a-fA-F:]+\]:\d{1,5}", each, re.ASCII) for each in servers):
            self.wrong(name, f"is {value!r}", expected=expected, example=example)
        return servers

    def folder(self, name: str) -> Path | None:
        """A folder that can be written to, if one is named."""
        value = self._variables.get(PREFIX + name, "").strip()
        if not value:
            return None
        path = Path(value)
        if not path.is_dir() or not os.access(path, os.W_OK):
            expected = "the path of a folder that the process can write to"
            self.wrong(name, f"names {value!r}, which is none", expected=expected, example="/var/lib/formstate/audit")
        return path

    def file(self, name: str) -> Path | None:
        """A readable file, if one is named."""
        value = self._variables.get(PREFIX + name, "").strip()
        if not value:
            return None
        path = Path(value)
        if not path.is_file():
            self.wrong(name, f"names {value!r}, which is no file", expected="the path of a file", example="plans.toml")
        return path

    def secrets(self, name: str, *, required: bool = True) -> dict[str, bytes]:
        """`id:base64,…` by id, each of 32 bytes; the first is current. All are secret, distinct and random-looking."""
        value = self._variables.get(PREFIX + name, "").strip()
        expected = "id:base64, several separated by commas, each of 32 bytes, the current one first"
        if not value:
            if required:
                self.wrong(name, "is missing", expected=expected, example=SHOWN_FOR_SECRETS)
            return {}
        found: dict[str, bytes] = {}
        for position, each in enumerate(value.split(","), start=1):
            # Without a colon it may be the secret itself, which must not be shown as an id.
            key_id, encoded = each.strip().split(":", 1) if ":" in each else ("", "")
            secret, why = self._secret(key_id, encoded, found)
            if why is None:
                found[key_id] = secret
                self._secrets[secret] = f"{PREFIX}{name}"
            else:
                self.wrong(name, f"entry {position} {why}", expected=expected, example=SHOWN_FOR_SECRETS)
        return found

    def _secret(self, key_id: str, encoded: str, found: Mapping[str, bytes]) -> tuple[bytes, str | None]:
        if _ID.fullmatch(key_id) is None:
            return b"", "has no usable id (letters, digits, - and _, then a colon)"
        if key_id in found:
            return b"", f"has the id {key_id!r}, which an entry before it has too"
        try:
            secret = base64.b64decode(encoded, validate=True)
        except binascii.Error:
            return b"", f"({key_id!r}) is not valid base64"
        if len(secret) != SECRET_BYTES:
            return b"", f"({key_id!r}) has {len(secret)} bytes"
        if len(set(secret)) < _DISTINCT_BYTES_MIN:
            return b"", f"({key_id!r}) is not random"
        if secret in self._secrets:
            return b"", f"({key_id!r}) is the same secret as one of {self._secrets[secret]}"
        return secret, None
