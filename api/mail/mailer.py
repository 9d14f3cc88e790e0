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


class _Delivery(Struct, kw_only=True):
    """A mail on its way, and how often it was tried."""

    mail: Mail
    tries: int = 0


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
    """Posts each mail to the operator's URL, signed with every secret.

    `waits_s` are the pauses between tries. A mail that pauses holds up no other: after an outage each new one is
    delivered at once, however many wait for their next try.
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
        self._queued_max = queued_max
        self._open: dict[str, _Delivery] = {}
        """All that are on their way, by the mail's id."""
        self._due: asyncio.Queue[_Delivery] = asyncio.Queue()
        self._none_open = asyncio.Event()
        self._none_open.set()
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        """Begins to deliver."""
        self._tasks = [asyncio.create_task(self._run(), name="mailer") for _ in range(SENDERS)]

    async def stop(self) -> None:
        """Ends the delivery; what could not be delivered in time is counted and told."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._drain_s):
                await self._none_open.wait()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for delivery in tuple(self._open.values()):
            self._give_up(delivery, "process_stopped")

    def check(self) -> None:
        """See `Mailer`."""

    async def send(self, kind: str, to_address: str, data: Mapping[str, Any]) -> str:
        """See `Mailer`."""
        if len(self._open) >= self._queued_max:
            raise ApiError("mailer_busy", headers={"Retry-After": "10"})
        delivery = _Delivery(mail=_mail(kind, to_address, data))
        self._open[delivery.mail.id] = delivery
        self._none_open.clear()
        self._due.put_nowait(delivery)
        return delivery.mail.id

    async def _run(self) -> None:
        while True:
            await self._deliver(await self._due.get())

    async def _deliver(self, delivery: _Delivery) -> None:
        """Tries once; until it is taken, refused for good, or there were enough tries, another is due in a while."""
        problem, again = await self._try(delivery.mail.id, msgspec.json.encode(delivery.mail))
        if not problem:
            _mails.labels(delivery.mail.kind, "delivered").inc()
            self._ended(delivery)
        elif again and delivery.tries < len(self._waits_s):
            wait_s = self._waits_s[delivery.tries]
            delivery.tries += 1
            asyncio.get_running_loop().call_later(wait_s, self._due.put_nowait, delivery)
        else:
            self._give_up(delivery, problem)

    def _give_up(self, delivery: _Delivery, why: str) -> None:
        """Address and contents are nobody's business but the mailer's."""
        mail = delivery.mail
        _mails.labels(mail.kind, "failed").inc()
        _log.error("mail_not_delivered", delivery=mail.id, kind=mail.kind, reason=why)
        self._ended(delivery)

    def _ended(self, delivery: _Delivery) -> None:
        del self._open[delivery.mail.id]
        if not self._open:
            self._none_open.set()

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
