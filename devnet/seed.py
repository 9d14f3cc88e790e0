"""Demo data, made by real calls over HTTP: a user with credits and an API key, and an admin."""

import asyncio
import secrets
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

import aiohttp
from msgspec import Struct

from devnet.arguments import Person
from domain.user import Role

SEED_CREDITS = "1000.000000"
SEED_PLAN = "enterprise"
"""Of the seeded accounts, where the plan file has it; else the last plan of the file."""
READY_S = 60.0


class Seeded(Struct, frozen=True, kw_only=True):
    """What a developer needs to make the first call."""

    account_id: str
    user_token: str
    admin_token: str
    api_key: str
    email: str
    password: str
    tokens: Mapping[str, str]
    """Login tokens that were asked for, by subject."""


class SeedError(Exception):
    """A call that must work did not."""


async def wait_until_ready(url: str, timeout_s: float = READY_S) -> None:
    """Returns once `/ready` answers 200; `SeedError` with its last answer when it does not in time."""
    end = time.monotonic() + timeout_s
    said = "no answer"
    async with aiohttp.ClientSession() as http:
        while time.monotonic() < end:
            try:
                async with http.get(f"{url}/ready") as response:
                    if response.status == 200:  # noqa: PLR2004 (HTTP)
                        return
                    said = await response.text()
            except aiohttp.ClientError as error:
                said = str(error)
            await asyncio.sleep(0.02)
    raise SeedError(f"{url}/ready is not ready after {timeout_s:.0f} s: {said}")


async def seed(url: str, grant_role: Callable[[str, Role], Awaitable[None]], people: Sequence[Person] = ()) -> Seeded:
    """Registers a user and an admin, gives both credits, makes the user's API key; registers `people` besides.

    `grant_role(user_id, role)` is the operator's part: no call over HTTP makes the first admin.
    """
    password = f"demo-{secrets.token_urlsafe(12)}"
    async with aiohttp.ClientSession(url) as http:
        user, admin = await asyncio.gather(
            _post(http, "/auth/register", _person("demo@example.com", "Demo", password)),
            _post(http, "/auth/register", _person("admin@example.com", "Admin", password)),
        )
        await grant_role(admin["user_id"], "admin")
        plans = [plan["id"] for plan in (await _send(http, "GET", "/billing/plans"))["data"]]
        plan = SEED_PLAN if SEED_PLAN in plans else plans[-1]
        for each in (user, admin):
            grant = {
                "account_id": each["account_id"],
                "amount": SEED_CREDITS,
                "reference": f"seed-{each['account_id']}",
                "reason": "demo credits",
            }
            await _post(http, "/billing/credits/add", grant, admin["token"])
            subscription = {
                "account_id": each["account_id"],
                "plan": plan,
                "status": "active",
                "occurred_at": "2026-01-01T00:00:00Z",
                "reference": "seed",
            }
            await _send(http, "PUT", "/billing/subscription", subscription, admin["token"])
        key = await _post(http, "/api-keys", {"name": "demo"}, user["token"])
        registered = {"demo": user, "admin": admin}
        for person in people:
            if person.subject not in registered:
                form = _person(person.email, person.subject, password)
                registered[person.subject] = await _post(http, "/auth/register", form)
            if person.role is not None:
                await grant_role(registered[person.subject]["user_id"], person.role)
    return Seeded(
        account_id=user["account_id"],
        user_token=user["token"],
        admin_token=admin["token"],
        api_key=key["key"],
        email="demo@example.com",
        password=password,
        tokens={person.subject: registered[person.subject]["token"] for person in people},
    )


def _person(email: str, name: str, password: str) -> dict[str, str]:
    return {"email": email, "password": password, "display_name": name}


async def _post(http: aiohttp.ClientSession, path: str, body: Any, token: str | None = None) -> Any:
    return await _send(http, "POST", path, body, token)


async def _send(http: aiohttp.ClientSession, method: str, path: str, body: Any = None, token: str | None = None) -> Any:
    headers = {} if token is None else {"Authorization": f"Bearer {token}"}
    async with http.request(method, path, json=body, headers=headers) as response:
        if response.status >= 300:  # noqa: PLR2004 (HTTP)
            raise SeedError(f"{method} {path} answered {response.status}: {await response.text()}")
        return await response.json()
