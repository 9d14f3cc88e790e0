"""`python -m api`: the HTTP process."""

import argparse
import os
import sys
from collections.abc import Sequence

import msgspec
from prometheus_client import start_http_server

from api.app import Application
from api.boot import Boot
from api.error_pages import errors_page
from api.identity.issuers import Issuers, load_issuers
from api.llm_models import LlmModels, load_llm_models
from api.openapi import build_openapi
from api.plans import Plans, load_plans
from api.process import VERSION, Process
from api.route import all_routes
from api.server import Server, listening_socket, uvicorn_config
from api.settings import ApiSettings, read_settings
from api.toml_file import BadFile
from telemetry import logs, metrics
from telemetry.environment import SettingsError
from telemetry.garbage import collect_seldom
from telemetry.known_settings import lines_of_unknown, warn_of_unknown

HELP = """\
Serves the HTTP API. Settings come from the environment, each with FORMSTATE_ in front:

  DATABASE_URL             postgresql://user:password@host:5432/database     (needed)
  KAFKA_BOOTSTRAP_SERVERS  host:9092, several separated by commas            (needed)
  JWT_SECRETS              id:base64, 32 bytes; signs login tokens           (needed)
  API_KEY_PEPPERS          id:base64, 32 bytes; digests API keys             (needed)
  MASTER_KEYS              id:base64, 32 bytes; wraps all data keys          (needed)
  HOST, PORT               where to listen (127.0.0.1, 8000)
  METRICS_PORT             a port of its own for /metrics
  PLANS_FILE, MODELS_FILE  TOML files in place of the shipped ones
  ISSUERS_FILE             a TOML file of the identity providers whose tokens are taken
  KAFKA_TOPIC              formstate.commands
  API_KEY_BRAND            fs, as in fs_live_…
  CORS_ORIGINS             origins whose pages may call the API
  TRUSTED_PROXIES          whose X-Forwarded-For is believed
  LIMITS                   on or off: rate limits and daily quotas
  BILLING_PROVIDER         none, stripe or autumn; each has settings of its own
  MAILER_URL               your mailer: receives invitations and the like
  MAILER_SECRET            id:base64, 32 bytes; signs what it receives
  HOLD_MARGIN_S            how much longer a hold lasts than its provider may take (60)
  DRAIN_S                  how long open streams may go on when stopping (30)
  LOG_LEVEL                debug, info, warning or error

docs/operating.md explains each, with its default and those of the billing providers.

Make a secret with:  echo "2026a:$(openssl rand -base64 32)"
Several, separated by commas, let you rotate: the first is current, the others still verify.

Before the first start:  python -m worker migrate
The other process:       python -m worker run
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs until SIGTERM or SIGINT; 2 for unusable settings, 1 when the process cannot start."""
    parser = argparse.ArgumentParser(
        prog="python -m api", description=HELP, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--version", action="version", version=VERSION)
    parser.add_argument("--check", action="store_true", help="say what is wrong with the settings, and end")
    parser.add_argument("--openapi", action="store_true", help="print the OpenAPI document, and end")
    parser.add_argument("--errors", action="store_true", help="print docs/errors.md, and end")
    options = parser.parse_args(arguments)
    if options.errors:
        sys.stdout.write(errors_page())
        return 0
    if options.openapi:
        sys.stdout.buffer.write(msgspec.json.format(msgspec.json.encode(build_openapi(all_routes())), indent=2) + b"\n")
        return 0
    try:
        settings = read_settings(os.environ)
        plans, models = load_plans(settings.plans_file), load_llm_models(settings.models_file)
        models.check_features(plans.features)
        issuers = load_issuers(settings.issuers_file)
    except (SettingsError, BadFile) as error:
        sys.stderr.write(f"{error}\n{lines_of_unknown(os.environ)}")
        return 2
    if options.check:
        sys.stderr.write(f"{lines_of_unknown(os.environ, models.variables)}the settings are usable\n")
        return 0
    logs.configure(settings.log_level, process="api")
    warn_of_unknown(os.environ, models.variables)
    return serve(settings, plans, models, issuers)


def serve(settings: ApiSettings, plans: Plans, models: LlmModels, issuers: Issuers) -> int:
    """Serves until told to stop. Open requests and streams may end within `drain_s`."""
    log = logs.get()
    port = settings.port
    try:
        listener = listening_socket(settings.host, port)
        if settings.metrics_port is not None:
            port = settings.metrics_port
            start_http_server(port, addr=settings.host, registry=metrics.REGISTRY)
    except OSError as error:
        sys.stderr.write(f"cannot listen on {settings.host} port {port}: {error.strerror}\n")
        return 1
    process = Process(settings, "production")
    failures: list[BaseException] = []

    def failed(error: BaseException) -> None:
        failures.append(error)
        server.should_exit = True

    boot = Boot(process, plans, models, issuers, failed)
    application = Application(process, lifespan=boot.lifespan)
    server = Server(uvicorn_config(application, settings))
    collect_seldom()
    log.info("process_started", version=VERSION, host=settings.host, port=listener.getsockname()[1], pid=os.getpid())
    if not settings.limits:
        log.warning("limits_switched_off")
    for issuer in issuers.values():
        if issuer.max_role == "admin":
            log.warning("issuer_may_make_admins", issuer=issuer.name)
    server.run(sockets=[listener])
    log.info("process_stopped")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
