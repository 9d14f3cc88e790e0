"""The bounds of a connection: sizes and times of heads and bodies, readers that stop."""

import asyncio
import re
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import pytest_asyncio
from starlette.responses import Response, StreamingResponse

from api import request_body
from api.app import create_app
from api.call import Call
from api.http_protocol import BoundedHttp
from api.route import PUBLIC, Route
from api.server import listening_socket
from tests.api.running import application
from tests.api.serving import RawClient, connected, raw_request, served
from tests.api.test_endpoint import Seen, Thing, seen

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def flood(_call: Call[None, None]) -> Response:
    """More than any buffer holds."""
    return Response(b"x" * 50_000_000)


async def drip(_call: Call[None, None]) -> StreamingResponse:
    """A stream that goes on for a third of a second."""

    async def parts() -> AsyncIterator[bytes]:
        for number in range(10):
            yield b"%d" % number
            await asyncio.sleep(0.03)

    return StreamingResponse(parts())


class Slow:
    """An answer whose body comes when it is told to."""

    def __init__(self) -> None:
        self.begun, self.go_on = asyncio.Event(), asyncio.Event()

    async def __call__(self, _scope: Any, _receive: Any, send: Any) -> None:
        """See ASGI."""
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"4")]})
        self.begun.set()
        await self.go_on.wait()
        await send({"type": "http.response.body", "body": b"body"})


def _open(path: str, handler: Any) -> Route:
    return Route(
        method="GET",
        path=path,
        handler=handler,
        summary="s",
        tag="t",
        access=PUBLIC,
        answers={200: "text/plain"},
        raw=True,
    )


ROUTES = (
    _open("/flood", flood),
    _open("/drip", drip),
    Route(
        method="POST",
        path="/things",
        handler=seen,
        summary="s",
        tag="t",
        access=PUBLIC,
        body=Thing,
        answers={200: Seen},
    ),
    Route(method="GET", path="/health", handler=seen, summary="s", tag="t", access=PUBLIC, answers={200: Seen}),
)
HEAD = b"POST /things HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 12\r\n\r\n"
BODY = b'{"name":"a"}'


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def url() -> AsyncIterator[str]:
    """The server of production over two routes."""
    async with application() as running, served(create_app(running.services, ROUTES)) as address:
        yield address


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """Short times, for tests of what happens when they are over."""
    monkeypatch.setattr(BoundedHttp, "headers_s", 0.2)
    monkeypatch.setattr(request_body, "IDLE_S", 0.2)
    monkeypatch.setattr(request_body, "BODY_S", 0.6)


async def test_431_for_many_headers(url: str) -> None:
    """Headers that are too large together are refused in the one error shape."""
    headers = b"".join(b"x-%d: %b\r\n" % (n, b"a" * 1_000) for n in range(40))
    answer = await raw_request(url, b"GET /health HTTP/1.1\r\nhost: x\r\n" + headers + b"\r\n")
    assert (answer.status, answer.error["code"]) == (431, "headers_too_large")


async def test_431_for_a_header_without_end(url: str) -> None:
    """A header that never ends is cut off; it cannot fill the memory."""
    async with connected(url) as client:
        await client.send(b"GET /health HTTP/1.1\r\nx: ")
        for _ in range(20):
            await client.send(b"a" * 10_000)
        answer = await client.answer()
        assert (answer.status, answer.error["code"]) == (431, "headers_too_large")


async def test_431_for_a_long_address(url: str) -> None:
    """The request line counts as well."""
    answer = await raw_request(url, b"GET /health?" + b"a" * 40_000 + b" HTTP/1.1\r\nhost: x\r\n\r\n")
    assert answer.status == 431


@pytest.mark.parametrize(
    "data",
    [
        b"nonsense\r\n\r\n",
        b"GET /health HTTP/1.1\r\nbad header\r\n\r\n",
        b"GET /h\xc3\xa4lth HTTP/1.1\r\nhost: x\r\n\r\n",
        b"POST /things HTTP/1.1\r\nhost: x\r\ncontent-length: x\r\n\r\n",
        b"POST /things HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\ntransfer-encoding: chunked\r\n\r\n",
        b"POST /things HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\n",
        b"CONNECT x:1 HTTP/1.1\r\nhost: x\r\n\r\n",
        b"GET /health HTTP/1.1\r\n\r\n",
        b"GET /health HTTP/1.1\r\nhost: x\r\nHost: x\r\n\r\n",
        b"GET /health HTTP/1.0\r\nhost: x\r\nhost: y\r\n\r\n",
    ],
)
async def test_400_for_what_is_no_http(url: str, data: bytes) -> None:
    """Bytes that are no request are refused in the one error shape."""
    answer = await raw_request(url, data)
    assert (answer.status, answer.error["code"]) == (400, "invalid_http")


async def test_a_large_body_behind_small_headers_is_no_matter(url: str) -> None:
    """Only the head counts as head, however the bytes arrive."""
    async with connected(url) as client:
        for byte in HEAD[:-1]:
            await client.send(bytes([byte]))
        await client.send(HEAD[-1:] + BODY)
        assert (await client.answer()).status == 200


async def test_connections_serve_many_requests(url: str) -> None:
    """A connection is kept, also after an error, and pipelined requests are answered in order."""
    async with connected(url) as client:
        await client.send(HEAD + BODY + HEAD + b"{" * 12 + HEAD + BODY)
        assert [(await client.answer()).status for _ in range(3)] == [200, 400, 200]


async def test_an_answer_leaves_in_one_write() -> None:
    """The head waits for the body: nothing of an answer is on the socket before its body has begun."""
    slow, loop = Slow(), asyncio.get_running_loop()

    async def answer(_call: Call[None, None]) -> Slow:
        return slow

    async with application() as running, served(create_app(running.services, [_open("/slow", answer)])) as address:
        with socket.socket() as client:
            client.setblocking(False)
            await loop.sock_connect(client, ("127.0.0.1", int(address.rpartition(":")[2])))
            await loop.sock_sendall(client, b"GET /slow HTTP/1.1\r\nhost: x\r\n\r\n")
            async with asyncio.timeout(10):
                await slow.begun.wait()
                with pytest.raises(BlockingIOError):
                    client.recv(1)
                slow.go_on.set()
                assert (await loop.sock_recv(client, 65_536)).endswith(b"\r\n\r\nbody")


@asynccontextmanager
async def busy(count: int = 1) -> AsyncIterator[tuple[RawClient, Slow]]:
    """A connection whose requests are being answered, slowly, one behind the other."""
    slow = Slow()

    async def answer(_call: Call[None, None]) -> Slow:
        return slow

    get = b"GET /slow HTTP/1.1\r\nhost: x\r\n\r\n"
    routes = (_open("/slow", answer), *ROUTES)
    async with application() as running, served(create_app(running.services, routes)) as url, connected(url) as client:
        await client.send(get * count)
        async with asyncio.timeout(10):
            await slow.begun.wait()
        yield client, slow


CHUNKED = HEAD.replace(b"content-length: 12", b"transfer-encoding: chunked")


@pytest.mark.parametrize("count", [1, 3])
@pytest.mark.parametrize(
    ("bad", "status"),
    [
        (b"nonsense\r\n\r\n", 400),
        (b"GET /health HTTP/1.1\r\nx: " + b"a" * 40_000 + b"\r\n\r\n", 431),
        (HEAD + BODY + b"nonsense\r\n\r\n", 400),
        (CHUNKED + b"no length\r\n", 400),
    ],
)
async def test_what_is_refused_behind_a_good_request_waits_for_its_answer(bad: bytes, status: int, count: int) -> None:
    """Answers come in the order of the requests, and nothing that follows a refusal is heard."""
    async with busy(count) as (client, slow):
        await client.send(bad)
        await client.send(b"more nonsense")
        heard = asyncio.create_task(client.some())
        for _ in range(50):
            await asyncio.sleep(0)
        assert not heard.done()
        slow.go_on.set()
        answers = await heard + await client.closed()
        good = [200] * (count + bad.startswith(HEAD))
        assert [int(line) for line in re.findall(rb"HTTP/1.1 (\d+)", answers)] == [*good, status]
        assert answers.endswith(b"}")


async def test_what_is_refused_behind_a_stream_does_not_cut_it(url: str) -> None:
    """The stream goes on to its end; then the refusal is told and the connection closed."""
    async with connected(url) as client:
        await client.send(b"GET /drip HTTP/1.1\r\nhost: x\r\n\r\n")
        first = await client.some()
        await client.send(b"nonsense\r\n\r\n")
        stream, end, refusal = (first + await client.closed()).partition(b"0\r\n\r\n")
        assert stream.endswith(b"9\r\n")
        assert end
        assert refusal.startswith(b"HTTP/1.1 400")


@pytest.mark.usefixtures("hasty")
async def test_a_head_that_stops_behind_a_good_request_does_not_cut_its_answer() -> None:
    """Half a head in one piece with a request, whose answer takes longer than a head may."""
    async with busy() as (client, slow):
        await client.send(HEAD + BODY + b"GET /health HTT")
        refused = asyncio.Event()
        asyncio.get_running_loop().call_later(0.4, refused.set)
        await refused.wait()
        slow.go_on.set()
        assert [(await client.answer()).status for _ in range(3)] == [200, 200, 408]
        assert await client.closed() == b""


async def test_400_for_a_body_that_is_no_http(url: str) -> None:
    """A body whose chunks have no lengths is refused at once: it has no end to wait for."""
    answer = await raw_request(url, CHUNKED + b"no length\r\n")
    assert (answer.status, answer.error["code"]) == (400, "invalid_http")


async def test_an_answer_without_a_body_leaves_too(url: str) -> None:
    """A HEAD, which has no body to wait for, is answered at once, and so is what comes behind it."""
    get = b"GET /health HTTP/1.1\r\nhost: x\r\n\r\n"
    async with connected(url) as client:
        await client.send(get.replace(b"GET", b"HEAD"))
        head = await client.some()
        assert head.startswith(b"HTTP/1.1 200")
        assert head.endswith(b"\r\n\r\n")
        await client.send(get.replace(b"GET", b"OPTIONS") + get)
        assert [(await client.answer()).status for _ in range(2)] == [204, 200]


@pytest.mark.usefixtures("hasty")
async def test_408_for_a_head_that_stops(url: str) -> None:
    """A client that sends half a head is answered and let go."""
    async with connected(url) as client:
        await client.send(b"GET /health HTTP/1.1\r\nhost:")
        answer = await client.answer()
        assert (answer.status, answer.error["code"]) == (408, "headers_timeout")
        assert await client.closed() == b""


@pytest.mark.usefixtures("hasty")
async def test_a_silent_connection_is_closed(url: str) -> None:
    """A client that says nothing is let go."""
    async with connected(url) as client:
        assert await client.closed() == b""


@pytest.mark.usefixtures("hasty")
async def test_408_for_a_body_that_stops(url: str) -> None:
    """A body that stops is answered and the connection closed."""
    async with connected(url) as client:
        await client.send(HEAD + BODY[:5])
        answer = await client.answer()
        assert (answer.status, answer.error["code"]) == (408, "body_timeout")
        assert await client.closed() == b""


@pytest.mark.usefixtures("hasty")
async def test_408_for_a_body_that_drips(url: str) -> None:
    """A body that arrives byte by byte has a bound for the whole of it."""
    async with connected(url) as client:
        await client.send(HEAD.replace(b"12", b"500"))
        dripping = asyncio.create_task(_drip(client.send))
        try:
            answer = await client.answer()
        finally:
            dripping.cancel()
        assert (answer.status, answer.error["code"]) == (408, "body_timeout")


async def _drip(send: object) -> None:
    for _ in range(200):
        await send(b"a")  # type: ignore[operator]  # a bound method
        await asyncio.sleep(0.02)


async def test_a_client_that_leaves_in_its_body_is_no_error(url: str) -> None:
    """A connection that ends in mid-body leaves nothing behind; the server goes on."""
    async with connected(url) as client:
        await client.send(HEAD + BODY[:5])
    assert (await raw_request(url, HEAD + BODY)).status == 200


async def test_waits_for_permission_to_continue(url: str) -> None:
    """`Expect: 100-continue` is answered before the body is sent."""
    async with connected(url) as client:
        await client.send(HEAD.replace(b"host: x\r\n", b"host: x\r\nexpect: 100-continue\r\n"))
        assert (await client.answer()).status == 100
        await client.send(BODY)
        assert (await client.answer()).status == 200


async def test_connections_are_bounded(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """One connection too many is told so and closed; the others go on."""
    monkeypatch.setattr(BoundedHttp, "connections_max", 1)
    async with connected(url) as first:
        await first.send(b"GET /health HTTP/1.1\r\nhost: x\r\n\r\n")
        assert (await first.answer()).status == 200
        async with connected(url) as second:
            answer = await second.answer()
            assert (answer.status, answer.error["code"]) == (503, "overloaded")
        await first.send(b"GET /health HTTP/1.1\r\nhost: x\r\n\r\n")
        assert (await first.answer()).status == 200


async def test_a_reader_that_stops_is_let_go(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A client that asks for much and reads nothing cannot keep it in our memory for ever."""
    monkeypatch.setattr(BoundedHttp, "write_s", 0.2)
    async with connected(url) as client:
        await client.send(b"GET /flood HTTP/1.1\r\nhost: x\r\n\r\n")
        async with asyncio.timeout(10):
            while not client.broken:
                await client.send(b" ")
                await asyncio.sleep(0.01)


async def test_an_open_stream_may_end_when_the_server_stops() -> None:
    """A stream that is under way when the process is told to stop is delivered to its end."""
    async with application() as running:
        serving = served(create_app(running.services, ROUTES))
        address = await serving.__aenter__()
        async with connected(address) as client:
            await client.send(b"GET /drip HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
            first = await client.some()
            stopping = asyncio.create_task(serving.__aexit__(None, None, None))
            rest = await client.closed()
            assert b"9" in (first + rest).partition(b"\r\n\r\n")[2]
            await stopping


async def test_a_taken_port_is_an_error() -> None:
    """A port that somebody has is refused at once."""
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(OSError, match="in use"):
        listening_socket("127.0.0.1", taken.getsockname()[1])


async def test_a_port_is_taken_from_the_moment_it_is_bound() -> None:
    """Two that start in the same moment: the second is refused then, not when it would begin to serve."""
    with listening_socket("127.0.0.1", 0) as taken, pytest.raises(OSError, match="in use"):
        listening_socket("127.0.0.1", taken.getsockname()[1]).close()


async def test_an_answer_is_not_held_back() -> None:
    """Connections have Nagle's algorithm off in asyncio's own loop too: no body waits until its headers are read."""
    loop = asyncio.get_running_loop()
    accepted: asyncio.Future[socket.socket] = loop.create_future()

    class Accepting(asyncio.Protocol):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            accepted.set_result(transport.get_extra_info("socket"))

    listener = listening_socket("127.0.0.1", 0)
    async with await loop.create_server(Accepting, sock=listener):
        _, writer = await asyncio.open_connection(*listener.getsockname())
        connection = await asyncio.wait_for(accepted, 10)
        assert connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        writer.close()
        await writer.wait_closed()
