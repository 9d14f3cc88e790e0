"""Load from a process of its own: keep-alive connections that ask again as soon as they are answered, or at a rate.

`python -m bench.load` reads a `Plan` as JSON from standard input and writes a `Result` to standard output. It speaks
just enough HTTP/1.1 to tell where an answer ends, so that it takes little from the cores that it shares.
"""

import asyncio
import re
import sys
import time
from collections import Counter, deque
from typing import cast

import msgspec
import uvloop
from msgspec import Struct, field

SERIAL = "@@SERIAL@@"
"""In a request this becomes a number of ten digits that no other request of the run has."""
_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
WARM_UP_S = 1.0


class Plan(Struct, frozen=True, kw_only=True):
    """What to send. `requests` are whole requests, taken by turns."""

    host: str
    port: int
    requests: list[str]
    connections: int
    seconds: float
    warm_up_s: float = WARM_UP_S
    rate: float | None = None
    """Requests a second, evenly spaced; one that has to wait for a free connection is timed from when it was due.
    `None` asks as fast as answers come."""


class Result(Struct, kw_only=True):
    """What came back behind the warm-up. Times in seconds, sorted."""

    seconds: float = 0.0
    answered: int = 0
    bytes: int = 0
    statuses: dict[str, int] = field(default_factory=dict)
    sample: str = ""
    """The beginning of the first answer that was not 2xx."""
    took_s: list[float] = field(default_factory=list)
    first_byte_s: list[float] = field(default_factory=list)
    """Until the first byte of the body."""

    @property
    def rate(self) -> float:
        """Answers a second."""
        return self.answered / self.seconds

    def assert_all_well(self) -> None:
        """A benchmark of refusals would measure nothing."""
        assert self.answered, "nothing was answered"
        assert all(status.startswith("2") for status in self.statuses), f"{self.statuses}: {self.sample}"


def quantile(ordered: list[float], share: float) -> float:
    """The value that `share` of all are not above."""
    return ordered[min(int(len(ordered) * share), len(ordered) - 1)]


class _Run:
    """All connections of a plan, and what they have seen."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.result = Result()
        self.statuses: Counter[str] = Counter()
        self.serial = int(time.time() * 1_000) % 10_000_000 * 1_000
        self.templates = [request.encode() for request in plan.requests]
        self.counting = False
        self.open = True
        self.idle: deque[_Connection] = deque()
        self.due: deque[float] = deque()

    def next_request(self) -> bytes:
        """The next request, with a number of its own."""
        self.serial += 1
        template = self.templates[self.serial % len(self.templates)]
        return template.replace(SERIAL.encode(), b"%010d" % self.serial)

    def free(self, connection: "_Connection") -> None:
        """An answer is complete: the connection asks again, at once or when something is due."""
        if not self.open:
            return
        if self.plan.rate is None:
            connection.ask(time.perf_counter())
        elif self.due:
            connection.ask(self.due.popleft())
        else:
            self.idle.append(connection)

    async def pace(self) -> None:
        """Hands out what is due; what finds no free connection waits, and its wait counts."""
        assert self.plan.rate is not None
        at = time.perf_counter()
        while self.open:
            at += 1 / self.plan.rate
            await asyncio.sleep(max(0.0, at - time.perf_counter()))
            if self.idle:
                # Timed from now, not from `at`: that this timer is up to a millisecond late is nobody else's time.
                self.idle.popleft().ask(time.perf_counter())
            else:
                self.due.append(at)


class _Connection(asyncio.Protocol):
    def __init__(self, run: _Run) -> None:
        self._run = run
        self._transport: asyncio.Transport | None = None
        self._head = b""
        self._left = -1
        """Bytes of the body that are still to come; -1 while the head is not complete, -2 for a chunked body."""
        self._tail = b""
        self._asked = self._first = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is not derived from it

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 (asyncio.Protocol)
        if self._run.open:
            self._run.statuses["0 lost"] += 1

    def ask(self, asked: float) -> None:
        """Sends the next request, timed from `asked`."""
        assert self._transport is not None
        self._asked, self._first, self._head, self._left, self._tail = asked, 0.0, b"", -1, b""
        self._transport.write(self._run.next_request())

    def data_received(self, data: bytes) -> None:
        if self._run.counting:
            self._run.result.bytes += len(data)
        if self._left == -1:
            self._head += data
            end = self._head.find(b"\r\n\r\n")
            if end < 0:
                return
            data, self._head = self._head[end + 4 :], self._head[: end + 2]
            length = _LENGTH.search(self._head)
            self._left = int(length[1]) if length else -2
        if data and not self._first:
            self._first = time.perf_counter()
            if not self._head.startswith(b"HTTP/1.1 2") and not self._run.result.sample:
                self._run.result.sample = (self._head + data[:500]).decode("utf-8", "replace")
        if self._left == -2:
            self._tail = (self._tail + data)[-5:]
            if self._tail == b"0\r\n\r\n":
                self._answered()
            return
        self._left -= len(data)
        if self._left == 0:
            self._answered()

    def _answered(self) -> None:
        run, now = self._run, time.perf_counter()
        if run.counting:
            run.result.answered += 1
            run.statuses[self._head[9:12].decode()] += 1
            run.result.took_s.append(now - self._asked)
            run.result.first_byte_s.append((self._first or now) - self._asked)
        run.free(self)


async def apply(plan: Plan) -> Result:
    """Runs the plan in this process."""
    run = _Run(plan)
    loop = asyncio.get_running_loop()
    made = [
        await loop.create_connection(lambda: _Connection(run), plan.host, plan.port) for _ in range(plan.connections)
    ]
    pacing = asyncio.create_task(run.pace()) if plan.rate is not None else None
    for _, connection in made:
        run.free(connection)
    await asyncio.sleep(plan.warm_up_s)
    run.counting, started = True, time.perf_counter()
    await asyncio.sleep(plan.seconds)
    run.counting = run.open = False
    run.result.seconds = time.perf_counter() - started
    if pacing is not None:
        pacing.cancel()
    for transport, _ in made:
        transport.abort()
    run.result.statuses = dict(run.statuses)
    run.result.took_s.sort()
    run.result.first_byte_s.sort()
    return run.result


async def load(plan: Plan) -> Result:
    """Runs the plan in a process of its own."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "bench.load", stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
    )
    said, _ = await process.communicate(msgspec.json.encode(plan))
    assert process.returncode == 0, "the load generator failed"
    return msgspec.json.decode(said, type=Result)


def request(method: str, path: str, *, host: str, token: str, body: object = None) -> str:
    """A whole HTTP/1.1 request, with a JSON body if any. The number that replaces `SERIAL` is as long as that."""
    content = b"" if body is None else msgspec.json.encode(body)
    assert len(SERIAL) == 10, "else the length below would be wrong"
    lines = [
        f"{method} {path} HTTP/1.1",
        f"Host: {host}",
        f"Authorization: Bearer {token}",
        "Content-Type: application/json",
        f"Content-Length: {len(content)}",
    ]
    return "\r\n".join([*lines, "", content.decode()])


if __name__ == "__main__":
    sys.stdout.buffer.write(
        msgspec.json.encode(uvloop.run(apply(msgspec.json.decode(sys.stdin.buffer.read(), type=Plan))))
    )
