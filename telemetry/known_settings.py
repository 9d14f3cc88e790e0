"""Names of settings that nobody reads: a typo would otherwise leave a setting at its default unseen.

Processes are often given one environment, so each knows the names of the others too.
"""

import difflib
from collections.abc import Iterable, Mapping

import structlog

from telemetry.environment import PREFIX

NAMES = frozenset(
    [
        "ANONYMOUS_REQUESTS_PER_MINUTE",
        "API_KEY_BRAND",
        "API_KEY_PEPPERS",
        "AUDIT_EXPORT_DIR",
        "AUTUMN_API_URL",
        "AUTUMN_FEATURE",
        "AUTUMN_SEATS_FEATURE",
        "AUTUMN_SECRET_KEY",
        "AUTUMN_WEBHOOK_SECRETS",
        "BILLING_PROVIDER",
        "CORS_ORIGINS",
        "DATABASE_URL",
        "DRAIN_S",
        "HOLD_MARGIN_S",
        "HOST",
        "ISSUERS_FILE",
        "JWT_SECRETS",
        "KAFKA_BOOTSTRAP_SERVERS",
        "KAFKA_TOPIC",
        "LIMITS",
        "LOG_LEVEL",
        "LOG_MAC_KEYS",
        "MAILER_SECRET",
        "MAILER_URL",
        "MASTER_KEYS",
        "METRICS_PORT",
        "MODELS_FILE",
        "PLANS_FILE",
        "PORT",
        "PRICING_URL",
        "STRIPE_API_URL",
        "STRIPE_SECRET_KEY",
        "STRIPE_WEBHOOK_SECRETS",
        "TRUSTED_PROXIES",
        "WEBHOOK_SECRET",
        "WEBHOOK_URL",
        "WORKER_LANES",
        "WORKER_METRICS_HOST",
        "WORKER_METRICS_PORT",
    ]
)
"""Without the prefix: those that api and worker read; a test asks both."""
FOR_DEVELOPERS = ("PROVIDER_", "TEST_", "SIMULATION_", "UPSTREAM_KEY")
"""What names of devnet's, the tests' and the benchmarks' own begin with."""
TOLD_MAX = 20


def unknown_settings(variables: Mapping[str, str], also: Iterable[str] = ()) -> dict[str, str | None]:
    """Variables with the prefix that nobody reads, each with the known one that is nearest to it, if any is near.

    `also` are full names that something else than the settings reads, such as a provider's key.
    """
    others = frozenset(also)
    unknown = sorted(
        name
        for name in variables
        if name.startswith(PREFIX)
        and name not in others
        and (bare := name.removeprefix(PREFIX)) not in NAMES
        and not bare.startswith(FOR_DEVELOPERS)
    )
    return {name: _nearest(name) for name in unknown[:TOLD_MAX]}


def warn_of_unknown(variables: Mapping[str, str], also: Iterable[str] = ()) -> None:
    """A warning for each of them; for the start of a process."""
    for name, nearest in unknown_settings(variables, also).items():
        structlog.get_logger(__name__).warning("setting_unknown", variable=name, nearest=nearest)


def lines_of_unknown(variables: Mapping[str, str], also: Iterable[str] = ()) -> str:
    """A line for each of them, to be read where there is no log."""
    unknown = unknown_settings(variables, also).items()
    return "".join(f"nobody reads {name}{f': is {near} meant?' if near else ''}\n" for name, near in unknown)


def _nearest(name: str) -> str | None:
    found = difflib.get_close_matches(name.removeprefix(PREFIX), sorted(NAMES), n=1)
    return PREFIX + found[0] if found else None
