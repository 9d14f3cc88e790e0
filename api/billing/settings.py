"""Which billing provider there is, and what it needs."""

from dataclasses import dataclass, field
from typing import get_args

from api.billing.provider import ProviderName
from telemetry.environment import Environment

STRIPE_API_URL = "https://api.stripe.com"
AUTUMN_API_URL = "https://api.useautumn.com"
_PROVIDERS: tuple[ProviderName, ...] = get_args(ProviderName)
_URL = r"https://[^\s@/?#]+|http://(127\.0\.0\.1|localhost|\[::1\])(:\d{1,5})?"


@dataclass(frozen=True, kw_only=True, slots=True)
class BillingSettings:
    """See `docs/operating.md` for each; no secret shows in a `repr`."""

    provider: ProviderName = "none"
    stripe_secret_key: str = field(default="", repr=False)
    stripe_webhook_secrets: tuple[str, ...] = field(default=(), repr=False)
    """All of them are good, so that they can be rotated; without one no webhook is believed."""
    stripe_api_url: str = STRIPE_API_URL
    autumn_secret_key: str = field(default="", repr=False)
    autumn_api_url: str = AUTUMN_API_URL


def read_billing(env: Environment) -> BillingSettings:
    """The settings; `env` notes what is wrong, such as a provider without its key."""
    chosen = env.choice("BILLING_PROVIDER", _PROVIDERS, default="none")
    provider: ProviderName = next(each for each in _PROVIDERS if each == chosen)
    secrets = env.credential(
        "STRIPE_WEBHOOK_SECRETS",
        required=False,
        expected="signing secrets of Stripe webhook endpoints, separated by commas",
        example="whsec_…",
        pattern=r"whsec_[A-Za-z0-9+/=_-]{16,200}(\s*,\s*whsec_[A-Za-z0-9+/=_-]{16,200})*",
    )
    return BillingSettings(
        provider=provider,
        stripe_secret_key=env.credential(
            "STRIPE_SECRET_KEY",
            required=provider == "stripe",
            expected="a secret or restricted key of your Stripe account",
            example="rk_live_…",
            pattern=r"[sr]k_(live|test)_[A-Za-z0-9_]{8,250}",
        ),
        stripe_webhook_secrets=tuple(each.strip() for each in secrets.split(",")) if secrets else (),
        stripe_api_url=env.text(
            "STRIPE_API_URL",
            default=STRIPE_API_URL,
            expected="an https:// address without a path, or http:// on this machine",
            example=STRIPE_API_URL,
            pattern=_URL,
        ),
        autumn_secret_key=env.credential(
            "AUTUMN_SECRET_KEY",
            required=provider == "autumn",
            expected="a secret key of your Autumn account",
            example="am_sk_live_…",
            pattern=r"am_sk_[A-Za-z0-9_]{8,250}",
        ),
        autumn_api_url=env.text(
            "AUTUMN_API_URL",
            default=AUTUMN_API_URL,
            expected="an https:// address without a path, or http:// on this machine",
            example=AUTUMN_API_URL,
            pattern=_URL,
        ),
    )
