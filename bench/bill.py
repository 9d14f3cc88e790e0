"""What was measured also happened: every charge of a run is on the account, and nothing else is."""

import asyncio

import aiohttp
from msgspec import Struct

from bench.customers import ask
from bench.deployment import Deployment
from domain.money import MicroCredits, parse_credits

SETTLED_S = 30.0


class Bill(Struct, frozen=True, kw_only=True):
    """What the account has, and what its usage says it has spent."""

    balance: MicroCredits
    charged: MicroCredits
    requests: int


async def bill(product: Deployment) -> Bill:
    """The demo account's bill once nothing is held any more."""
    async with aiohttp.ClientSession(product.url) as http, asyncio.timeout(SETTLED_S):
        while True:
            credits = await ask(http, "GET", "/billing/credits", token=product.user_token)
            if parse_credits(credits["held"]) == 0:
                break
            await asyncio.sleep(0.1)
        totals = (await ask(http, "GET", "/billing/usage", token=product.user_token))["totals"]
    return Bill(
        balance=parse_credits(credits["balance"]), charged=parse_credits(totals["cost"]), requests=totals["requests"]
    )


def assert_billed(before: Bill, after: Bill, answered: int) -> None:
    """Every answer was charged, and the sum of the charges is what the balance has lost."""
    charged = after.charged - before.charged
    assert charged > 0, "nothing was charged"
    assert charged == before.balance - after.balance, f"charged {charged}, lost {before.balance - after.balance}"
    requests = after.requests - before.requests
    assert requests >= answered, f"{answered} answers, {requests} charges"
