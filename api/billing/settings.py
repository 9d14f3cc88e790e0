"""Which billing provider there is, and what it needs."""

from dataclasses import dataclass, field

from api.billing import svix
from telemetry.billing import (
    AUTUMN_API_URL,
    ORIGIN,
    ORIGIN_EXPECTED,
    ProviderName,
    read_autumn,
    read_autumn_feature,
    read_provider,
)
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
    autumn_webhook_secrets: tuple[str, ...] = field(default=(), repr=False)
    """As those of Stripe."""
    autumn_seats_feature: str = "seats"
    """The feature there whose units are the seats of a plan."""


def read_billing(env: Environment) -> BillingSettings:
    """The settings; `env` notes what is wrong, such as a provider without its key."""
    provider = read_provider(env)
    autumn_secret_key, autumn_api_url = read_autumn(env, provider)
    autumn_webhook_secrets = _webhook_secrets(env, "AUTUMN")
    if not all(svix.is_secret(each) for each in autumn_webhook_secrets):
        env.wrong("AUTUMN_WEBHOOK_SECRETS", "is no base64", expected="whsec_ and base64 each", example="whsec_…")
    return BillingSettings(
        provider=provider,
        stripe_secret_key=env.credential(
            "STRIPE_SECRET_KEY",
            required=provider == "stripe",
            expected="a secret or restricted key of your Stripe account",
            example="rk_live_…",
            pattern=r"[sr]k_(live|test)_[A-Za-z0-9_]{8,250}",
        ),
        stripe_webhook_secrets=_webhook_secrets(env, "STRIPE"),
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
        autumn_webhook_secrets=autumn_webhook_secrets,
        autumn_seats_feature=read_autumn_feature(
            env, "AUTUMN_SEATS_FEATURE", default="seats", expected="the id of a feature that is paid for in advance"
        ),
    )


def _webhook_secrets(env: Environment, provider: str) -> tuple[str, ...]:
    """All of them are good, so that they can be rotated."""
    secrets = env.credential(
        f"{provider}_WEBHOOK_SECRETS",
        required=False,
        expected=f"signing secrets of {provider.capitalize()} webhook endpoints, separated by commas",
        example="whsec_…",
        pattern=r"whsec_[A-Za-z0-9+/=_-]{16,200}(\s*,\s*whsec_[A-Za-z0-9+/=_-]{16,200})*",
    )
    return tuple(each.strip() for each in secrets.split(",")) if secrets else ()
