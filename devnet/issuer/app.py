"""The routes of the identity provider: discovery, keys, tokens, rotation, and how it misbehaves."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any, TypeVar

import msgspec
from msgspec import Struct
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response, StreamingResponse
from starlette.routing import Route

from devnet.issuer.issuer import DevIssuer, Misbehaviour, TokenRequest

BODY_SIZE_MAX = 64 * 1024
DRIP_S = 0.05
T = TypeVar("T", bound=Struct)


class Rotation(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Whether the key before the new one is still published."""

    keep: bool = True


class Control(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How the keys are published from now on."""

    misbehaviour: Misbehaviour


def create_app(issuer: DevIssuer) -> Starlette:
    """The issuer as an ASGI app; `issuer.url` must be set before the first request."""
    routes = _Routes(issuer)
    return Starlette(
        routes=[
            Route("/.well-known/openid-configuration", routes.discover),
            Route("/jwks.json", routes.keys),
            Route("/moved.json", routes.moved),
            Route("/token", routes.token, methods=["POST"]),
            Route("/rotate", routes.rotate, methods=["POST"]),
            Route("/_control", routes.show),
            Route("/_control", routes.control, methods=["POST"]),
        ]
    )


class _Routes:
    def __init__(self, issuer: DevIssuer) -> None:
        self._issuer = issuer

    async def discover(self, _request: Request) -> Response:
        """OpenID Connect Discovery 1.0, 3, as far as there is something to say."""
        issuer = self._issuer
        return _json(
            {
                "issuer": issuer.url,
                "jwks_uri": issuer.jwks_url,
                "token_endpoint": f"{issuer.url}/token",
                "id_token_signing_alg_values_supported": [issuer.algorithm],
                "subject_types_supported": ["public"],
                "response_types_supported": ["id_token"],
            }
        )

    async def keys(self, request: Request) -> Response:
        """The key set, or what was asked for instead of it."""
        issuer = self._issuer
        issuer.fetches += 1
        match issuer.misbehaviour:
            case "hang":
                await _gone(request)
                return Response(status_code=503)
            case "drip":
                return StreamingResponse(_dripping(msgspec.json.encode(issuer.keys.key_set())))
            case "endless":
                return StreamingResponse(_endless())
            case "garbage":
                return Response(b"<html>\x00\xff", media_type="application/json")
            case "missing":
                return Response(status_code=404)
            case "redirect":
                return RedirectResponse(f"{issuer.url}/moved.json")
            case "empty":
                return _json({"keys": []})
            case "none":
                return _json(issuer.keys.key_set())

    async def moved(self, _request: Request) -> Response:
        """Where `redirect` leads: the real keys, for whoever follows."""
        return _json(self._issuer.keys.key_set())

    async def token(self, request: Request) -> Response:
        """`{token, expires_in_s}` for a `TokenRequest`."""
        wanted = await _body(request, TokenRequest)
        return _json({"token": self._issuer.issue(wanted), "expires_in_s": wanted.expires_in_s})

    async def rotate(self, request: Request) -> Response:
        """A new key signs from now on; answers its name."""
        rotation = await _body(request, Rotation)
        key = await asyncio.to_thread(self._issuer.keys.rotate, keep=rotation.keep)
        return _json({"kid": key.kid, "published": [each.kid for each in self._issuer.keys.published]})

    async def show(self, _request: Request) -> Response:
        """How often the keys were asked for, and how they are published."""
        return _json({"fetches": self._issuer.fetches, "misbehaviour": self._issuer.misbehaviour})

    async def control(self, request: Request) -> Response:
        """Changes how the keys are published."""
        self._issuer.misbehaviour = (await _body(request, Control)).misbehaviour
        return await self.show(request)


async def _body(request: Request, shape: type[T]) -> T:
    """The body, an empty one being an empty object. 400 with what is wrong."""
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > BODY_SIZE_MAX:
            raise HTTPException(413)
    try:
        return msgspec.json.decode(body or b"{}", type=shape)
    except msgspec.DecodeError as error:
        raise HTTPException(400, str(error)) from error


async def _gone(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


async def _dripping(body: bytes) -> AsyncIterator[bytes]:
    for number in range(len(body)):
        yield body[number : number + 1]
        await asyncio.sleep(DRIP_S)


async def _endless() -> AsyncIterator[bytes]:
    yield b'{"keys": [] '
    while True:
        yield b" " * 65_536
        await asyncio.sleep(0)


def _json(value: Any) -> Response:
    return Response(msgspec.json.encode(value), media_type="application/json")
