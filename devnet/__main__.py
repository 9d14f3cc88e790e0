"""`python -m devnet`: the whole of Form-State in one process, in memory, with demo data. Nothing survives it."""

import argparse
import asyncio
import math
import os
import sys
from collections.abc import Mapping
from contextlib import AsyncExitStack
from typing import get_args

import structlog
import uvloop
from msgspec import Struct

from api.billing.settings import BillingSettings, read_billing
from api.identity.tokens import ISSUER
from api.plans import load_plans
from api.toml_file import BadFile
from devnet.arguments import Common, common, common_parser
from devnet.issuer.example_tokens import issue
from devnet.one_process import JWT_KEY_ID, Devnet, WorkerEnded, devnet_settings
from devnet.printout import show
from devnet.provider import ProviderOptions
from devnet.provider.options import Fail
from devnet.scratch import ServerStartError, ServerUnavailableError
from devnet.seed import SeedError, seed
from devnet.stripe import running as running_stripe
from devnet.stripe.selling import billing_at, delivering, prices, sold
from telemetry import logs
from telemetry.environment import Environment, SettingsError
from telemetry.garbage import collect_seldom
from telemetry.known_settings import warn_of_unknown
from worker.outgoing.settings import OutgoingSettings, read_outgoing
from worker.stopping import stop_signals

log = structlog.get_logger(__name__)

NUMBER_MAX = 1_000_000_000

EPILOG = f"""\
examples:
  make devnet
  make devnet ARGS="--port 8000 --json"
  make devnet ARGS="--provider-latency-ms 300 --provider-tokens-per-second 40"
  make devnet ARGS="--upstream http://127.0.0.1:8080/v1 --model my-model --price-input 0.150000 --price-output 0.600000"
  make devnet ARGS="--jwt ada --jwt grace:admin"
  make devnet ARGS="--issuer ida:developer otto"
  make devnet ARGS="--stripe"

Payments and notices: FORMSTATE_BILLING_PROVIDER, FORMSTATE_WEBHOOK_URL and what goes with them are read from the
environment, as in production (docs/operating.md).

Tokens that you make yourself, with --jwt-secret: a JWT signed with HS256, its key the secret's UTF-8 bytes, its
header "kid": "{JWT_KEY_ID}", its claims "iss": "{ISSUER}", "sub" the id of a user who is registered here (user_…),
"ver": 1 (one more after each change of the password), "iat" and "exp" in whole seconds. Roles are no claims: they
are the user's. --jwt makes both, user and token.
"""


def parser() -> argparse.ArgumentParser:
    """The command line."""
    words = common_parser("python -m devnet", __doc__, EPILOG)
    words.add_argument(
        "--jwt-secret",
        type=_secret,
        metavar="TEXT",
        help="sign login tokens with this, to make some yourself: see below",
    )
    words.add_argument(
        "--stripe",
        action="store_true",
        help="also start a payment provider on this machine that speaks Stripe's API; opening a checkout pays it",
    )
    provider = words.add_argument_group("built-in models")
    provider.add_argument("--provider-latency-ms", type=_number, default=0, metavar="MS", help="before the first byte")
    provider.add_argument(
        "--provider-tokens-per-second", type=_number, default=0, metavar="N", help="0: as fast as it can"
    )
    provider.add_argument(
        "--provider-fail",
        default="none",
        choices=get_args(Fail),
        metavar="HOW",
        help="as in python -m devnet.provider --help",
    )
    return words


def _number(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not 0 <= number <= NUMBER_MAX:
        raise argparse.ArgumentTypeError(f"{text!r} is not possible: expected a number from 0 to {NUMBER_MAX:,}")
    return number


def _secret(text: str) -> str:
    if not text:
        raise argparse.ArgumentTypeError("an empty secret is none")
    return text


def _provider(words: argparse.Namespace) -> ProviderOptions:
    return ProviderOptions(
        latency_ms=words.provider_latency_ms,
        tokens_per_second=words.provider_tokens_per_second,
        fail=words.provider_fail,
    )


class Outside(Struct, frozen=True, kw_only=True):
    """Who outside has to do with it: the one part that devnet is told by the environment, as production is."""

    billing: BillingSettings
    outgoing: OutgoingSettings


def read_outside(variables: Mapping[str, str]) -> Outside:
    """A billing provider and the address for notices; `SettingsError` says what is wrong with them."""
    env = Environment(variables)
    outside = Outside(billing=read_billing(env), outgoing=read_outgoing(env))
    env.check()
    return outside


async def run(
    chosen: Common, provider: ProviderOptions, jwt_secret: str | None, outside: Outside, *, stripe: bool = False
) -> None:
    """Runs devnet until SIGINT or SIGTERM; the second ends it at once. `WorkerEnded` when the worker ends before."""
    stopping = stop_signals()
    async with AsyncExitStack() as stack:
        collect_seldom()
        plans, billing, shop = load_plans(chosen.plans_file), outside.billing, None
        if stripe:
            plans = sold(plans)
            shop = await stack.enter_async_context(running_stripe(prices(plans)))
            billing = billing_at(shop)
        devnet = Devnet(chosen, devnet_settings(chosen, jwt_secret, billing), provider, outside.outgoing, plans)
        await devnet.start(stack)
        if shop is not None:
            await stack.enter_async_context(delivering(shop, devnet.url))
        seeded = await seed(devnet.url, devnet.grant_role, chosen.people)
        issued = await issue(devnet.issuer_url, chosen.issued or ()) if devnet.issuer_url else None
        log.info("devnet_started", mode="devnet", url=devnet.url, limits=chosen.limits)
        show(
            mode="devnet",
            urls=[devnet.url],
            models=list(devnet.models),
            pids={"devnet": os.getpid()},
            seeded=seeded,
            issued=issued,
            stripe_url=shop.url if shop else "",
            as_json=chosen.json,
        )
        await devnet.until(stopping)
        log.info("devnet_stopping")


def main() -> int:
    """Runs devnet; 0 after Ctrl-C, 1 when it could not start."""
    words = parser()
    given = words.parse_args()
    chosen = common(words, given)
    logs.configure(chosen.log_level, process="devnet")
    warn_of_unknown(os.environ)
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(run(chosen, _provider(given), given.jwt_secret, read_outside(os.environ), stripe=given.stripe))
    except (ServerStartError, ServerUnavailableError, SeedError, WorkerEnded, BadFile, SettingsError, OSError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
