"""What never gets into a log line."""

import string
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from telemetry.redaction import REDACTED, redact_event, redact_text

SECRETS = {
    "an API key": "fs_live_" + "0123456789abcdef" * 2 + "_" + "A1b2" * 12,
    "a test key": "fs_test_" + "0123456789abcdef" * 2 + "_" + "A1b2" * 12,
    "a key of another brand": "acme_live_" + "0123456789abcdef" * 2 + "_" + "A1b2" * 12,
    "a provider's key": "sk-proj-0123456789abcdefABCDEF",
    "a token": "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJ1c2VyXzEifQ.c2lnbmF0dXJl",
    "a bearer header": "Bearer 0123456789abcdef",
    "a basic header": "Basic dXNlcjpwYXNz",
    "an address": "ada.lovelace+x@mail.example.com",
    "an international address": "bücher@exämple.de",
}


@pytest.mark.parametrize("name", SECRETS)
@pytest.mark.parametrize("around", ["{}", "before {} after", "({})", '{{"x": "{}"}}', "a={}&b=1"])
def test_values_that_look_secret_are_replaced(name: str, around: str) -> None:
    """A key, token or address is found wherever it stands in a text."""
    secret = SECRETS[name]
    text = redact_text(around.format(secret))
    assert secret.split()[-1] not in text
    assert REDACTED in text


def test_a_password_in_a_url_is_replaced() -> None:
    """A database's URL in an error message shows its host and not its password."""
    text = redact_text("cannot reach postgresql://formstate:hunter2@db.example:5432/formstate")
    assert "hunter2" not in text
    assert "5432/formstate" in text


NAMES = ["password", "new_password", "password_sealed", "token", "user_token", "secret", "authorization", "api_key",
         "X_Api_Key", "email", "display_name", "credentials", "cookie", "pepper"]  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_fields_with_telling_names_are_replaced(name: str) -> None:
    """A field of a secret's name is not shown, whatever its value looks like, however deep."""
    event: dict[str, Any] = {"event": "happened", name: "plain", "inner": {"list": [{name: "plain"}]}}
    shown = str(redact_event(None, "info", event))
    assert "plain" not in shown


@pytest.mark.parametrize(
    "name", ["api_key_id", "key_id", "token_count", "tokens_total", "user_id", "email_id", "status"]
)
def test_harmless_fields_stay(name: str) -> None:
    """Ids and counts are what logs are for."""
    assert redact_event(None, "info", {name: "plain"}) == {name: "plain"}


def test_bytes_are_never_shown() -> None:
    """Bytes may be anything, a key as well."""
    assert redact_event(None, "info", {"x": b"0123", "y": [b"45"]}) == {"x": "[4 bytes]", "y": ["[2 bytes]"]}


@given(st.text(string.ascii_letters + string.digits + " .,:/_-", max_size=80))
def test_other_text_is_left_alone(text: str) -> None:
    """Plain words, paths and ids come out as they went in."""
    if not any(mark in text.lower() for mark in ("_live_", "_test_", "sk-", "eyj", "bearer", "basic")):
        assert redact_text(text) == text
