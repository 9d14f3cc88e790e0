"""A stream whose API process is killed in the middle: begun first, looked at last, when its hold has expired."""

import asyncio
from typing import Any

from msgspec import Struct

from devnet.seed import wait_until_ready
from tests.crash.api.shop import Caller, Person, Shop, clients
from tests.crash.waiting import until

REQUEST_ID = "doomed"


class Doomed(Struct, frozen=True, kw_only=True):
    """What is left of it."""

    person: Person
    hold_id: str
    hold: dict[str, Any]
    """As it was when the process was killed, with its progress."""


async def kill_in_stream(shop: Shop) -> Doomed:
    """Starts an API of its own, streams through it until the hold's progress is on record, and kills it."""
    url, process = shop.start_api()
    await wait_until_ready(url)
    async with clients(shop) as caller:
        person = await caller.customer("5.000000")
        body = {
            "model": "short",
            "stream": True,
            "messages": [{"role": "user", "content": "Tell me a story. [[tokens=400]] [[tps=40]]"}],
        }
        headers = {"Authorization": f"Bearer {person.key}", "X-Request-Id": REQUEST_ID}
        async with caller.http.post(f"{url}/v1/chat/completions", json=body, headers=headers) as response:
            assert response.status == 200, await response.text()
            reading = asyncio.create_task(response.read())
            hold = await until(lambda: _with_progress(caller, person), 10, "the hold reports its progress")
            process.kill()
            broken = (await asyncio.gather(reading, return_exceptions=True))[0]
            assert isinstance(broken, Exception), "the client sees the connection break"
    assert hold is not None
    return Doomed(person=person, hold_id=hold["id"], hold=hold)


async def _with_progress(caller: Caller, person: Person) -> dict[str, Any] | None:
    holds = await caller.listed(person, "/billing/holds")
    return next((hold for hold in holds if hold["status"] == "open" and hold["usage"]), None)
