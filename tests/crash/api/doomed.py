"""A stream and an erasure whose API process is killed in the middle: begun first, looked at last.

The stream's hold has to expire; the erasure is its request's alone for half a minute.
"""

import asyncio
import re
from typing import Any

from msgspec import Struct

from devnet.seed import wait_until_ready
from tests.crash.api.shop import Caller, Person, Shop, clients
from tests.crash.deployment import Process
from tests.crash.waiting import until

REQUEST_ID = "doomed"


class Doomed(Struct, frozen=True, kw_only=True):
    """What is left of it."""

    person: Person
    hold_id: str
    hold: dict[str, Any]
    """As it was when the process was killed, with its progress."""
    erasing: dict[str, Any]
    """A user whose erasure the process had begun, and no more."""


async def kill_in_stream(shop: Shop) -> Doomed:
    """Starts an API of its own, streams through it, has it begin an erasure, and kills it."""
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
            erasing = await _begin_erasure(caller, url, process)
            broken = (await asyncio.gather(reading, return_exceptions=True))[0]
            assert isinstance(broken, Exception), "the client sees the connection break"
    assert hold is not None
    return Doomed(person=person, hold_id=hold["id"], hold=hold, erasing=erasing)


async def _begin_erasure(caller: Caller, url: str, process: Process) -> dict[str, Any]:
    """Kills the process once the log has the erasure's first command, and before anybody has decided it."""
    person, workers = await caller.register(), caller.shop.deployment.workers()
    for worker in workers:
        worker.freeze()
    try:
        sent = await _sent(caller, url)
        asked = asyncio.create_task(caller.ask("DELETE", "/users/me", url=url, token=person["token"]))
        await until(lambda: _has_sent(caller, url, sent + 1), 10, "the erasure is begun")
        process.kill()
    finally:
        for worker in workers:
            worker.thaw()
    assert isinstance((await asyncio.gather(asked, return_exceptions=True))[0], Exception), "nobody has answered"
    return person


async def _has_sent(caller: Caller, url: str, count: int) -> bool:
    return await _sent(caller, url) >= count


async def _sent(caller: Caller, url: str) -> int:
    """How many commands the log has acknowledged to the process."""
    async with caller.http.get(f"{url}/metrics") as response:
        found = re.search(r"^formstate_command_send_seconds_count (\d+)", await response.text(), re.MULTILINE)
        return int(found[1]) if found else 0


async def _with_progress(caller: Caller, person: Person) -> dict[str, Any] | None:
    holds = await caller.listed(person, "/billing/holds")
    return next((hold for hold in holds if hold["status"] == "open" and hold["usage"]), None)
