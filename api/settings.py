"""Settings of the HTTP process, read from the environment once, at its start."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from api.billing.settings import BillingSettings, read_billing
from eventstore.settings import TOPIC, read_places
from telemetry.environment import SHOWN_FOR_SECRETS, Environment


@dataclass(frozen=True, kw_only=True, slots=True)
class ApiSettings:
    """See `docs/operating.md` for each. Secrets are by id, the first is current; none of them shows in a `repr`."""

    database_url: str = field(repr=False)
    kafka_bootstrap_servers: tuple[str, ...]
    kafka_topic: str = TOPIC
    jwt_secrets: Mapping[str, bytes] = field(repr=False)
    api_key_peppers: Mapping[str, bytes] = field(repr=False)
    master_keys: Mapping[str, bytes] = field(repr=False)
    api_key_brand: str = "fs"
    plans_file: Path | None = None
    models_file: Path | None = None
    issuers_file: Path | None = None
    """Identity providers whose tokens are taken; none without a file."""
    host: str = "127.0.0.1"
    port: int = 8000
    metrics_port: int | None = None
    """Where `/metrics` is then, and nowhere else."""
    log_level: str = "info"
    limits: bool = True
    """Rate limits and daily quotas; off only for development and benchmarks."""
    anonymous_requests_per_minute: int = 60
    """Of one address, on routes without credentials and with wrong ones."""
    cors_origins: tuple[str, ...] = ()
    """Browsers' origins that may call the API; none by default."""
    trusted_proxies: str = ""
    """Whose `X-Forwarded-For` is believed: addresses and networks, separated by commas; nobody by default."""
    mailer_url: str = ""
    """The operator's mailer; without one nothing can be delivered to an email address."""
    mailer_secret: Mapping[str, bytes] | None = field(default=None, repr=False)
    """Signs what the mailer receives; all of them do, so that they can be rotated."""
    billing: BillingSettings = field(default_factory=BillingSettings)
    """Who takes the money; nobody by default."""
    hold_margin_s: int = 60
    """How much longer a hold lasts than the model's provider may take to answer."""
    drain_s: int = 30
    """How long open requests and streams may go on after the process was asked to stop."""


def read_settings(variables: Mapping[str, str]) -> ApiSettings:
    """The settings of a production process. `SettingsError` lists every variable that is missing or unusable."""
    env = Environment(variables)
    settings = ApiSettings(
        **read_places(env),
        jwt_secrets=env.secrets("JWT_SECRETS"),
        api_key_peppers=env.secrets("API_KEY_PEPPERS"),
        master_keys=env.secrets("MASTER_KEYS"),
        api_key_brand=env.text(
            "API_KEY_BRAND",
            default="fs",
            expected="2 to 16 lower-case letters and digits, a letter first",
            example="fs",
            pattern=r"[a-z][a-z0-9]{1,15}",
        ),
        plans_file=env.file("PLANS_FILE"),
        models_file=env.file("MODELS_FILE"),
        issuers_file=env.file("ISSUERS_FILE"),
        host=env.text("HOST", default="127.0.0.1", expected="an address to listen on", example="0.0.0.0"),
        port=env.number("PORT", default=8000, low=0, high=65535) or 0,
        metrics_port=env.number("METRICS_PORT", default=None, low=1, high=65535),
        log_level=env.choice("LOG_LEVEL", ("debug", "info", "warning", "error"), default="info"),
        limits=env.choice("LIMITS", ("on", "off"), default="on") == "on",
        anonymous_requests_per_minute=env.number("ANONYMOUS_REQUESTS_PER_MINUTE", default=60, low=1, high=1_000_000)
        or 60,
        cors_origins=_origins(env),
        trusted_proxies=env.text(
            "TRUSTED_PROXIES",
            default="",
            expected="addresses or networks, separated by commas",
            example="10.0.0.0/8",
            pattern=r"[0-9a-fA-F.:/, ]+",
        ),
        mailer_url=env.text(
            "MAILER_URL",
            default="",
            expected="the http:// or https:// address of your mailer, without a user in it",
            example="https://mailer.example.com/formstate",
            pattern=r"https?://[^\s@/][^\s@]*",
        ),
        mailer_secret=env.secrets("MAILER_SECRET", required=False) or None,
        billing=read_billing(env),
        hold_margin_s=env.number("HOLD_MARGIN_S", default=60, low=5, high=3_600) or 60,
        drain_s=env.number("DRAIN_S", default=30, low=0, high=600) or 0,
    )
    _check_mailer(env, settings)
    _check_ports(env, settings)
    env.check()
    return settings


def _check_mailer(env: Environment, settings: ApiSettings) -> None:
    """An unsigned webhook would let anybody send mails in the operator's name."""
    if settings.mailer_url and not settings.mailer_secret:
        expected = "a secret that your mailer knows too, because MAILER_URL is set"
        env.wrong("MAILER_SECRET", "is missing", expected=expected, example=SHOWN_FOR_SECRETS)


def _check_ports(env: Environment, settings: ApiSettings) -> None:
    """Two servers cannot listen on one port."""
    if settings.metrics_port is not None and settings.metrics_port == settings.port:
        expected = "another port than PORT, or nothing for /metrics on PORT itself"
        env.wrong("METRICS_PORT", f"is {settings.metrics_port}, as PORT is", expected=expected, example="9101")


def _origins(env: Environment) -> tuple[str, ...]:
    """Exact origins only: a star would let any page spend its visitor's credits."""
    value = env.text(
        "CORS_ORIGINS",
        default="",
        expected="origins, separated by commas, without paths and without *",
        example="https://app.example.com",
        pattern=r"https?://[^\s/*,]+(\s*,\s*https?://[^\s/*,]+)*",
    )
    return tuple(each.strip() for each in value.split(",")) if value else ()
