"""Organizations on two API processes, a real Kafka and a real PostgreSQL: decided once, and known everywhere."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.api.mailbox import Mailbox, mailbox
from tests.crash.api.shop import Answer, Caller, Shop
from tests.crash.waiting import until


@pytest.fixture
async def box(shop: Shop) -> AsyncIterator[Mailbox]:
    """The mailer of the deployment."""
    async with mailbox(shop.mailer_port, shop.mailer_secret) as running:
        yield running


async def founded(caller: Caller) -> tuple[dict[str, Any], str]:
    """A user on a plan with organizations, and its organization."""
    ada = await caller.register()
    news = {
        "account_id": ada["account_id"],
        "plan": "enterprise",
        "status": "active",
        "occurred_at": "2026-01-01T00:00:00Z",
        "reference": f"sub-{ada['account_id']}",
    }
    answer = await caller.ask("PUT", "/billing/subscription", news, token=caller.shop.admin_token)
    assert answer.status == 200, answer
    made = await caller.ask("POST", "/orgs", {"name": "Engines"}, token=ada["token"])
    assert made.status == 201, made
    return ada, made.json["id"]


async def invited(caller: Caller, box: Mailbox, admin: dict[str, Any], org_id: str, level: str) -> str:
    """The token of a new invitation, as it came by mail."""
    email = caller.person()["email"]
    body = {"email": email, "level": level}
    answer = await caller.ask("POST", f"/orgs/{org_id}/invite", body, token=admin["token"])
    assert answer.status == 201, answer
    token: str = (await box.next_to(email))["data"]["token"]
    caller.shop.secrets.add(token)
    return token


async def accept(caller: Caller, person: dict[str, Any], token: str, url: str) -> Answer:
    """The person accepts, at one of the processes."""
    return await caller.ask("POST", "/orgs/invitations/accept", {"token": token}, token=person["token"], url=url)


async def test_one_invitation_is_accepted_once(caller: Caller, box: Mailbox) -> None:
    """By whoever is first, of many at once at both processes; each of them may say it twice."""
    ada, org_id = await founded(caller)
    token = await invited(caller, box, ada, org_id, "write")
    people = [await caller.register() for _ in range(4)]
    answers = await asyncio.gather(
        *(accept(caller, person, token, url) for person in people for url in caller.shop.urls)
    )
    assert {answer.status for answer in answers} == {200, 409}
    for url in caller.shop.urls:
        members = await caller.ask("GET", f"/orgs/{org_id}/members", token=ada["token"], url=url)
        assert len(members.json["data"]) == 2


async def test_two_last_admins_leave_at_once(caller: Caller, box: Mailbox) -> None:
    """Each at another process: one stays."""
    ada, org_id = await founded(caller)
    bob = await caller.register()
    await accept(caller, bob, await invited(caller, box, ada, org_id, "admin"), caller.shop.urls[0])
    answers = await asyncio.gather(
        *(
            caller.ask("DELETE", f"/orgs/{org_id}/members/{each['user_id']}", token=each["token"], url=url)
            for each, url in zip((ada, bob), caller.shop.urls, strict=True)
        )
    )
    assert sorted(answer.status for answer in answers) == [200, 409]


async def test_a_lost_level_is_lost_at_every_process(caller: Caller, box: Mailbox) -> None:
    """Demoted at one, the other refuses what the new level does not allow; removed, it refuses everything."""
    ada, org_id = await founded(caller)
    bob = await caller.register()
    await accept(caller, bob, await invited(caller, box, ada, org_id, "write"), caller.shop.urls[0])
    one, other = caller.shop.urls
    made = await caller.ask("POST", "/api-keys", {"name": "k"}, token=bob["token"], organization=org_id)
    key = made.json["key"]
    caller.shop.secrets.add(key)

    async def works(method: str, path: str, body: Any = None) -> list[int]:
        by_key = await caller.ask(method, path, body, token=key, url=other)
        by_token = await caller.ask(method, path, body, token=bob["token"], url=other, organization=org_id)
        return [by_key.status, by_token.status]

    assert await works("GET", "/billing/credits") == [200, 200]
    assert await works("POST", "/v1/projects", {"name": "p"}) == [201, 201]
    path = f"/orgs/{org_id}/members/{bob['user_id']}"
    assert (await caller.ask("PATCH", path, {"level": "read"}, token=ada["token"], url=one)).status == 200

    async def is_refused() -> bool:
        return await works("POST", "/v1/projects", {"name": "p"}) == [403, 403]

    await until(is_refused, 5, "the other process knows of the demotion")
    assert await works("GET", "/billing/credits") == [200, 200]
    assert (await caller.ask("DELETE", path, token=ada["token"], url=one)).status == 200

    async def is_gone() -> bool:
        return await works("GET", "/billing/credits") == [401, 404]

    await until(is_gone, 5, "the other process knows of the removal")
