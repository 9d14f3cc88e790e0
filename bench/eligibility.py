"""What a question about eligibility costs the API: the whole request in this process, from ASGI to the last byte.

Read models are in memory, so that no database's time is in it: what is measured is the API's own.
"""

import statistics
import time
from collections.abc import MutableMapping, Sequence
from contextlib import AsyncExitStack
from typing import Any

import msgspec

from api.app import create_app
from bench.auth import ADDRESS, WARM_UP, started_devnet
from bench.benchmark import Bench, Benchmark
from bench.row import Row, held
from devnet.seed import seed

TARGET_US = 100.0
BATCH = 500
QUESTIONS: dict[str, dict[str, object]] = {
    "allowed": {"model": "fs-basic", "tokens": 1_000},
    "refused": {"model": "fs-basic", "tokens": 1_000_000_000},
    "feature": {"feature": "advanced_models"},
}


async def measure(bench: Bench) -> Sequence[Row]:
    """Questions by turns, to the application of a whole devnet, with credentials that were seen lately."""
    took: dict[str, list[float]] = {name: [] for name in QUESTIONS}
    async with AsyncExitStack() as stack:
        devnet = await started_devnet(stack)
        seeded = await seed(devnet.url, devnet.grant_role)
        asking = {name: _Asking(create_app(devnet.services), seeded.api_key, QUESTIONS[name]) for name in QUESTIONS}
        end = time.perf_counter() + bench.seconds
        while time.perf_counter() < end:
            for name, each in asking.items():
                took[name].append(await each.batch_us())
        for name, each in asking.items():
            assert each.answer["allowed"] == (name != "refused"), each.answer
    return [
        held(f"eligibility {name}", statistics.median(each[WARM_UP:]), "µs", target=TARGET_US, better="low")
        for name, each in took.items()
    ]


class _Asking:
    """One question, asked again and again."""

    def __init__(self, app: Any, api_key: str, question: object) -> None:
        self._app = app
        self._body = msgspec.json.encode(question)
        self._headers = [
            (b"host", b"bench"),
            (b"authorization", f"Bearer {api_key}".encode()),
            (b"content-type", b"application/json"),
            (b"content-length", b"%d" % len(self._body)),
        ]
        self._said = b""

    @property
    def answer(self) -> Any:
        """The last answer's body."""
        return msgspec.json.decode(self._said)

    async def batch_us(self) -> float:
        """Microseconds of CPU of one request, over `BATCH` of them: other programs must not count."""
        began = time.thread_time()
        for _ in range(BATCH):
            await self._app(self._scope(), self._receive, self._send)
        return (time.thread_time() - began) / BATCH * 1e6

    def _scope(self) -> dict[str, Any]:
        return {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.3"},
            "http_version": "1.1",
            "method": "POST",
            "scheme": "http",
            "path": "/billing/eligibility",
            "raw_path": b"/billing/eligibility",
            "query_string": b"",
            "root_path": "",
            "headers": list(self._headers),
            "client": (ADDRESS, 1),
            "server": (ADDRESS, 2),
            "state": {},
        }

    async def _receive(self) -> dict[str, Any]:
        return {"type": "http.request", "body": self._body, "more_body": False}

    async def _send(self, message: MutableMapping[str, Any]) -> None:
        if message["type"] == "http.response.body":
            self._said = message.get("body", b"")


BENCHMARK = Benchmark(
    name="eligibility",
    summary="asking whether a request would be let in: the API's whole time for it, and of a refusal that sells",
    measure=measure,
)
