"""`python -m devnet.stripe --plans FILE`: the payment provider as a server of its own, for API processes elsewhere."""

import argparse
import asyncio
import sys
from pathlib import Path

from api.plans import load_plans
from api.toml_file import BadFile
from devnet.stripe.selling import delivering, prices
from devnet.stripe.server import running
from worker.stopping import stop_signals

EPILOG = """\
  pay          open the address that POST /billing/checkout answers
  refund       curl localhost:9300/_control/refund -d '{"payment_id": "pi_…", "cents": 500}'
  dispute      curl localhost:9300/_control/dispute -d '{"payment_id": "pi_…"}'
  close it     curl localhost:9300/_control/close_dispute -d '{"dispute_id": "du_…", "status": "won"}'
  next month   curl localhost:9300/_control/renew -d '{"subscription_id": "sub_…"}'     ("paid": false: it fails)
  outage       curl localhost:9300/_control/outage -d '{"outage": "down"}'      (hang, garbage, unauthorized, none)

It sells what has a stripe_price in the plan file, to whoever asks, and listens on loopback only.
"""


def parser() -> argparse.ArgumentParser:
    """The command line."""
    words = argparse.ArgumentParser(
        prog="python -m devnet.stripe",
        description="A payment provider for development and tests that speaks Stripe's API.",
        epilog=EPILOG,
        allow_abbrev=False,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    words.add_argument("--plans", type=Path, required=True, metavar="FILE", help="the plan file of the API processes")
    words.add_argument("--port", type=int, default=9300, help="port, 0 for a free one (default: %(default)s)")
    words.add_argument(
        "--deliver",
        default="http://127.0.0.1:8000",
        metavar="URL",
        help="the API process that is told what happens (default: %(default)s)",
    )
    return words


async def serve(port: int, plans: Path, deliver: str) -> None:
    """Prints what to set, serves until SIGINT or SIGTERM."""
    stopping = stop_signals()
    async with running(prices(load_plans(plans)), port=port) as shop, delivering(shop, deliver.rstrip("/")):
        settings = {
            "BILLING_PROVIDER": "stripe",
            "PLANS_FILE": str(plans),
            "STRIPE_SECRET_KEY": shop.secret_key,
            "STRIPE_WEBHOOK_SECRETS": shop.webhook_secret,
            "STRIPE_API_URL": shop.url,
        }
        print("\n".join(f"export FORMSTATE_{name}={value}" for name, value in settings.items()), flush=True)
        await stopping.wait()


def main() -> int:
    """0 after Ctrl-C, 1 when it could not start."""
    words = parser().parse_args()
    try:
        asyncio.run(serve(words.port, words.plans.resolve(), words.deliver))
    except (BadFile, OSError, OverflowError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
