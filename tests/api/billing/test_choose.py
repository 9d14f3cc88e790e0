"""The billing provider that the settings name, and nothing of the others."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from api.billing.choose import choose_provider
from api.billing.settings import BillingSettings
from telemetry.environment import SettingsError

ROOT = Path(__file__).resolve().parents[3]


def test_libraries_of_providers_are_imported_when_one_is_named() -> None:
    """An application without a provider starts without their libraries, and without the time that they take."""
    code = "import sys, api.app, api.wiring; print({'stripe', 'autumn_sdk'} & set(sys.modules))"
    told = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert told.stdout == "set()\n"


def test_a_library_that_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """A provider whose library is not installed stops the start with what to install."""
    monkeypatch.setitem(sys.modules, "stripe", None)
    for module in ("api.billing.stripe", "api.billing.stripe_client"):
        monkeypatch.delitem(sys.modules, module, raising=False)
    unused: Any = None
    with pytest.raises(SettingsError, match=r"FORMSTATE_BILLING_PROVIDER is 'stripe'.*\.\[stripe\]"):
        choose_provider(BillingSettings(provider="stripe"), unused, 1, unused, unused, unused, unused)
