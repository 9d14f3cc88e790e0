"""Where the database and the command log are, as both processes read it."""

from typing import TypedDict

from telemetry.environment import Environment

TOPIC = "formstate.commands"


class Places(TypedDict):
    """By the names that both processes' settings have."""

    database_url: str
    kafka_bootstrap_servers: tuple[str, ...]
    kafka_topic: str


def read_places(env: Environment) -> Places:
    """`DATABASE_URL`, `KAFKA_BOOTSTRAP_SERVERS` and `KAFKA_TOPIC`."""
    return {
        "database_url": env.url(
            "DATABASE_URL",
            ("postgresql", "postgres"),
            example="postgresql://formstate:password@localhost:5432/formstate",
        ),
        "kafka_bootstrap_servers": env.servers("KAFKA_BOOTSTRAP_SERVERS", example="localhost:9092"),
        "kafka_topic": env.text(
            "KAFKA_TOPIC",
            default=TOPIC,
            expected="the name of a topic",
            example=TOPIC,
            pattern=r"[A-Za-z0-9._-]{1,200}",
        ),
    }
