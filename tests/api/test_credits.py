"""Credits over HTTP: added once for a reference, shown, listed."""

import asyncio
from typing import Any

import pytest

from api.rfc3339 import format_instant
from domain.account.holds import PlaceHold, SettleHold
from domain.account.usage import Price, Usage
from domain.instant import MINUTE
from domain.money import parse_credits
from domain.user import GrantRole
from eventstore.clock import system_clock
from tests.api.running import Answer, Person, Running, application

NOBODY = "user_" + "0" * 32
PRICE = Price(input=1_000_000, cached_input=100_000, output=4_000_000, version="v1")


pytestmark = pytest.mark.asyncio(loop_scope="module")


def addition(person: Person, reference: str = "r1", **changed: Any) -> dict[str, Any]:
    """A good body but for what is changed."""
    return {"account_id": person.id, "amount": "12.5", "reference": reference} | changed


async def test_add_200(app: Running, admin: Person) -> None:
    """Added credits are there at once, and the answer's transaction is the one that the list shows."""
    person = await app.register()
    answer = await app.ask("POST", "/billing/credits/add", addition(person, reason="Top-up"), token=admin.token)
    assert answer.status == 200
    assert answer.json["balance"] == answer.json["available"] == "12.500000"
    shown = await app.ask("GET", "/billing/credits", token=person.token)
    assert shown.json["balance"] == "12.500000"
    assert (shown.json["held"], shown.json["available"], shown.json["debt"]) == ("0.000000", "12.500000", "0.000000")
    (grant,) = shown.json["grants"]
    assert (grant["amount"], grant["remaining"], grant["reference"]) == ("12.500000", "12.500000", "r1")
    listed = await app.ask("GET", "/billing/credits/transactions", token=person.token)
    assert listed.json["data"] == [answer.json["transaction"]]
    assert (listed.json["data"][0]["kind"], listed.json["data"][0]["amount"]) == ("grant", "12.500000")


async def test_add_again(app: Running, admin: Person) -> None:
    """One reference adds once, for whoever asks however often; each repeat has the first answer."""
    person = await app.register()
    service = await app.key(admin, scopes=["admin"])
    body = addition(person, "invoice-7")
    answers = await asyncio.gather(
        *[app.ask("POST", "/billing/credits/add", body, token=admin.token) for _ in range(5)],
        *[
            app.ask("POST", "/billing/credits/add", body | {"reason": "again"}, api_key=service["key"])
            for _ in range(5)
        ],
    )
    await app.ask("POST", "/billing/credits/add", addition(person, "invoice-8"), token=admin.token)
    answers.append(await app.ask("POST", "/billing/credits/add", body, token=admin.token))
    assert {answer.status for answer in answers} == {200}
    assert {answer.json["balance"] for answer in answers} == {"12.500000"}
    assert len({answer.json["transaction"]["id"] for answer in answers}) == 1
    assert (await app.ask("GET", "/billing/credits", token=person.token)).json["balance"] == "25.000000"


async def test_add_again_shows_what_is_on_record(app: Running, admin: Person) -> None:
    """A repeat answers the first answer word for word, whoever sends it and whatever reason it gives."""
    person = await app.register()
    service = await app.key(admin, scopes=["billing:write"])
    first = await app.ask("POST", "/billing/credits/add", addition(person, reason="Top-up"), token=admin.token)
    again = await app.ask("POST", "/billing/credits/add", addition(person, reason="Other"), api_key=service["key"])
    assert (again.status, again.json) == (200, first.json)


async def test_add_again_after_the_expiry() -> None:
    """A repeat under one reference gets the first answer also when the credits have expired meanwhile."""
    ahead = 0
    async with application(clock=lambda: system_clock() + ahead) as app:
        admin, person = await app.admin(), await app.register()
        body = addition(person, expires_at=format_instant(system_clock() + MINUTE))
        first = await app.ask("POST", "/billing/credits/add", body, token=admin.token)
        ahead = 2 * MINUTE
        again = await app.ask("POST", "/billing/credits/add", body, token=admin.token)
        assert (first.status, again.status, again.json) == (200, 200, first.json)
        late = await app.ask("POST", "/billing/credits/add", body | {"reference": "r2"}, token=admin.token)
        assert (late.status, late.code) == (400, "invalid_expiry")


async def test_add_422(app: Running, admin: Person) -> None:
    """An Idempotency-Key that came with another request adds nothing, whatever the reference or the account."""
    person, other = await app.register(), await app.register()

    async def add(body: dict[str, Any], **more: Any) -> Answer:
        return await app.ask("POST", "/billing/credits/add", body, token=admin.token, idempotency_key="k1", **more)

    first = await add(addition(person))
    assert (first.status, (await add(addition(person))).json) == (200, first.json)
    prefer = {"Prefer": "respond-async"}
    for body in (addition(person, "r2"), addition(person, amount="13"), addition(other)):
        for answer in (await add(body), await add(body, headers=prefer)):
            assert (answer.status, answer.code) == (422, "idempotency_key_reused")
    assert (await app.ask("GET", "/billing/credits", token=person.token)).json["balance"] == "12.500000"
    assert (await app.ask("GET", "/billing/credits", token=other.token)).json["balance"] == "0.000000"
    fresh = addition(other, "r3")
    asked: dict[str, Any] = {"token": admin.token, "idempotency_key": "k2"}
    answers = await asyncio.gather(
        *[app.ask("POST", "/billing/credits/add", fresh | {"amount": str(n)}, **asked) for n in range(1, 6)]
    )
    assert sorted(answer.status for answer in answers) == [200, 422, 422, 422, 422]


@pytest.mark.parametrize("changed", [{"amount": "13"}, {"priority": 1}, {"expires_at": "2090-01-01T00:00:00Z"}])
async def test_add_409(app: Running, admin: Person, changed: dict[str, Any]) -> None:
    """The same reference on other terms is a conflict and adds nothing."""
    person = await app.register()
    await app.ask("POST", "/billing/credits/add", addition(person), token=admin.token)
    answer = await app.ask("POST", "/billing/credits/add", addition(person, **changed), token=admin.token)
    assert (answer.status, answer.code) == (409, "reference_conflict")
    assert (await app.ask("GET", "/billing/credits", token=person.token)).json["balance"] == "12.500000"


@pytest.mark.parametrize(
    ("changed", "code"),
    [
        ({"amount": "0"}, "invalid_amount"),
        ({"amount": "-1"}, "invalid_amount"),
        ({"amount": "1e3"}, "invalid_amount"),
        ({"amount": "1.0000001"}, "invalid_amount"),
        ({"amount": "9999999999"}, "invalid_amount"),
        ({"amount": "١"}, "invalid_amount"),
        ({"amount": ""}, "invalid_amount"),
        ({"amount": 12.5}, "invalid_request"),
        ({"amount": 12}, "invalid_request"),
        ({"reference": ""}, "invalid_request"),
        ({"reference": "a\nb"}, "invalid_text"),
        ({"reason": "a\x07b"}, "invalid_text"),
        ({"priority": -1}, "invalid_request"),
        ({"priority": "high"}, "invalid_request"),
        ({"expires_at": "2001-01-01T00:00:00Z"}, "invalid_expiry"),
        ({"expires_at": "never"}, "invalid_expiry"),
        ({"currency": "USD"}, "invalid_request"),
    ],
)
async def test_add_400(app: Running, admin: Person, changed: dict[str, Any], code: str) -> None:
    """Bad input adds nothing, and does not use up its reference."""
    person = await app.register()
    answer = await app.ask("POST", "/billing/credits/add", addition(person, **changed), token=admin.token)
    assert (answer.status, answer.code) == (400, code)
    assert (await app.ask("POST", "/billing/credits/add", addition(person), token=admin.token)).status == 200


@pytest.mark.parametrize("account_id", [NOBODY, "user_x", "org_1", "", "user_" + "A" * 32])
async def test_add_404(app: Running, admin: Person, account_id: str) -> None:
    """Money for an account that does not exist is refused."""
    body = {"account_id": account_id, "amount": "1", "reference": "r"}
    answer = await app.ask("POST", "/billing/credits/add", body, token=admin.token)
    assert (answer.status, answer.code) == (404, "account_not_found")


async def test_add_401_and_403(app: Running, admin: Person) -> None:
    """Nobody but an admin, and the keys that an admin gave this scope, adds credits; a test key never does."""
    person = await app.register()
    body = addition(person)
    assert (await app.ask("POST", "/billing/credits/add", body)).status == 401
    for credentials in (
        {"token": person.token},
        {"api_key": (await app.key(person))["key"]},
        {"api_key": (await app.key(admin))["key"]},
        {"api_key": (await app.key(admin, scopes=["admin"], mode="test"))["key"]},
    ):
        assert (await app.ask("POST", "/billing/credits/add", body, **credentials)).status == 403
    narrow = await app.key(admin, scopes=["billing:write"])
    assert (await app.ask("POST", "/billing/credits/add", body, api_key=narrow["key"])).status == 200
    assert (await app.ask("GET", "/billing/credits", api_key=narrow["key"])).status == 403


async def test_a_key_never_exceeds_its_creator(app: Running) -> None:
    """A service key stops adding credits when its maker is an admin no more, within a second."""
    person, once = await app.register(), await app.admin()
    service = await app.key(once, scopes=["admin"])
    add = addition(person)
    assert (await app.ask("POST", "/billing/credits/add", add, api_key=service["key"])).status == 200
    await app.command(f"user:{once.id}", GrantRole(role="user"))
    async with asyncio.timeout(1):
        while True:
            answer = await app.ask("POST", "/billing/credits/add", add, api_key=service["key"])
            if answer.status == 403:
                break
    assert answer.code in {"missing_scope", "missing_role"}
    assert (await app.ask("GET", "/billing/credits", api_key=service["key"])).status == 200


async def test_transactions_and_holds(app: Running, admin: Person) -> None:
    """What holds and settlements do is listed, newest first, and the sum of all transactions is the balance."""
    person = await app.register()
    for number in range(3):
        await app.ask("POST", "/billing/credits/add", addition(person, f"r{number}"), token=admin.token)
    await spend(app, person, "hold_1")
    await place(app, person, "hold_2")
    credits = (await app.ask("GET", "/billing/credits", token=person.token)).json
    assert (credits["balance"], credits["held"], credits["available"]) == ("37.499100", "1.000000", "36.499100")
    listed, cursor = [], ""
    while True:
        page = (await app.ask("GET", f"/billing/credits/transactions?limit=3{cursor}", token=person.token)).json
        listed += page["data"]
        if not page["has_more"]:
            break
        cursor = f"&cursor={page['next_cursor']}"
    assert [each["kind"] for each in listed] == ["charge", "grant", "grant", "grant"]
    assert (listed[0]["amount"], listed[0]["hold_id"], listed[0]["model"]) == ("-0.000900", "hold_1", "fs-basic")
    assert listed[0]["usage"]["output_tokens"] == 200
    assert [each["reason"] for each in listed] == ["usage", "grant", "grant", "grant"]
    total = sum(
        -parse_credits(each["amount"][1:]) if each["amount"][0] == "-" else parse_credits(each["amount"])
        for each in listed
    )
    assert total == parse_credits(credits["balance"])
    holds = (await app.ask("GET", "/billing/holds", token=person.token)).json["data"]
    assert [(each["id"], each["status"], each["cost"]) for each in holds] == [
        ("hold_2", "open", None),
        ("hold_1", "settled", "0.000900"),
    ]


async def place(app: Running, person: Person, hold_id: str) -> None:
    """Places a hold of one credit."""
    at = app.services.clock() + MINUTE
    hold = PlaceHold(
        hold_id=hold_id, amount=1_000_000, amount_min=1, model="fs-basic", price=PRICE, expires_at=at, key_id="key_1"
    )
    await app.command(f"account:{person.id}", hold)


async def spend(app: Running, person: Person, hold_id: str) -> None:
    """A request that used 100 fresh and 200 output tokens."""
    await place(app, person, hold_id)
    usage = Usage(source="provider", input=100, output=200)
    await app.command(f"account:{person.id}", SettleHold(hold_id=hold_id, usage=usage, latency_ms=40))


async def test_empty_account(app: Running) -> None:
    """An account that was never written has nothing, and says so."""
    person = await app.register()
    credits = await app.ask("GET", "/billing/credits", token=person.token)
    assert (credits.status, credits.json["balance"], credits.json["grants"]) == (200, "0.000000", [])
    for path in ("/billing/credits/transactions", "/billing/holds"):
        answer = await app.ask("GET", path, token=person.token)
        assert answer.json == {"object": "list", "data": [], "has_more": False, "next_cursor": None}


@pytest.mark.parametrize(
    "path", ["/billing/credits", "/billing/credits/transactions", "/billing/holds", "/billing/usage"]
)
async def test_reads_401_and_403(app: Running, path: str) -> None:
    """Figures are for those who may read them."""
    key = await app.key(await app.register(), scopes=["models:invoke"])
    assert (await app.ask("GET", path)).status == 401
    assert (await app.ask("GET", path, api_key=key["key"])).code == "missing_scope"


@pytest.mark.parametrize("path", ["/billing/credits/transactions", "/billing/holds", "/api-keys"])
@pytest.mark.parametrize("query", ["limit=0", "limit=101", "limit=x", "cursor=%21", "cursor=AAAA", "page=2"])
async def test_lists_400(app: Running, path: str, query: str) -> None:
    """A bad limit, a cursor that is none, and unknown parameters are refused."""
    person = await app.register()
    assert (await app.ask("GET", f"{path}?{query}", token=person.token)).status == 400


async def test_usage_200(app: Running, admin: Person) -> None:
    """Usage is the same in total and by model, key and day, down to the micro-credit."""
    person = await app.register()
    await app.ask("POST", "/billing/credits/add", addition(person), token=admin.token)
    for number in range(2):
        await spend(app, person, f"hold_{number}")
    groups = {}
    for group_by in ("model", "api_key", "day"):
        answer = await app.ask("GET", f"/billing/usage?group_by={group_by}", token=person.token)
        assert answer.status == 200
        totals = answer.json["totals"]
        assert (totals["requests"], totals["input_tokens"], totals["output_tokens"]) == (2, 200, 400)
        assert (totals["cost"], totals["total_tokens"], totals["latency_ms_mean"]) == ("0.001800", 600, 40)
        (group,) = answer.json["groups"]
        groups[group_by] = group.pop("group")
        assert group.pop("by") == {group_by: groups[group_by]}
        assert group == totals
    assert (groups["model"], groups["api_key"]) == ("fs-basic", "key_1")
    assert len(groups["day"]) == len("2026-11-22")
    past = await app.ask("GET", "/billing/usage?from=2020-01-01&to=2020-02-01T00:00:00Z", token=person.token)
    assert (past.json["totals"]["requests"], past.json["groups"]) == (0, [])
    assert (past.json["from"], past.json["to"]) == ("2020-01-01T00:00:00Z", "2020-02-01T00:00:00Z")


@pytest.mark.parametrize(
    "query",
    [
        "from=yesterday",
        "from=2026-02-30",
        "from=2026-02-01&to=2026-01-01",
        "from=2026-01-01&to=2026-01-01",
        "from=2020-01-01&to=2026-01-01",
        "group_by=colour",
        "from=",
        "to=9999-12-31T23:59:59Z&from=1970-01-01",
    ],
)
async def test_usage_400(app: Running, query: str) -> None:
    """A period that is none, or too long, is refused."""
    person = await app.register()
    assert (await app.ask("GET", f"/billing/usage?{query}", token=person.token)).status == 400


async def test_usage_at_the_ends_of_time(app: Running) -> None:
    """The first and the last times that can be written are periods like others."""
    person = await app.register()
    for query in (
        "to=1970-01-02",
        "from=9999-12-31&to=9999-12-31T23:59:59Z",
        "from=9999-12-31T23:59:58Z&to=9999-12-31T23:59:59Z",
    ):
        assert (await app.ask("GET", f"/billing/usage?{query}", token=person.token)).status == 200


async def test_plans_200(app: Running) -> None:
    """The plans are public; null is unlimited, and by agreement."""
    answer = await app.ask("GET", "/billing/plans")
    assert answer.status == 200
    plans = {plan["id"]: plan for plan in answer.json["data"]}
    assert list(plans) == ["free", "pro", "team", "enterprise"]
    assert [plan["limits"]["messages_per_day"] for plan in plans.values()] == [100, 1000, None, None]
    assert [plan["limits"]["requests_per_minute"] for plan in plans.values()] == [10, 60, 120, 300]
    assert [plan["limits"]["agent_slots"] for plan in plans.values()] == [1, 5, 20, None]
    assert [plan["limits"]["api_keys"] for plan in plans.values()] == [25, 100, 500, None]
    assert [plan["price"]["amount"] for plan in plans.values()] == ["0.000000", "20.000000", "15.000000", None]
    assert (plans["free"]["monthly_credits"], plans["pro"]["monthly_credits"]) == ("0.000000", "20.000000")
