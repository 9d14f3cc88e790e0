"""Sends an answer at the pace that was asked for, and fails where it was told to."""

import asyncio
import itertools
import time

from devnet.provider.answer import Answer
from devnet.provider.encode import Events, completion, events
from devnet.provider.errors import ProviderError, injected
from devnet.provider.exchange import Exchange
from devnet.provider.ledger import End, Entry, Ledger
from devnet.provider.options import ProviderOptions

JSON = (b"content-type", b"application/json")
SSE = (b"content-type", b"text/event-stream; charset=utf-8")
NO_CACHE = (b"cache-control", b"no-cache")
BURST = 64
GARBAGE = b"<html><body>502 Bad Gateway</body></html>"
GARBAGE_EVENT = b'data: {"id":"chatcmpl-garbage","choices":[{"delta":\n\n'


class Delivery:
    """One request's way out. Each method returns how the request ended."""

    def __init__(self, exchange: Exchange, ledger: Ledger, entry: Entry, options: ProviderOptions) -> None:
        self._exchange = exchange
        self._ledger = ledger
        self._entry = entry
        self._options = options

    async def refuse(self, error: ProviderError) -> End:
        """An error in OpenAI's shape; a 429 carries `Retry-After`."""
        headers = [(b"retry-after", str(self._options.retry_after_s).encode())] if error.status == 429 else []  # noqa: PLR2004
        await self._whole(error.status, error.body(), *headers)
        return "refused"

    async def answer(self, answer: Answer, *, stream: bool, usage_asked: bool) -> End:
        """Wait, fail before the first byte if told to, else send the answer."""
        fail = self._options.fail
        if self._options.latency_ms or fail == "hang":
            self._exchange.watch()
            await self._exchange.pause(None if fail == "hang" else self._options.latency_ms / 1_000)
            if self._exchange.gone:
                return "client_cancelled"
        if fail == "before-first-byte":
            await self._exchange.cut()
            return "failed"
        if fail.startswith("error-") and not (stream and fail == "error-in-stream"):
            await self.refuse(injected(fail))
            return "failed"
        if fail == "garbage":
            await self._whole(200, GARBAGE_EVENT if stream else GARBAGE, kind=SSE if stream else JSON)
            return "failed"
        with_usage = fail != "no-usage"
        if stream:
            return await self._stream(events(answer, usage_asked=usage_asked, with_usage=with_usage))
        return await self._unstreamed(completion(answer, with_usage=with_usage), answer)

    async def _whole(
        self, status: int, body: bytes, *more: tuple[bytes, bytes], kind: tuple[bytes, bytes] = JSON
    ) -> None:
        await self._begin(status, [kind, (b"content-length", b"%d" % len(body)), *more])
        await self._exchange.write(body)

    async def _begin(self, status: int, headers: list[tuple[bytes, bytes]]) -> None:
        self._entry.status = status
        self._entry.first_byte_s = time.monotonic()
        await self._exchange.start(status, [*headers, (b"x-request-id", b"req_%d" % self._entry.number)])

    async def _unstreamed(self, body: bytes, answer: Answer) -> End:
        if self._options.fail not in {"mid-stream", "hang-mid-stream"}:
            await self._whole(200, body)
            self._ledger.sent(self._entry, answer.usage.completion_tokens)
            return "completed"
        await self._begin(200, [JSON, (b"content-length", b"%d" % len(body))])
        await self._exchange.write(body[: len(body) // 2], more=True)
        return await self._break_off()

    async def _stream(self, parts: Events) -> End:
        options = self._options
        failing = options.fail in {"mid-stream", "hang-mid-stream", "error-in-stream"}
        count = min(parts.count, options.fail_after_tokens) if failing else parts.count
        await self._begin(200, [SSE, NO_CACHE])
        if not failing and not options.tokens_per_second and count <= BURST:
            last = b"" if options.fail == "no-done" else parts.closing
            await self._exchange.write(b"".join([parts.opening, *parts.tokens, last]))
            self._ledger.sent(self._entry, count)
            return "failed" if options.fail == "no-done" else "completed"
        self._exchange.watch()
        await self._exchange.write(parts.opening, more=True)
        await self._paced(parts, count)
        if self._exchange.gone:
            return "client_cancelled"
        if failing:
            return await self._break_off()
        await self._exchange.write(b"" if options.fail == "no-done" else parts.closing)
        return "failed" if options.fail == "no-done" else "completed"

    async def _paced(self, parts: Events, count: int) -> None:
        """Each token when it is due; those that are late go out together, in one write but an event each."""
        exchange, rate = self._exchange, self._options.tokens_per_second
        clock = time.monotonic
        began = clock()
        sent = 0
        while sent < count and not exchange.gone:
            due = int((clock() - began) * rate) + 1 if rate else sent + BURST
            if due <= sent:
                await exchange.pause(began + sent / rate - clock())
                continue
            size = min(due, count) - sent
            await exchange.write(b"".join(itertools.islice(parts.tokens, size)), more=True)
            if not rate:
                await asyncio.sleep(0)
            sent += size
            self._ledger.sent(self._entry, size)

    async def _break_off(self) -> End:
        """In mid-answer: hang, tell an error and end, or reset the connection."""
        if self._options.fail == "hang-mid-stream":
            self._exchange.watch()
            await self._exchange.pause(None)
            return "client_cancelled"
        if self._options.fail == "error-in-stream":
            await self._exchange.write(b"data: " + injected("error-in-stream").body() + b"\n\n")
            return "failed"
        await self._exchange.cut()
        return "failed"
