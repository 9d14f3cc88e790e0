"""Mails to people, by way of the operator: a signed webhook for each; the operator's mailer words and sends them.

The request goes on while a mail is under way. It is tried a few times and then given up, which a metric and the log
tell; nothing is kept over the end of the process. So every mail is one that can be asked for again.
"""

import asyncio
import contextlib
import hmac
import sys
import time
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import aiohttp
import msgspec
import structlog
from msgspec import Struct

from api.errors import ApiError, declare
from api.ids import random_hex
from api.rfc3339 import format_instant
from telemetry import metrics

SIGNATURE = "Formstate-Signature"
DELIVERY = "Formstate-Delivery"
ATTEMPT_S = 10.0
WAITS_S = (0.5, 2.0, 8.0, 30.0)
"""Between one try and the next; after the last of these comes the last try."""
QUEUED_MAX = 1_000
SENDERS = 4
DRAIN_S = 5.0
"""How long mails that are waiting may still be tried when the process ends."""
_WORTH_REPEATING = frozenset({408, 425, 429})

_mails = metrics.counter("mails", "Mails handed to the operator's mailer, and those given up.", ("kind", "result"))
_log = structlog.get_logger()

declare(
    "mailer_not_configured",
    "unavailable",
    "This server has no mailer, so nothing can be delivered to an email address.",
    "Ask the operator to set FORMSTATE_MAILER_URL and FORMSTATE_MAILER_SECRET.",
)
declare(
    "mailer_busy",
    "unavailable",
    "Too many mails are waiting for the mailer.",
    "Try again after the seconds in Retry-After.",
)


class Mailer(Protocol):
    """Delivers mails without holding up the request."""

    def check(self) -> None:
        """503 `mailer_not_configured`, before anything is decided whose mail nobody would deliver."""
        ...

    async def send(self, kind: str, to_address: str, data: Mapping[str, Any]) -> str:
        """Takes a mail and answers the delivery's id; 503 `mailer_busy` when too many wait.

        `kind` says what it is about (`invitation`, …), `data`, plain JSON, what its text needs: tokens, names, times.
        """
        ...


class Mail(Struct, frozen=True, kw_only=True):
    """What the operator's mailer receives, as JSON. The same `id` may come more than once."""

    id: str
    kind: str
    to: str
    data: Mapping[str, Any]
    created_at: str


class NoMailer:
    """Of a production process without the setting."""

    def check(self) -> None:
        """See `Mailer`."""
        raise ApiError("mailer_not_configured")

    async def send(self, kind: str, to_address: str, data: Mapping[str, Any]) -> str:
        """See `Mailer`."""
        del kind, to_address, data
        raise ApiError("mailer_not_configured")


class PrintedMailer:
    """Of devnet: each mail is a line of JSON on standard error, among the lines of the log."""

    def check(self) -> None:
        """See `Mailer`."""

    async def send(self, kind: str, to_address: str, data: Mapping[str, Any]) -> str:
        """See `Mailer`."""
        mail = _mail(kind, to_address, data)
        sys.stderr.write(msgspec.json.encode({"mail": mail}).decode() + "\n")
        sys.stderr.flush()
        return mail.id


class WebhookMailer:
    """Posts each mail to the operator's URL, signed with every secret. `stop` tries what is waiting once more.

    `waits_s` are the pauses between tries.
    """

    def __init__(
        self,
        url: str,
        secrets: Mapping[str, bytes],
        http: aiohttp.ClientSession,
        *,
        waits_s: Sequence[float] = WAITS_S,
        queued_max: int = QUEUED_MAX,
        drain_s: float = DRAIN_S,
    ) -> None:
        self._url = url
        self._secrets = tuple(secrets.values())
        self._http = http
        self._waits_s = waits_s
        self._drain_s = drain_s
        self._queue: asyncio.Queue[Mail] = asyncio.Queue(queued_max)
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        """Begins to deliver."""
        self._tasks = [asyncio.create_task(self._run(), name="mailer") for _ in range(SENDERS)]

    async def stop(self) -> None:
        """Ends the delivery; what could not be delivered in time is counted and told."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._drain_s):
                await self._queue.join()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        while not self._queue.empty():
            _given_up(self._queue.get_nowait(), "process_stopped")

    def check(self) -> None:
        """See `Mailer`."""

    async def send(self, kind: str, to_address: str, data: Mapping[str, Any]) -> str:
        """See `Mailer`."""
        mail = _mail(kind, to_address, data)
        try:
            self._queue.put_nowait(mail)
        except asyncio.QueueFull:
            raise ApiError("mailer_busy", headers={"Retry-After": "10"}) from None
        return mail.id

    async def _run(self) -> None:
        while True:
            mail = await self._queue.get()
            try:
                await self._deliver(mail)
            except asyncio.CancelledError:
                _given_up(mail, "process_stopped")
                raise
            finally:
                self._queue.task_done()

    async def _deliver(self, mail: Mail) -> None:
        """Tries until it is taken, refused for good, or there were enough tries."""
        body = msgspec.json.encode(mail)
        problem = ""
        for wait_s in (*self._waits_s, None):
            problem, again = await self._try(mail.id, body)
            if not problem:
                _mails.labels(mail.kind, "delivered").inc()
                return
            if not again or wait_s is None:
                break
            await asyncio.sleep(wait_s)
        _given_up(mail, problem)

    async def _try(self, delivery: str, body: bytes) -> tuple[str, bool]:
        """What went wrong, if anything, and whether another try could end better."""
        headers = {
            "Content-Type": "application/json",
            DELIVERY: delivery,
            SIGNATURE: signature(self._secrets, int(time.time()), body),
        }
        timeout = aiohttp.ClientTimeout(total=ATTEMPT_S)
        try:
            async with self._http.post(
                self._url, data=body, headers=headers, timeout=timeout, allow_redirects=False
            ) as answer:
                status = answer.status
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            return type(error).__name__, True
        if 200 <= status < 300:  # noqa: PLR2004  # the range of successes
            return "", False
        return f"status {status}", status >= 500 or status in _WORTH_REPEATING  # noqa: PLR2004  # their side's


def signature(secrets: Sequence[bytes], at_s: int, body: bytes) -> str:
    """`t=<unix seconds>,v1=<hex>` with a `v1` for each secret: HMAC-SHA256 (RFC 2104) of `<t>.<body>`."""
    signed = b"%d.%b" % (at_s, body)
    return ",".join([f"t={at_s}", *(f"v1={hmac.digest(secret, signed, 'sha256').hex()}" for secret in secrets)])


def _mail(kind: str, to_address: str, data: Mapping[str, Any]) -> Mail:
    created_at = format_instant(time.time_ns() // 1_000)
    return Mail(id=f"mail_{random_hex()}", kind=kind, to=to_address, data=data, created_at=created_at)


def _given_up(mail: Mail, why: str) -> None:
    """Address and contents are nobody's business but the mailer's."""
    _mails.labels(mail.kind, "failed").inc()
    _log.error("mail_not_delivered", delivery=mail.id, kind=mail.kind, reason=why)
