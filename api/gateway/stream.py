"""Streamed answers: passed on as they arrive, reported on while they last, charged for what was delivered."""

import asyncio
import contextlib
from typing import Any

import msgspec

from api.errors import ApiError
from api.gateway.answers import KEPT_BYTES_MAX, Keeping, Kept
from api.gateway.client_watch import ClientGone, ClientWatch, Receive
from api.gateway.job import ChatJob
from api.gateway.settlement import Settlement, cost_comment
from api.gateway.sse import SseScanner
from api.gateway.upstream import Answering
from api.gateway.upstream_errors import told_in_answer
from domain.account.usage import Usage
from telemetry import logs

READ_ON_S = 0.5
DONE_EVENT = b"data: [DONE]\n\n"
NOTHING = Usage(source="none")


class ChatStream:
    """An ASGI app that streams one answer. `first` must have been awaited: until then errors are plain answers."""

    def __init__(self, job: ChatJob, answering: Answering, keeping: Keeping | None) -> None:
        self._job = job
        self._answering = answering
        self._keeping = keeping
        self._scanner = SseScanner(strip_usage=not job.request.usage_asked)
        self._first = b""
        self._kept: list[bytes] = []
        self._kept_bytes = 0

    async def first(self) -> None:
        """Waits for the first bytes. A provider that fails before them has delivered nothing; nothing is charged."""
        try:
            self._first = await self._next()
            self._require_first()
        except ApiError as error:
            self._answering.close()
            await self._job.hold.release(error.code)
            raise
        except BaseException:
            self._answering.close()
            self._job.hold.drop("client_gone")
            raise

    def _require_first(self) -> None:
        if not self._first and not self._scanner.done:
            raise self._failure() or ApiError("upstream_error", "The provider's stream was empty.")

    async def __call__(self, _scope: Any, receive: Receive, send: Any) -> None:
        """Sends the answer; whatever happens on the way, what was delivered is charged, once."""
        job, hold = self._job, self._job.hold
        failure: ApiError | None = None
        hold.report(self._progress)
        job.metering.report_on(hold)
        try:
            async with ClientWatch(job.metering, receive):
                await send({"type": "http.response.start", "status": 200, "headers": self._headers()})
                await self._pass_on(send)
                failure = self._failure()
        except ApiError as error:
            failure = error
        except ClientGone:
            await self._read_on()
            hold.settle_later(self._used() or NOTHING, request_id=job.call.request_id)
            logs.get().info("client_gone", hold_id=hold.id)
            return
        except BaseException:
            hold.settle_later(self._used() or NOTHING, request_id=job.call.request_id)
            raise
        finally:
            job.metering.forget(hold)
            self._answering.close()
        await self._end(send, failure)

    async def _read_on(self) -> None:
        """Waits a moment for the usage that a client leaves behind who left with the whole answer.

        It alone tells of reasoning that nobody is shown, and that is charged.
        """
        scanner = self._scanner
        with contextlib.suppress(ApiError, TimeoutError):
            async with asyncio.timeout(READ_ON_S):
                while scanner.finished and scanner.usage is None and not scanner.ended:
                    data = await self._answering.some()
                    if not data:
                        return
                    scanner.feed(data)

    async def _pass_on(self, send: Any) -> None:
        data = self._first
        while data:
            await send({"type": "http.response.body", "body": data, "more_body": True})
            if self._keeping is not None:
                self._remember(data)
            data = await self._next()

    async def _next(self) -> bytes:
        """The next bytes for the client; empty when there will be none."""
        scanner = self._scanner
        while not scanner.ended:
            data = await self._answering.some()
            passed = scanner.feed(data) if data else scanner.close()
            if passed or not data:
                return passed
        return b""

    def _failure(self) -> ApiError | None:
        """Why a stream that is over is not complete, if it is not. Some providers forget `[DONE]`, and no harm done."""
        scanner = self._scanner
        if scanner.error is not None:
            return told_in_answer(scanner.error, self._answering.deployment)
        if scanner.broken:
            return ApiError("upstream_error", "The provider's stream is broken.")
        if scanner.done or scanner.finished or scanner.usage is not None:
            return None
        return ApiError("upstream_error", "The provider's stream ended early.")

    def _used(self) -> Usage | None:
        """What was used, as the provider told or else by what was delivered; `None` if that is nothing.

        Of a usage that was told before the last text the prompt stands; its completion does where it is the larger.
        """
        scanner = self._scanner
        self._job.hold.served(scanner.tier)
        told, counted = self._job.told(scanner.usage), self._progress()
        if told is None or counted is None:
            return told or counted
        early = scanner.chunks_at_usage < scanner.delivered.chunks and told.completion < counted.output
        if told.completion and early:
            return msgspec.structs.replace(
                told, source="estimated", output=counted.output, reasoning=0, audio_output=counted.audio_output
            )
        return told if told.completion else counted

    def _progress(self) -> Usage | None:
        delivered = self._scanner.delivered
        if not (delivered.chunks or delivered.audio_bytes):
            return None
        return self._job.estimated(
            chunks=delivered.chunks, text_bytes=delivered.text_bytes, audio_bytes=delivered.audio_bytes
        )

    async def _end(self, send: Any, failure: ApiError | None) -> None:
        """Settles, and then tells the cost and ends the stream; by an error event if it failed."""
        job = self._job
        usage = self._used()
        if usage is None and failure is None:
            usage = job.estimated(chunks=0, text_bytes=0)
        if usage is None:
            assert failure is not None
            await job.hold.release(failure.code)
            settlement: Settlement | None = msgspec.structs.replace(job.hold.reckoned(NOTHING), settled=True)
        else:
            try:
                if failure is None:
                    await self._keep(usage)
            except BaseException:
                job.hold.settle_later(usage, request_id=job.call.request_id)
                raise
            settlement = await job.hold.settle(usage, request_id=job.call.request_id)
        if settlement is None:
            assert usage is not None
            job.hold.settle_later(usage, request_id=job.call.request_id)
            settlement = job.hold.reckoned(usage)
            failure = failure or ApiError("settlement_unknown", "The charge could not be confirmed in time.")
        body = cost_comment(settlement) + (self._tail if failure is None else self._error_event(failure))
        await send({"type": "http.response.body", "body": body, "more_body": False})

    @property
    def _tail(self) -> bytes:
        return self._scanner.done_event or DONE_EVENT

    def _error_event(self, failure: ApiError) -> bytes:
        return b"data: " + failure.body(self._job.call.request_id) + b"\n\n"

    def _remember(self, data: bytes) -> None:
        """For the kept answer; past its bound the size alone counts."""
        self._kept_bytes += len(data)
        if self._kept_bytes <= KEPT_BYTES_MAX:
            self._kept.append(data)
        else:
            self._kept.clear()

    async def _keep(self, usage: Usage) -> None:
        if self._keeping is None:
            return
        reckoned = self._job.hold.reckoned(usage)
        kept = Kept(
            media_type=self._answering.media_type,
            body=b"".join(self._kept),
            tail=self._tail,
            cost=reckoned.cost,
            remaining=reckoned.remaining,
            too_large=self._kept_bytes > KEPT_BYTES_MAX,
        )
        await self._keeping.keep(kept)

    def _headers(self) -> list[tuple[bytes, bytes]]:
        placed = self._job.hold.placed
        warnings = self._job.warnings(placed.available + placed.granted)
        return [
            (b"content-type", self._answering.media_type.encode("latin-1")),
            (b"cache-control", b"no-cache"),
            (b"x-accel-buffering", b"no"),
            *((name.lower().encode("ascii"), value.encode("ascii")) for name, value in warnings.items()),
        ]
