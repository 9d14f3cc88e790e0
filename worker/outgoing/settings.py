"""Which places outside there are, and what is needed to reach them; the same for production and devnet."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from telemetry.billing import AUTUMN_API_URL, ProviderName, read_autumn, read_autumn_feature, read_provider
from telemetry.environment import SHOWN_FOR_SECRETS, Environment

CONNECTIONS_EACH = 6
"""One that reads, one that claims, one that counts, and those that write down."""


@dataclass(frozen=True, kw_only=True, slots=True)
class OutgoingSettings:
    """See `docs/operating.md` for each; no secret shows in a `repr`."""

    webhook_url: str = field(default="", repr=False)
    """The operator's address for notices; may hold a secret of theirs."""
    webhook_secret: Mapping[str, bytes] = field(default_factory=dict, repr=False)
    """Sign notices; all of them do, so that they can be rotated."""
    billing_provider: ProviderName = "none"
    """Whom usage is told to: only Autumn wants to know."""
    autumn_secret_key: str = field(default="", repr=False)
    autumn_api_url: str = AUTUMN_API_URL
    autumn_feature: str = "micro_credits"
    """The metered feature there; a unit is a micro-credit."""

    @property
    def connections(self) -> int:
        """How many connections to the database all targets together may use at once."""
        return CONNECTIONS_EACH * (bool(self.webhook_url) + (self.billing_provider == "autumn"))


def read_outgoing(env: Environment) -> OutgoingSettings:
    """The settings; `env` notes what is wrong."""
    provider = read_provider(env)
    autumn_secret_key, autumn_api_url = read_autumn(env, provider)
    settings = OutgoingSettings(
        webhook_url=env.text(
            "WEBHOOK_URL",
            default="",
            expected="the http:// or https:// address that notices are posted to, without a user in it",
            example="https://shop.example.com/formstate",
            pattern=r"https?://[^\s@/][^\s@]*",
        ),
        webhook_secret=env.secrets("WEBHOOK_SECRET", required=False),
        billing_provider=provider,
        autumn_secret_key=autumn_secret_key,
        autumn_api_url=autumn_api_url,
        autumn_feature=read_autumn_feature(
            env, "AUTUMN_FEATURE", default="micro_credits", expected="the id of a metered feature"
        ),
    )
    if settings.webhook_url and not settings.webhook_secret:
        # An unsigned notice could come from anybody.
        expected = "a secret that the receiver knows too, because WEBHOOK_URL is set"
        env.wrong("WEBHOOK_SECRET", "is missing", expected=expected, example=SHOWN_FOR_SECRETS)
    return settings
