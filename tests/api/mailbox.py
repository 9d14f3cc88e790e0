"""An operator's mailer on loopback: takes mails as it is told to, and keeps them."""

import asyncio
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import web

from api.mail.mailer import DELIVERY, SIGNATURE, signature

SECRET = b"q" * 32


class Mailbox:
    """What came. `answers` are the next statuses, 204 after them; a mail counts once it was taken."""

    def __init__(self, secret: bytes) -> None:
        self.url = ""
        self._secret = secret
        self.mails: list[Mapping[str, Any]] = []
        self.tries: list[str] = []
        self.answers: Iterator[int] = iter(())
        self._arrived = asyncio.Event()

    async def take(self, request: web.Request) -> web.Response:
        """One webhook; its signature must be right."""
        body = await request.read()
        signed = request.headers[SIGNATURE]
        at_s = int(signed.partition(",")[0].removeprefix("t="))
        assert signed == signature([self._secret], at_s, body)
        mail = await request.json()
        assert request.headers[DELIVERY] == mail["id"]
        self.tries.append(mail["id"])
        status = next(self.answers, 204)
        if status == 204:
            self.mails.append(mail)
        self._arrived.set()
        return web.Response(status=status, headers={"Location": "/elsewhere"})

    async def next_to(self, address: str, kind: str | None = None) -> Mapping[str, Any]:
        """The first mail (of a kind) to an address, taken out; waits for it, with a bound."""
        async with asyncio.timeout(10):
            while True:
                self._arrived.clear()
                for mail in self.mails:
                    if mail["to"] == address and kind in (None, mail["kind"]):
                        self.mails.remove(mail)
                        return mail
                await self._arrived.wait()


@asynccontextmanager
async def mailbox(port: int = 0, secret: bytes = SECRET) -> AsyncIterator[Mailbox]:
    """A running mailer, on a free port unless one is named."""
    box = Mailbox(secret)
    app = web.Application()
    app.router.add_post("/mail", box.take)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", port)
    await site.start()
    box.url = f"http://127.0.0.1:{runner.addresses[0][1]}/mail"
    try:
        yield box
    finally:
        await runner.cleanup()
