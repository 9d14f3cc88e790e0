"""The provider's side of a call: deployments tried in order before the first byte, bounded in time and number."""

import asyncio
import io
import random
import time
from collections.abc import Iterator
from functools import cache, lru_cache
from itertools import cycle, islice

import aiohttp
from aiohttp import ClientResponse, ClientSession, ClientTimeout
from msgspec import Struct
from yarl import URL

from api.errors import ApiError
from api.gateway.request import ChatRequest
from api.gateway.upstream_errors import refused, retry_after_s, retryable
from api.llm_models import Deployment, LlmModel

ATTEMPTS_MIN = 2
ATTEMPTS_MAX = 4
"""Calls before the first byte, all deployments together; each is tried once before the first is tried again."""
PAUSE_S = 0.2
RETRY_AFTER_S_MAX = 2.0
"""A provider that asks for more patience than this is not waited for."""
BODY_BYTES_MAX = 32 * 1024 * 1024
WHOLE_BYTES_MAX = 512 * 1024
"""A larger request is written in pieces, so that it does not hold up the others."""
ERROR_BYTES_MAX = 64 * 1024
READ_BUFFER_BYTES = 16 * 1024
"""Of one stream; twice this is read ahead of a slow client at most."""


class Answering(Struct, kw_only=True):
    """A provider that has begun to answer with a status of the 200s."""

    response: ClientResponse
    deployment: Deployment
    media_type: str
    """As the provider wrote it."""

    @property
    def streaming(self) -> bool:
        """It answers with server-sent events."""
        return self.media_type.lower().startswith("text/event-stream")

    def close(self) -> None:
        """Ends the connection at once, so that the provider stops too; harmless behind the answer's end."""
        if self.response.content.at_eof():
            self.response.release()
        else:
            self.response.close()

    async def some(self) -> bytes:
        """What has arrived of a stream, as soon as something has; empty at its end. `ApiError` as in `read`."""
        with _told_as_errors():
            return await self.response.content.readany()

    async def read(self) -> bytes:
        """The whole body. `ApiError` when it breaks off, takes too long or is too large."""
        with _told_as_errors():
            size = self.response.content_length
            encoded = "Content-Encoding" in self.response.headers  # then the size is not that of what is read
            if size is not None and size <= BODY_BYTES_MAX and not encoded:
                return await self.response.read()
            return await _read_bounded(self.response)


async def _read_bounded(response: ClientResponse) -> bytes:
    parts, size = [], 0
    async for part in response.content.iter_any():
        parts.append(part)
        size += len(part)
        if size > BODY_BYTES_MAX:
            raise ApiError("upstream_error", "The provider's answer is too large.")
    return b"".join(parts)


class _told_as_errors:  # noqa: N801  # reads as the statement that it is
    """Turns what aiohttp raises into an `ApiError`, with nothing of the address in it."""

    def __enter__(self) -> None:
        return

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        match error:
            case aiohttp.ClientConnectorError() | aiohttp.ConnectionTimeoutError():
                raise ApiError("upstream_unavailable", headers={"Retry-After": "1"}) from error
            case TimeoutError():
                raise ApiError("upstream_timeout") from error
            case aiohttp.ClientError() | OSError():
                raise ApiError("upstream_error", "The connection to the provider broke off.") from error


async def open_upstream(
    http: ClientSession, model: LlmModel, request: ChatRequest, *, max_tokens: int | None, request_id: str
) -> Answering:
    """Calls the model's deployments until one begins to answer; `ApiError` of the last failure.

    Retried are connections that fail, 5xx and 429, as long as no byte of an answer was there and time is left.
    """
    until = time.monotonic() + model.timeout_s
    failure: ApiError | None = None
    for number, deployment in enumerate(_attempts(model)):
        if failure is not None and not await _pause(number, len(model.deployments), failure, until):
            break
        try:
            return await _call(http, deployment, request, max_tokens=max_tokens, request_id=request_id, until=until)
        except ApiError as error:
            failure = error
            if not retryable(error):
                break
    raise failure or ApiError("upstream_unavailable")


def _attempts(model: LlmModel) -> Iterator[Deployment]:
    count = min(max(len(model.deployments) + 1, ATTEMPTS_MIN), ATTEMPTS_MAX)
    return islice(cycle(model.deployments), count)


async def _pause(number: int, deployments: int, failure: ApiError, until: float) -> bool:
    """Waits before the same deployment is asked again; False when there is no time for that."""
    if number < deployments:
        return True
    wanted = retry_after_s(failure)
    if failure.code == "upstream_timeout":
        return False
    if wanted is not None and wanted > RETRY_AFTER_S_MAX:
        return False
    pause = max(wanted or 0.0, PAUSE_S * (0.5 + random.random()))  # noqa: S311  # spreads retries, guards nothing
    if time.monotonic() + pause >= until:
        return False
    await asyncio.sleep(pause)
    return True


async def _call(
    http: ClientSession,
    deployment: Deployment,
    request: ChatRequest,
    *,
    max_tokens: int | None,
    request_id: str,
    until: float,
) -> Answering:
    left = until - time.monotonic()
    with _told_as_errors():
        response = await http.post(
            _url(deployment.base_url),
            data=_data(request.upstream_body(deployment.upstream_model, max_tokens, deployment.standard_tier)),
            headers=_headers(deployment, request, request_id),
            timeout=_timeout(deployment, deployment.timeout_s if left > deployment.timeout_s - 1 else max(left, 0.001)),
            allow_redirects=False,
            read_bufsize=READ_BUFFER_BYTES,
        )
    if response.status == 200:  # noqa: PLR2004  # OpenAI's API answers a completion with nothing else
        return Answering(response=response, deployment=deployment, media_type=_media_type(response))
    try:
        with _told_as_errors():
            body = await response.content.read(ERROR_BYTES_MAX)
        raise refused(response.status, response.headers, body, deployment)
    finally:
        response.close()


def _media_type(response: ClientResponse) -> str:
    given = response.headers.get("Content-Type", "application/json")
    return given.encode("ascii", "ignore").decode()


@lru_cache(maxsize=256)
def _timeout(deployment: Deployment, total_s: float) -> ClientTimeout:
    """Silence is bounded as the first byte is; the hold outlives the second that `total_s` may be rounded by."""
    return ClientTimeout(
        total=total_s, sock_connect=deployment.connect_timeout_s, sock_read=deployment.first_byte_timeout_s
    )


@cache
def _url(base_url: str) -> URL:
    return URL(f"{base_url}/chat/completions")


def _data(body: bytes) -> bytes | io.BytesIO:
    return body if len(body) <= WHOLE_BYTES_MAX else io.BytesIO(body)


def _headers(deployment: Deployment, request: ChatRequest, request_id: str) -> dict[str, str]:
    headers = {
        "Content-Type": "application/json",
        "Accept": "text/event-stream" if request.stream else "application/json",
        "Accept-Encoding": "identity",  # the bytes that we pass on must be those that we read
        "X-Request-Id": request_id,
    }
    if deployment.api_key is not None:
        headers["Authorization"] = f"Bearer {deployment.api_key}"
    return headers
