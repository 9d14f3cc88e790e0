"""An API key's credit limit at the gateway: exact under parallel requests, and told in the refusal."""

import asyncio
from decimal import Decimal
from typing import Any

import pytest

from eventstore.rates import RateDelta
from tests.api.gateway.account import Account
from tests.api.gateway.place import Place, running_place


async def limited(place: Place, amount: str, **words: Any) -> tuple[Account, dict[str, Any]]:
    """An account with plenty of credits whose key may spend little, and the key."""
    account = await place.account("10")
    bearer = {"Authorization": f"Bearer {account.token}"}
    body = {"name": "limited", "credit_limit": {"amount": amount} | words}
    async with place.http.post(f"{place.url}/api-keys", json=body, headers=bearer) as answer:
        assert answer.status == 201, await answer.text()
        made: dict[str, Any] = await answer.json()
    return Account(place, account.id, account.token, made["key"]), made


async def spent(account: Account) -> Decimal:
    """What all holds of the account have cost."""
    return sum((Decimal(hold.cost) for hold in await account.ended(0)), Decimal(0)) / 1_000_000


async def test_fifty_requests_at_once_stay_within_a_keys_limit() -> None:
    """Through two API processes: the account's single writer decides each hold, so the limit is exact."""
    async with running_place(apis=2) as place:
        account, _ = await limited(place, "0.001000")
        answers = await asyncio.gather(
            *(account.chat(f"Question {number}.", api=number % 2, max_tokens=20) for number in range(50))
        )
        statuses = {answer.status for answer in answers}
        assert statuses == {200, 402}
        assert {answer.error["code"] for answer in answers if answer.status == 402} == {"key_credit_limit_exceeded"}
        assert Decimal(0) < await spent(account) <= Decimal("0.001000")
        credits = await account.credits()
        assert (credits.held, credits.debt) == (0, 0)


async def test_402_tells_what_is_left(place: Place) -> None:
    """And when the period begins anew; other keys of the account go on."""
    account, made = await limited(place, "0.000010", period="day")
    answer = await account.chat("Hello there, how are you?", max_tokens=100)
    error = answer.error
    assert (answer.status, error["code"], error["type"]) == (402, "key_credit_limit_exceeded", "insufficient_quota")
    assert (error["available"], error["credit_limit"], error["period"]) == ("0.000010", "0.000010", "day")
    assert error["resets_at"].endswith("T00:00:00Z")
    assert Decimal(error["required"]) > Decimal(error["available"])
    bearer = {"Authorization": f"Bearer {account.token}"}
    url = f"{place.url}/api-keys/{made['id']}"
    async with place.http.patch(url, json={"credit_limit": {"amount": "1"}}, headers=bearer) as changed:
        assert changed.status == 200
    assert (await account.chat("Hello there, how are you?", max_tokens=100)).status == 200


async def test_a_refusal_is_counted_in_the_keys_minute(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """What `GET /api-keys/{id}/events` tells of it: with the next exchange all processes know."""
    account, made = await limited(place, "0")
    counted: list[RateDelta] = []
    rates = place.services.rate_limits.limiter
    tell = rates.tell

    def told(count_max: int) -> list[RateDelta]:
        deltas = tell(count_max)
        counted.extend(each for each in deltas if made["id"] in each.subject and each.reported)
        return deltas

    monkeypatch.setattr(rates, "tell", told)
    for number in range(3):
        assert (await account.chat(f"Question {number}.")).status == 402
    async with asyncio.timeout(10):
        while sum(each.refused for each in counted) < 3:
            await asyncio.sleep(0.01)
    assert (sum(each.refused for each in counted), sum(each.admitted for each in counted)) == (3, 3)


async def test_a_refusal_is_on_record(place: Place) -> None:
    """In the account's trail, by the key."""
    account, made = await limited(place, "0")
    assert (await account.chat("Hello.")).status == 402
    bearer = {"Authorization": f"Bearer {account.token}"}
    async with place.http.get(f"{place.url}/audit?actor={made['id']}&outcome=refused", headers=bearer) as answer:
        entries = (await answer.json())["data"]
    assert [(entry["action"], entry["code"]) for entry in entries] == [("hold.place", "key_credit_limit_exceeded")]


async def test_an_answer_is_cut_to_what_the_key_has_left(place: Place) -> None:
    """As with credits, where the client has set no `max_tokens`."""
    account, _ = await limited(place, "0.000500")
    answer = await account.chat("Tell me a long story.")
    assert answer.status == 200
    assert await spent(account) <= Decimal("0.000500")


async def test_a_key_without_credit_left_uses_free_models(place: Place) -> None:
    """What costs nothing needs nothing."""
    account, _ = await limited(place, "0")
    assert (await account.chat("Hello.")).status == 402
    assert (await account.chat("Hello.", model="free")).status == 200


async def test_usage_of_a_key(place: Place) -> None:
    """Its own alone, by model or day, equal to what was charged."""
    account, made = await limited(place, "1")
    first = await account.chat("Hello.", max_tokens=20)
    other = await place.account("1")
    elsewhere = Account(place, account.id, account.token, account.token)  # through no key
    assert (first.status, (await elsewhere.chat("Hello.")).status) == (200, 200)
    bearer = {"Authorization": f"Bearer {account.token}"}
    reports: dict[str, Any] = {}
    for group_by in ("model", "day"):
        url = f"{place.url}{made['usage_url']}?group_by={group_by}"
        async with place.http.get(url, headers=bearer) as answer:
            assert answer.status == 200, await answer.text()
            reports[group_by] = await answer.json()
    for report in reports.values():
        assert report["totals"]["requests"] == 1
        assert report["totals"]["cost"] == first.headers["X-Credits-Cost"]
        assert [group["cost"] for group in report["groups"]] == [report["totals"]["cost"]]
    assert reports["model"]["groups"][0]["group"] == "fs-basic"
    async with place.http.get(f"{place.url}{made['usage_url']}?group_by=api_key", headers=bearer) as answer:
        assert answer.status == 400
    stranger = {"Authorization": f"Bearer {other.token}"}
    async with place.http.get(f"{place.url}{made['usage_url']}", headers=stranger) as answer:
        assert answer.status == 404


async def test_fifty_keys_at_once_are_as_many_as_the_plan_has() -> None:
    """Through two API processes: the account's single writer counts, so it is exactly the limit."""
    async with running_place(apis=2) as place:
        account = await place.account("0")  # with one key
        bearer = {"Authorization": f"Bearer {account.token}"}

        async def create(number: int) -> int:
            url = f"{place.urls[number % 2]}/api-keys"
            async with place.http.post(url, json={"name": f"key {number}"}, headers=bearer) as answer:
                return answer.status

        statuses = await asyncio.gather(*(create(number) for number in range(50)))
        assert (statuses.count(201), statuses.count(403)) == (24, 26)
