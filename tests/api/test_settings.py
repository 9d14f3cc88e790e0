"""Settings of the HTTP process."""

import base64
import hashlib
from pathlib import Path

import pytest

from api.settings import read_settings
from telemetry.environment import SettingsError


def secret(name: str, length: int = 32) -> str:
    """A setting's secret that looks random and is the same each time."""
    return "a:" + base64.b64encode(hashlib.shake_256(name.encode()).digest(length)).decode()


GOOD = {
    "FORMSTATE_DATABASE_URL": "postgresql://user:hunter2@db.example:5432/formstate",
    "FORMSTATE_KAFKA_BOOTSTRAP_SERVERS": "one:9092, two:9092",
    "FORMSTATE_JWT_SECRETS": secret("jwt"),
    "FORMSTATE_API_KEY_PEPPERS": secret("pepper"),
    "FORMSTATE_MASTER_KEYS": f"b{secret('new')[1:]},{secret('old')}",
}


def test_reads_good_settings() -> None:
    """Everything that is needed is enough, and the first secret is the current one."""
    settings = read_settings(GOOD)
    assert settings.kafka_bootstrap_servers == ("one:9092", "two:9092")
    assert list(settings.master_keys) == ["b", "a"]
    assert settings.limits is True
    assert settings.cors_origins == ()


def test_shows_no_secret() -> None:
    """Settings that are logged by mistake show nothing."""
    shown = repr(read_settings(GOOD))
    assert "hunter2" not in shown
    assert "b'" not in shown


BAD = {
    "DATABASE_URL": ["", "mysql://x/y", "postgresql://", "nonsense", "postgresql://h:port/db"],
    "KAFKA_BOOTSTRAP_SERVERS": ["", "localhost", "http://x:1", "a:1,,b:2", "a:99x"],
    "JWT_SECRETS": [
        "",
        "a",
        "a:",
        "a:####",
        "a:" + base64.b64encode(b"short").decode(),
        "a:" + base64.b64encode(b"x" * 32).decode(),
        secret("jwt", 31),
        secret("jwt", 64),
        f"{secret('one')},{secret('two')}",
        secret("pepper"),
        ":" + secret("jwt")[2:],
    ],
    "PORT": ["x", "-1", "65536", "8000.5"],
    "METRICS_PORT": ["0", "x", "8000"],
    "LOG_LEVEL": ["loud"],
    "LIMITS": ["maybe"],
    "API_KEY_BRAND": ["A", "1a", "has_line", "x" * 20],
    "CORS_ORIGINS": ["*", "example.com", "https://a.example/path"],
    "PLANS_FILE": ["/does/not/exist.toml"],
    "ISSUERS_FILE": ["/does/not/exist.toml"],
    "BILLING_PROVIDER": ["paddle"],
    "STRIPE_SECRET_KEY": ["hunter2", "pk_live_12345678"],
    "STRIPE_WEBHOOK_SECRETS": ["hunter2", "whsec_0123456789abcdef,,whsec_0123456789abcdef"],
    "STRIPE_API_URL": ["http://api.stripe.com", "https://user@api.stripe.com", "api.stripe.com"],
    "HOLD_MARGIN_S": ["0", "4", "x", "3601"],
    "DRAIN_S": ["-1", "x", "100000"],
}


@pytest.mark.parametrize(("name", "value"), [(name, value) for name, values in BAD.items() for value in values])
def test_refuses_bad_settings(name: str, value: str) -> None:
    """Each missing, malformed or unsafe value stops the start, with the variable, what is expected and an example."""
    with pytest.raises(SettingsError) as caught:
        read_settings(GOOD | {f"FORMSTATE_{name}": value})
    told = " ".join(caught.value.problems)
    assert "expected" in told
    assert "for example" in told
    # Equal secrets are told at whichever of the two is read last.
    assert f"FORMSTATE_{name} " in told or f"FORMSTATE_{name}:" in told


def test_tells_everything_at_once() -> None:
    """Nobody fixes one setting to be told of the next."""
    with pytest.raises(SettingsError) as caught:
        read_settings({"FORMSTATE_PORT": "x"})
    assert len(caught.value.problems) == 6


def test_tells_no_secret() -> None:
    """A refusal never repeats what might be a secret."""
    with pytest.raises(SettingsError) as caught:
        read_settings(GOOD | {"FORMSTATE_JWT_SECRETS": "a:c2VjcmV0", "FORMSTATE_DATABASE_URL": "postgres//u:hunter2@h"})
    assert "c2VjcmV0" not in str(caught.value)
    # What has no id is a secret that was put in bare: here as short as an id may be.
    with pytest.raises(SettingsError) as bare:
        read_settings(GOOD | {"FORMSTATE_JWT_SECRETS": "8f14e45fceea167a5a36dedd4bea2543"})
    assert "8f14e45f" not in str(bare.value)
    assert "has no usable id" in str(bare.value)
    assert "hunter2" not in str(caught.value)


def test_reads_a_file(tmp_path: Path) -> None:
    """A file that exists is taken; what is in it is another's business."""
    file = tmp_path / "plans.toml"
    file.write_text("")
    assert read_settings(GOOD | {"FORMSTATE_PLANS_FILE": str(file)}).plans_file == file


def test_a_mailer_needs_a_secret() -> None:
    """An unsigned webhook is never sent: the address of a mailer alone stops the process."""
    url = {"FORMSTATE_MAILER_URL": "https://mailer.example.com/in"}
    with pytest.raises(SettingsError, match="FORMSTATE_MAILER_SECRET is missing"):
        read_settings(GOOD | url)
    settings = read_settings(GOOD | url | {"FORMSTATE_MAILER_SECRET": secret("mailer")})
    assert settings.mailer_url == "https://mailer.example.com/in"
    assert list(settings.mailer_secret or {}) == ["a"]
    with pytest.raises(SettingsError, match="MAILER_URL"):
        read_settings(GOOD | {"FORMSTATE_MAILER_URL": "https://user:hunter2@mailer.example.com"})


def test_a_billing_provider_needs_its_key() -> None:
    """A provider without its key stops the process; the key shows nowhere, and all webhook secrets are taken."""
    chosen = {"FORMSTATE_BILLING_PROVIDER": "stripe"}
    with pytest.raises(SettingsError, match="FORMSTATE_STRIPE_SECRET_KEY is missing"):
        read_settings(GOOD | chosen)
    given = chosen | {
        "FORMSTATE_STRIPE_SECRET_KEY": "sk_test_hunter2hunter2",
        "FORMSTATE_STRIPE_WEBHOOK_SECRETS": "whsec_0123456789abcdef, whsec_fedcba9876543210",
    }
    settings = read_settings(GOOD | given)
    assert len(settings.billing.stripe_webhook_secrets) == 2
    assert "hunter2" not in repr(settings)
    assert "whsec" not in repr(settings)
