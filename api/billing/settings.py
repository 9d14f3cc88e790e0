"""Which billing provider there is, and what it needs."""

from dataclasses import dataclass, field

from telemetry.billing import AUTUMN_API_URL, ORIGIN, ORIGIN_EXPECTED, ProviderName, read_autumn, read_provider
from telemetry.environment import Environment

STRIPE_API_URL = "https://api.stripe.com"


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
    pricing_url: str | None = None
    """Where people are sent who want to buy; refusals name it."""


def read_billing(env: Environment) -> BillingSettings:
    """The settings; `env` notes what is wrong, such as a provider without its key."""
    provider = read_provider(env)
    autumn_secret_key, autumn_api_url = read_autumn(env, provider)
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
            expected=ORIGIN_EXPECTED,
            example=STRIPE_API_URL,
            pattern=ORIGIN,
        ),
        autumn_secret_key=autumn_secret_key,
        autumn_api_url=autumn_api_url,
        pricing_url=env.text(
            "PRICING_URL",
            default="",
            expected="an https:// address, or http:// on this machine, of at most 500 characters",
            example="https://example.com/pricing",
            pattern=r"(https://|http://(127\.0\.0\.1|localhost|\[::1\])[:/])[!-~]{1,480}",
        )
        or None,
    )
