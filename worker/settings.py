"""Settings of the worker, read from the environment once, at its start."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from eventstore.settings import TOPIC, read_places
from telemetry.environment import Environment
from worker.outgoing.settings import OutgoingSettings, read_outgoing


@dataclass(frozen=True, kw_only=True, slots=True)
class WorkerSettings:
    """See `docs/operating.md` for each. No secret shows in a `repr`."""

    database_url: str = field(repr=False)
    kafka_bootstrap_servers: tuple[str, ...]
    kafka_topic: str = TOPIC
    log_mac_keys: Mapping[str, bytes] = field(repr=False)
    lanes: int = 2
    """Transactions under way at once: one lane decides while another commits."""
    metrics_port: int | None = None
    metrics_host: str = "127.0.0.1"
    log_level: str = "info"
    audit_export_dir: Path | None = None
    """Where heads of the log and audit trails are written each day; nowhere by default."""
    outgoing: OutgoingSettings = field(default_factory=OutgoingSettings)
    """The places outside that are told of what happens."""


def read_settings(variables: Mapping[str, str]) -> WorkerSettings:
    """The settings of a worker. `SettingsError` lists every variable that is missing or unusable."""
    env = Environment(variables)
    settings = WorkerSettings(
        **read_places(env),
        log_mac_keys=env.secrets("LOG_MAC_KEYS"),
        lanes=env.number("WORKER_LANES", default=2, low=1, high=8) or 2,
        metrics_port=env.number("WORKER_METRICS_PORT", default=None, low=1, high=65535),
        metrics_host=env.text(
            "WORKER_METRICS_HOST", default="127.0.0.1", expected="an address to listen on", example="0.0.0.0"
        ),
        audit_export_dir=env.folder("AUDIT_EXPORT_DIR"),
        log_level=env.choice("LOG_LEVEL", ("debug", "info", "warning", "error"), default="info"),
        outgoing=read_outgoing(env),
    )
    env.check()
    return settings
