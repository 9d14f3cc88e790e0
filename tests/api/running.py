"""The whole application in one process, on a real socket: API, worker, log and stores in memory."""

import asyncio
import itertools
import secrets
import uuid
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import aiohttp
import uvicorn
from msgspec import Struct
from multidict import CIMultiDict

from api.app import create_app
from api.billing.settings import BillingSettings
from api.identity.issuers import NO_ISSUERS, Issuers
from api.identity.passwords import Passwords
from api.llm_models import LlmModels, load_llm_models
from api.parts import Services
from api.plans import Plans, load_plans
from api.server import Server, listening_socket
from api.settings import ApiSettings
from api.wiring import running_services
from devnet.log import MemoryLog
from domain.envelope import Actor, Envelope, Header
from domain.instant import Instant
from domain.message import Command
from domain.user import GrantRole
from eventstore import codec
from eventstore.clock import system_clock
from eventstore.memory.store import MemoryStore
from eventstore.records import Outcome
from eventstore.shards import shard_of
from projections.memory import MemoryDocuments
from tests.api.mailbox import SECRET as MAILER_SECRET
from tests.worker.bench import IDLE_S
from worker.assembly import build_worker

SHARDS = 4
PASSWORD = "correct horse battery staple"
_numbers = itertools.count(1)


class Answer(Struct, frozen=True, kw_only=True):
    """An HTTP answer, read whole. `json` is `None` where the body is none."""

    status: int
    json: Any
    headers: dict[str, str]

    @property
    def code(self) -> str:
        """The error's code."""
        code: str = self.json["error"]["code"]
        return code


class Person(Struct, frozen=True, kw_only=True):
    """A registered user."""

    id: str
    email: str
    token: str


class Running:
    """A running application and a client of it."""

    def __init__(
        self, url: str, services: Services, store: MemoryStore, log: MemoryLog, http: aiohttp.ClientSession
    ) -> None:
        self.url = url
        self.services = services
        self.store = store
        self.log = log
        self._http = http

    async def ask(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        token: str | None = None,
        api_key: str | None = None,
        idempotency_key: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """One request. `token` goes as `Authorization: Bearer`, `api_key` as `X-API-Key`."""
        sent = CIMultiDict(headers or {})
        if token is not None:
            sent["Authorization"] = f"Bearer {token}"
        if api_key is not None:
            sent["X-API-Key"] = api_key
        if idempotency_key is not None:
            sent["Idempotency-Key"] = idempotency_key
        async with self._http.request(method, self.url + path, json=body, headers=sent) as response:
            is_json = response.content_type == "application/json"
            return Answer(
                status=response.status,
                json=await response.json() if is_json else None,
                headers={name.lower(): value for name, value in response.headers.items()},
            )

    async def post(self, path: str, body: bytes, headers: Mapping[str, str]) -> Answer:
        """A request whose body goes as it is."""
        return await self.send("POST", path, body, headers)

    async def send(self, method: str, path: str, body: bytes, headers: Mapping[str, str]) -> Answer:
        """The same with any method."""
        async with self._http.request(method, self.url + path, data=body or None, headers=headers) as response:
            is_json = response.content_type == "application/json" and method != "HEAD"
            return Answer(
                status=response.status,
                json=await response.json() if is_json else None,
                headers={name.lower(): value for name, value in response.headers.items()},
            )

    async def register(self, **fields: Any) -> Person:
        """A new user with an address of its own."""
        email = fields.pop("email", f"user{next(_numbers)}@example.com")
        answer = await self.ask("POST", "/auth/register", {"email": email, "password": PASSWORD} | fields)
        assert answer.status == 201, answer
        return Person(id=answer.json["user_id"], email=email, token=answer.json["token"])

    async def admin(self) -> Person:
        """A new user with the role `admin`."""
        person = await self.register()
        await self.command(f"user:{person.id}", GrantRole(role="admin"))
        await self.until(lambda: person.id not in self.services.identities.cache._of)
        return person

    async def key(self, person: Person, **fields: Any) -> dict[str, Any]:
        """A new API key of the person, as the answer shows it."""
        answer = await self.ask("POST", "/api-keys", {"name": "a key"} | fields, token=person.token)
        assert answer.status == 201, answer
        made: dict[str, Any] = answer.json
        return made

    async def command(self, stream: str, command: Command) -> Outcome:
        """Sends a command as an operator would, and waits for its outcome."""
        command_id = str(uuid.uuid4())
        header = Header(
            id=command_id,
            attempt=secrets.token_hex(16),
            stream=stream,
            account=stream.partition(":")[2],
            actor=Actor(kind="system", id="operator"),
            issued_at=system_clock(),
        )
        shard = shard_of(stream, SHARDS)
        await self.log.send(shard, stream.encode(), codec.encode_command(Envelope(header=header, body=command)))
        outcome = await self.services.commands.outcome(shard, command_id, header.attempt, 10.0)
        assert outcome is not None
        assert outcome.status == "applied", outcome
        return outcome

    async def until(self, condition: Callable[[], bool], *, timeout_s: float = 60.0) -> None:
        """Waits for a condition, with a bound."""
        async with asyncio.timeout(timeout_s):
            while not condition():
                await asyncio.sleep(0.002)


@asynccontextmanager
async def application(
    *,
    clock: Callable[[], Instant] = system_clock,
    llm_models: LlmModels | None = None,
    plans: Plans | None = None,
    issuers: Issuers = NO_ISSUERS,
    iterations: int = 10,
    mailer_url: str = "",
    billing: BillingSettings | None = None,
    limits: bool = False,
    anonymous_requests_per_minute: int = 60,
) -> AsyncIterator[Running]:
    """A running application with cheap passwords; `clock` is the API's and the worker's.

    Mails go to `mailer_url`, a `mailbox`, or else are printed. Rate limits are off: a test asks often.
    """
    store, documents, log = MemoryStore(SHARDS, system_clock), MemoryDocuments(), MemoryLog(SHARDS)
    async with running_services(
        mode="devnet",
        settings=replace(
            _settings(mailer_url),
            billing=billing or BillingSettings(),
            limits=limits,
            anonymous_requests_per_minute=anonymous_requests_per_minute,
        ),
        store=store,
        documents=documents,
        bus=log,
        plans=plans or load_plans(),
        llm_models=llm_models or load_llm_models(),
        issuers=issuers,
        clock=clock,
        passwords=Passwords(iterations=iterations),
    ) as services:
        worker = await build_worker(
            store=store,
            documents=documents,
            source=log.source,
            sink=log,
            macs=codec.MacChain({"test": b"m" * 32}),
            idle_s=IDLE_S,
            clock=clock,
            on_outcomes=services.commands.poller.poke,
        )
        working = asyncio.create_task(worker.run())
        try:
            async with _served(services) as url, aiohttp.ClientSession() as http:
                yield Running(url, services, store, log, http)
        finally:
            worker.close()
            await working


def _settings(mailer_url: str) -> ApiSettings:
    return ApiSettings(
        database_url="",
        kafka_bootstrap_servers=(),
        jwt_secrets={"test": b"j" * 32},
        api_key_peppers={"test": b"p" * 32},
        master_keys={"test": b"k" * 32},
        mailer_url=mailer_url,
        mailer_secret={"test": MAILER_SECRET},
    )


@asynccontextmanager
async def _served(services: Services) -> AsyncIterator[str]:
    config = uvicorn.Config(create_app(services), log_config=None, access_log=False, lifespan="off")
    async with Server(config).serving(listening_socket("127.0.0.1", 0)) as url:
        yield url
