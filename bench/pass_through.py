"""The gateway's ceiling: Starlette and aiohttp hand a request to the provider and its answer back, and nothing else.

`python -m bench.pass_through UPSTREAM_URL PORT` serves with what the product serves with: uvicorn, uvloop, httptools.
"""

import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TypedDict

import aiohttp
import uvicorn
from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route


class State(TypedDict):
    """What the application's life holds."""

    http: aiohttp.ClientSession


def application(upstream: str) -> Starlette:
    """One route that passes everything through."""

    async def chat(request: Request) -> Response:
        body = await request.body()
        answer = await request.state.http.post(upstream, data=body, headers={"Content-Type": "application/json"})
        media_type = answer.headers.get("Content-Type")
        if b'"stream":true' not in body:
            return Response(await answer.read(), answer.status, media_type=media_type)
        closing = BackgroundTask(answer.close)
        return StreamingResponse(answer.content.iter_any(), answer.status, media_type=media_type, background=closing)

    @asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[State]:
        connector = aiohttp.TCPConnector(limit=0)
        async with aiohttp.ClientSession(connector=connector) as http:
            yield {"http": http}

    return Starlette(routes=[Route("/v1/chat/completions", chat, methods=["POST"])], lifespan=lifespan)


if __name__ == "__main__":
    uvicorn.run(
        application(f"{sys.argv[1]}/chat/completions"),
        host="127.0.0.1",
        port=int(sys.argv[2]),
        loop="uvloop",
        http="httptools",
        access_log=False,
        log_level="warning",
    )
