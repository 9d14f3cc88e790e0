"""The production topology for tests: two APIs, two workers and a provider as processes, and clients of them."""

import base64
import itertools
import secrets
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
from msgspec import Struct

from api.llm_models import SHIPPED
from devnet.models_file import SHIPPED_BASE_URL
from devnet.scratch import free_port
from devnet.seed import wait_until_ready
from tests.crash.deployment import Deployment, Process

SHORT_TIMEOUT_S = 4
HOLD_MARGIN_S = 10
SHORT_MODEL = f"""
[models.short]
provider = "openai_compatible"
base_url = "{{base_url}}"
upstream_model = "fs-basic"
context = 32768
input = "1.000000"
cached_input = "0.100000"
output = "4.000000"
timeout_s = {SHORT_TIMEOUT_S}
"""
MODEL = "fs-basic"
MARK = f"mark{secrets.token_hex(5)}"
"""Part of everything personal that our clients send, so that one search finds it all."""
PASSWORD = f"{MARK}-horse-battery"
ADDRESS = "203.0.113.77"
"""What our clients say they come from (RFC 5737): the APIs believe a proxy on loopback."""
USER_AGENT = f"{MARK}/7.31"
_numbers = itertools.count(1)


class Answer(Struct, frozen=True, kw_only=True):
    """An HTTP answer, read whole."""

    status: int
    body: bytes
    json: Any
    headers: Mapping[str, str]
    """Whatever their case."""


class Person(Struct, frozen=True, kw_only=True):
    """A registered user with an API key."""

    id: str
    token: str
    key: str


class Shop:
    """The processes and their addresses. `secrets` collects tokens and keys, which must be found nowhere on disk."""

    def __init__(self, deployment: Deployment) -> None:
        self.deployment = deployment
        self.provider_url = f"http://127.0.0.1:{free_port()}"
        self.urls: list[str] = []
        self.admin_token = ""
        self.secrets: set[str] = set()
        text = SHIPPED.read_text("utf-8").replace(SHIPPED_BASE_URL, f"{self.provider_url}/v1")
        models = deployment.folder / "models.toml"
        models.write_text(text + SHORT_MODEL.format(base_url=f"{self.provider_url}/v1"), "utf-8")
        self.mailer_port, self.mailer_secret = free_port(), secrets.token_bytes(32)
        """Where the APIs post mails; a test that wants them listens there."""
        given = {name: secrets.token_bytes(32) for name in ("JWT_SECRETS", "API_KEY_PEPPERS", "MASTER_KEYS")}
        given["MAILER_SECRET"] = self.mailer_secret
        deployment.extra = {
            "FORMSTATE_MODELS_FILE": str(models),
            "FORMSTATE_LIMITS": "off",
            "FORMSTATE_HOLD_MARGIN_S": str(HOLD_MARGIN_S),
            "FORMSTATE_MAILER_URL": f"http://127.0.0.1:{self.mailer_port}/mail",
        } | {f"FORMSTATE_{name}": f"crash:{base64.b64encode(secret).decode()}" for name, secret in given.items()}

    async def start(self) -> None:
        """Starts everything, and makes an admin."""
        self.deployment.start("provider", "devnet.provider", "--port", self.provider_url.rpartition(":")[2])
        for _ in range(2):
            self.deployment.start_worker()
        starting = [self.start_api() for _ in range(2)]
        for url, _ in starting:
            await wait_until_ready(url)
            self.urls.append(url)
        async with clients(self) as caller:
            admin = await caller.register()
            self.deployment.operate("grant-role", admin["user_id"], "admin")
            login = {"email": admin["email"], "password": PASSWORD}
            answer = await caller.ask("POST", "/auth/login", login)
            self.admin_token = answer.json["token"]
            self.secrets.add(self.admin_token)

    def start_api(self) -> tuple[str, Process]:
        """Starts one more API and does not wait for it; it is none of `urls`."""
        port = free_port()
        process = self.deployment.start("api", "api", FORMSTATE_PORT=str(port))
        return f"http://127.0.0.1:{port}", process


class Caller:
    """Calls to the shop's APIs. Tokens and keys that are made on the way are noted in `Shop.secrets`."""

    def __init__(self, shop: Shop, http: aiohttp.ClientSession) -> None:
        self.shop = shop
        self.http = http

    async def ask(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        url: str | None = None,
        token: str | None = None,
        idempotency_key: str | None = None,
        request_id: str | None = None,
        organization: str | None = None,
    ) -> Answer:
        """One request to the first API or to `url`; `token` is a login token or an API key."""
        given = {"Authorization": token and f"Bearer {token}", "Idempotency-Key": idempotency_key}
        given |= {"X-Request-Id": request_id, "X-Organization": organization}
        headers = {name: value for name, value in given.items() if value}
        async with self.http.request(method, (url or self.shop.urls[0]) + path, json=body, headers=headers) as response:
            data = await response.read()
            is_json = response.content_type == "application/json"
            found = await response.json() if is_json else None
            return Answer(status=response.status, body=data, json=found, headers=response.headers)

    def person(self) -> dict[str, str]:
        """A registration that nobody has sent yet."""
        number = next(_numbers)
        return {"email": f"{MARK}.{number}@example.com", "password": PASSWORD, "display_name": f"Ada {MARK}"}

    async def register(self) -> dict[str, Any]:
        """A new user: the answer and the registration, in one."""
        sent = self.person()
        answer = await self.ask("POST", "/auth/register", sent)
        assert answer.status == 201, answer
        self.shop.secrets.add(answer.json["token"])
        return {**sent, **answer.json}

    async def customer(self, credits: str) -> Person:
        """A new user with credits and an API key."""
        user = await self.register()
        grant = {"account_id": user["account_id"], "amount": credits, "reference": f"grant-{user['user_id']}"}
        answer = await self.ask("POST", "/billing/credits/add", grant, token=self.shop.admin_token)
        assert answer.status == 200, answer
        key = await self.ask("POST", "/api-keys", {"name": "crash"}, token=user["token"])
        assert key.status == 201, key
        self.shop.secrets.add(key.json["key"])
        return Person(id=user["user_id"], token=user["token"], key=key.json["key"])

    async def chat(self, person: Person, text: str, *, url: str | None = None, **more: Any) -> Answer:
        """A chat completion, streamed or not, read to its end. `more` are the call's options or fields of the body."""
        options = {name: more.pop(name) for name in ("idempotency_key", "request_id") if name in more}
        body = {"model": MODEL, "messages": [{"role": "user", "content": text}], "max_tokens": 64} | more
        return await self.ask("POST", "/v1/chat/completions", body, url=url, token=person.key, **options)

    async def listed(self, person: Person, path: str) -> list[dict[str, Any]]:
        """All entries of a list, page by page."""
        found: list[dict[str, Any]] = []
        cursor = ""
        while True:
            answer = await self.ask("GET", f"{path}?limit=100{cursor}", token=person.token)
            assert answer.status == 200, answer
            found += answer.json["data"]
            if not answer.json["has_more"]:
                return found
            cursor = f"&cursor={answer.json['next_cursor']}"

    async def balance(self, person: Person) -> dict[str, Any]:
        """`GET /billing/credits`."""
        answer = await self.ask("GET", "/billing/credits", token=person.token)
        assert answer.status == 200, answer
        shown: dict[str, Any] = answer.json
        return shown

    async def provider(self) -> dict[str, Any]:
        """What the provider has seen."""
        async with self.http.get(f"{self.shop.provider_url}/_control/requests?limit=1000") as response:
            seen: dict[str, Any] = await response.json()
            return seen


@asynccontextmanager
async def clients(shop: Shop) -> AsyncIterator[Caller]:
    """A caller with connections of its own."""
    headers = {"User-Agent": USER_AGENT, "X-Forwarded-For": ADDRESS}
    async with aiohttp.ClientSession(headers=headers, timeout=aiohttp.ClientTimeout(total=60)) as http:
        yield Caller(shop, http)


def open_shop(folder: Path, *, database_url: str, kafka: str) -> Shop:
    """A shop on a migrated database, with nothing started yet."""
    deployment = Deployment(folder, database_url=database_url, kafka=kafka)
    shop = Shop(deployment)
    deployment.migrate()
    return shop
