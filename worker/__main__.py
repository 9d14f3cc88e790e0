"""`python -m worker`: the queue reader, and what an operator does to the store and the log."""

import argparse
import asyncio
import os
import sys

import uvloop
from aiokafka.errors import KafkaError

from eventstore.command_topic import TopicUnusable
from eventstore.errors import StoreError
from telemetry import logs
from telemetry.environment import SettingsError
from telemetry.known_settings import lines_of_unknown, warn_of_unknown
from worker import (
    adopt_log,
    autumn_check,
    dead_letters,
    deliveries,
    grant_level,
    grant_role,
    heads,
    quarantine,
    rebuild,
    show,
    verify,
)
from worker.migrate import migrate
from worker.operating import NotDone
from worker.run import run
from worker.settings import WorkerSettings, read_settings
from worker.source import LogUnavailable
from worker.words import add_command, number

NOUNS = (rebuild, verify, heads, show, dead_letters, quarantine, deliveries, autumn_check, adopt_log)

SHARDS_MAX = 1_024

EPILOG = """\
settings (environment; docs/operating.md explains each):
  FORMSTATE_DATABASE_URL             postgresql://user:password@host:5432/formstate
  FORMSTATE_KAFKA_BOOTSTRAP_SERVERS  host:9092[,host:9092]
  FORMSTATE_LOG_MAC_KEYS             id:base64 of 32 bytes, the current one first
and if you like:
  FORMSTATE_KAFKA_TOPIC              formstate.commands
  FORMSTATE_WEBHOOK_URL, _SECRET     who is told of quotas and balances; id:base64 of 32 bytes signs it
  FORMSTATE_BILLING_PROVIDER         none, stripe or autumn, as for the api; each has settings of its own
  FORMSTATE_AUDIT_EXPORT_DIR         a folder for the daily export
  FORMSTATE_WORKER_METRICS_PORT      a port for /metrics; _HOST, an address (127.0.0.1)
  FORMSTATE_WORKER_LANES             1 to 8 transactions at once (2)
  FORMSTATE_LOG_LEVEL                debug, info, warning or error

first steps:
  python -m worker migrate    once, and again with each release
  python -m worker run        as many as you like; shards share themselves out
"""


def parser() -> argparse.ArgumentParser:
    """The command line."""
    top = argparse.ArgumentParser(
        prog="python -m worker",
        description=__doc__,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = top.add_subparsers(dest="command", required=True, metavar="command")
    add_command(commands, "run", "apply commands until SIGTERM or Ctrl-C").set_defaults(act=run)
    migrating = add_command(commands, "migrate", "make or upgrade tables and topic; safe at any time")
    migrating.add_argument(
        "--shards",
        type=number(1, SHARDS_MAX),
        metavar="N",
        help=f"how many shards, 1 to {SHARDS_MAX}; counts at the first migration only (default 32)",
    )
    migrating.add_argument(
        "--forget", action="append", metavar="COLLECTION", help="a read model that no release keeps from now on"
    )
    migrating.add_argument("--activate", action="store_true", help="allow what only the new release can read")
    migrating.set_defaults(act=migrate)
    for noun in NOUNS:
        noun.add_parser(commands)
    granting = add_command(commands, "grant-role", "give a user a role; the only way to the first admin")
    grant_role.add_words(granting)
    granting.set_defaults(act=grant_role.grant_role)
    granting = add_command(commands, "grant-level", "put somebody into an organization that has lost its admins")
    grant_level.add_words(granting)
    granting.set_defaults(act=grant_level.grant_level)
    return top


def main() -> int:
    """Runs one command; 0 when it did what it says, 1 when not, 2 for wrong words or settings."""
    words = vars(parser().parse_args())
    act = words.pop("act")
    for chosen in ("command", "verb"):
        words.pop(chosen, None)
    try:
        settings: WorkerSettings = read_settings(os.environ)
    except SettingsError as error:
        print(f"{error}\n{lines_of_unknown(os.environ)}", end="", file=sys.stderr)
        return 2
    logs.configure(settings.log_level, process="worker")
    warn_of_unknown(os.environ)
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            said = runner.run(act(settings, **words))
    except NotDone as error:
        print(error, file=sys.stderr)
        return 1
    except (StoreError, TopicUnusable, KafkaError, LogUnavailable, OSError) as error:
        print(f"{_where(error)}{type(error).__name__}: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    if said:
        print(said)
    return 0


def _where(error: Exception) -> str:
    """Which server it was, and the setting that names it; nothing for what came of neither."""
    match error:
        case StoreError():
            return "PostgreSQL (FORMSTATE_DATABASE_URL): "
        case TopicUnusable() | KafkaError() | LogUnavailable():
            return "Kafka (FORMSTATE_KAFKA_BOOTSTRAP_SERVERS): "
        case _:
            return ""


if __name__ == "__main__":
    sys.exit(main())
