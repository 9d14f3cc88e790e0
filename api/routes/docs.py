"""The OpenAPI document, and a page to browse it."""

from functools import cache
from pathlib import Path

import msgspec
from starlette.responses import Response

from api.call import Call
from api.openapi import build_openapi
from api.route import PUBLIC, Route

PAGE = Path(__file__).parent.parent / "docs.html"
_POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; connect-src 'self'; base-uri 'none'"
)


async def show_openapi(call: Call[None, None]) -> Response:
    """The document of this release; the same bytes each time."""
    process = call.process
    if process.openapi is None:
        process.openapi = msgspec.json.encode(build_openapi(process.routes))
    return Response(process.openapi, media_type="application/json")


async def show_page(_call: Call[None, None]) -> Response:
    """One page without anything from elsewhere."""
    return Response(_page(), media_type="text/html", headers={"Content-Security-Policy": _POLICY})


@cache
def _page() -> bytes:
    return PAGE.read_bytes()


ROUTES = (
    Route(
        method="GET",
        path="/openapi.json",
        handler=show_openapi,
        summary="This document",
        tag="operations",
        access=PUBLIC,
        answers={200: "application/json"},
        raw=True,
        early=True,
        hidden=True,
    ),
    Route(
        method="GET",
        path="/docs",
        handler=show_page,
        summary="A page to browse the API",
        tag="operations",
        access=PUBLIC,
        answers={200: "text/html"},
        raw=True,
        early=True,
        hidden=True,
    ),
)
