"""Settings of the billing provider that API and worker read alike: which one there is, and how Autumn is reached."""

from typing import Literal, TypeAlias, get_args

from telemetry.environment import Environment

ProviderName: TypeAlias = Literal["none", "stripe", "autumn"]
AUTUMN_API_URL = "https://api.useautumn.com"
ORIGIN = r"https://[^\s@/?#]+|http://(127\.0\.0\.1|localhost|\[::1\])(:\d{1,5})?"
"""Where a provider's API is: without a path, and without TLS on this machine alone."""
ORIGIN_EXPECTED = "an https:// address without a path, or http:// on this machine"
_PROVIDERS: tuple[ProviderName, ...] = get_args(ProviderName)


def read_provider(env: Environment) -> ProviderName:
    """Which provider takes the money; none by default."""
    chosen = env.choice("BILLING_PROVIDER", _PROVIDERS, default="none")
    return next(each for each in _PROVIDERS if each == chosen)


def read_autumn_feature(env: Environment, name: str, *, default: str, expected: str) -> str:
    """The id of a feature at Autumn."""
    return env.text(name, default=default, expected=expected, example=default, pattern=r"[A-Za-z0-9_-]{1,100}")


def read_autumn(env: Environment, provider: ProviderName) -> tuple[str, str]:
    """Autumn's secret key, which must be there where Autumn is the provider, and its address."""
    secret_key = env.credential(
        "AUTUMN_SECRET_KEY",
        required=provider == "autumn",
        expected="a secret key of your Autumn account",
        example="am_sk_live_…",
        pattern=r"am_sk_[A-Za-z0-9_]{8,250}",
    )
    api_url = env.text(
        "AUTUMN_API_URL", default=AUTUMN_API_URL, expected=ORIGIN_EXPECTED, example=AUTUMN_API_URL, pattern=ORIGIN
    )
    return secret_key, api_url
