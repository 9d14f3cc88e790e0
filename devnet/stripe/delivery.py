"""Sends events to an endpoint, signed as Stripe signs them: at least once, and again until they are taken."""

import asyncio
import hmac
import time
from collections.abc import Sequence

import aiohttp
import msgspec

from devnet.stripe.shop import DevStripe, Thing

POLL_S = 0.2
AGAIN_S = (1.0, 2.0, 5.0, 15.0, 60.0)
"""Between one try and the next; the last pause repeats."""
ATTEMPT_S = 20.0


def signed(event: Thing, secret: str, *, at_s: int | None = None) -> tuple[bytes, str]:
    """The body and the `Stripe-Signature` of an event."""
    body = msgspec.json.encode(event)
    at = int(time.time()) if at_s is None else at_s
    digest = hmac.digest(secret.encode(), b"%d.%b" % (at, body), "sha256").hex()
    return body, f"t={at},v1={digest}"


class Delivery:
    """Delivers what happens from now on to `url`; each event by itself, so that one that fails holds up no other."""

    def __init__(self, shop: DevStripe, url: str, *, pauses_s: Sequence[float] = AGAIN_S) -> None:
        self._shop = shop
        self._url = url
        self._pauses_s = pauses_s

    async def run(self) -> None:
        """Until it is cancelled."""
        begun = len(self._shop.events)
        async with aiohttp.ClientSession() as http, asyncio.TaskGroup() as tasks:
            while True:
                while begun < len(self._shop.events):
                    tasks.create_task(self._deliver(http, self._shop.events[begun]))
                    begun += 1
                await asyncio.sleep(POLL_S)

    async def _deliver(self, http: aiohttp.ClientSession, event: Thing) -> None:
        tries = 0
        while not await self._taken(http, event):
            await asyncio.sleep(self._pauses_s[min(tries, len(self._pauses_s) - 1)])
            tries += 1

    async def _taken(self, http: aiohttp.ClientSession, event: Thing) -> bool:
        body, signature = signed(event, self._shop.webhook_secret)
        headers = {"Content-Type": "application/json", "Stripe-Signature": signature}
        timeout = aiohttp.ClientTimeout(total=ATTEMPT_S)
        try:
            async with http.post(self._url, data=body, headers=headers, timeout=timeout) as answer:
                return answer.status == 200  # noqa: PLR2004  # OK
        except (aiohttp.ClientError, OSError, TimeoutError):
            return False
