"""Whose usage it is: what the gateway knows of a request comes out in the report of its account."""

from typing import Any

from api.account_plan import terms_of
from domain.account.subscription import ConfirmSubscription
from tests.api.gateway.account import Account, until
from tests.api.gateway.place import Place


async def asked(place: Place, account: Account, method: str, path: str, body: Any = None, org_id: str = "") -> Any:
    """A call of the person's that succeeds."""
    headers = {"Authorization": f"Bearer {account.token}"} | ({"X-Organization": org_id} if org_id else {})
    async with place.http.request(method, f"{place.url}{path}", json=body, headers=headers) as answer:
        assert answer.ok, await answer.text()
        return await answer.json()


async def usage(place: Place, account: Account, group_by: str, org_id: str = "") -> list[tuple[Any, ...]]:
    """The values of each group, and how many requests it had and how many failed."""
    report = await asked(place, account, "GET", f"/billing/usage?group_by={group_by}", org_id=org_id)
    return [(*group["by"].values(), group["requests"], group["failed"]) for group in report["groups"]]


async def enterprise(place: Place, account: Account) -> None:
    """Puts the account on the plan that has organizations."""
    plan = place.services.plans["enterprise"]
    confirmed = ConfirmSubscription(plan=plan.id, status="active", terms=terms_of(plan), occurred_at=1, reference="r")
    await account.tell(confirmed)

    async def seen() -> bool:
        return f"account:{account.id}" not in place.services.identities.cache._of

    await until(seen)


async def test_an_organizations_usage_says_whose_it_was(place: Place) -> None:
    """The member, the key and the project are those of the request; the money is the organization's."""
    owner = await place.account("0")
    await enterprise(place, owner)
    org_id = (await asked(place, owner, "POST", "/orgs", {"name": "Engines"}))["id"]
    await place.grant(org_id, "1")
    project = await asked(place, owner, "POST", "/v1/projects", {"name": "One"}, org_id)
    bound = {"name": "bound", "project_id": project["id"]}
    keys = [await asked(place, owner, "POST", "/api-keys", body, org_id) for body in ({"name": "free"}, bound)]
    for key, times in zip(keys, (1, 2), strict=True):
        caller = Account(place, org_id, owner.token, key["key"])
        for _ in range(times):
            assert (await caller.chat("Hello.", max_tokens=20)).status == 200
    assert await usage(place, owner, "user,operation", org_id) == [(owner.id, "chat.completions", 3, 0)]
    assert await usage(place, owner, "project", org_id) == [(None, 1, 0), (project["id"], 2, 0)]
    by_key = sorted([(keys[0]["id"], 1, 0), (keys[1]["id"], 2, 0)])
    assert await usage(place, owner, "api_key", org_id) == by_key
    assert await usage(place, owner, "user") == []


async def test_what_failed_is_told(place: Place) -> None:
    """A provider's refusal costs nothing, is no request that was served, and shows beside those that were."""
    account = await place.account("1")
    assert (await account.chat("Hello.", max_tokens=20)).status == 200
    assert (await account.chat("Hello [[fail=error-500]]", max_tokens=20)).status == 502
    await account.ended(2)
    assert await usage(place, account, "model,user") == [("fs-basic", account.id, 1, 1)]
    said = await asked(place, account, "GET", "/billing/usage/statistics")
    assert said["error_rate"] == "0.500000"
