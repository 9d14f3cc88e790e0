"""Limits over HTTP: whose they are, what every answer says about them, and what a refusal tells."""

import re
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
from msgspec.structs import replace
from multidict import CIMultiDict

from api.app import create_app
from api.http_protocol import HEADER_BYTES_MAX
from api.plans import Plans, load_plans
from tests.api.running import Answer, Person, Running, application
from tests.api.serving import raw_request, served

POLICY = re.compile(r'"[a-z-]+";q=\d+;w=\d+(, "[a-z-]+";q=\d+;w=\d+)*')
LIMIT = re.compile(r'"[a-z-]+";r=\d+;t=\d+(, "[a-z-]+";r=\d+;t=\d+)*')


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def app() -> AsyncIterator[Running]:
    """One application with limits for this module's tests; an address may ask often, so that people can register."""
    async with application(limits=True, anonymous_requests_per_minute=200) as running:
        yield running


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def admin(app: Running) -> Person:
    """An admin on the largest plan."""
    person = await app.admin()
    assert (await subscribe(app, person, person, "enterprise")).status == 200
    return person


pytestmark = pytest.mark.asyncio(loop_scope="module")


async def subscribe(app: Running, admin: Person, person: Person, plan: str, **changed: Any) -> Answer:
    """Puts a person on a plan."""
    body = {
        "account_id": person.id,
        "plan": plan,
        "status": "active",
        "occurred_at": "2026-01-01T00:00:00Z",
        "reference": plan,
    }
    return await app.ask("PUT", "/billing/subscription", body | changed, token=admin.token)


def limits_of(answer: Answer) -> tuple[int, int]:
    """Limit and what remains of it, of an answer that says all that it must."""
    headers = answer.headers
    assert POLICY.fullmatch(headers["ratelimit-policy"])
    assert LIMIT.fullmatch(headers["ratelimit"])
    assert 0 <= int(headers["x-ratelimit-reset"]) <= 86_400
    return int(headers["x-ratelimit-limit"]), int(headers["x-ratelimit-remaining"])


async def test_the_plans_requests_a_minute(app: Running) -> None:
    """Ten requests of a free account pass, the eleventh is told which limit it met and when to come again."""
    person = await app.register()
    for number in range(10):
        answer = await app.ask("GET", "/users/me", token=person.token)
        assert (answer.status, limits_of(answer)) == (200, (10, 9 - number))
    refused = await app.ask("GET", "/users/me", token=person.token)
    assert (refused.status, refused.code, limits_of(refused)) == (429, "rate_limited", (10, 0))
    error = refused.json["error"]
    assert (error["limit_name"], error["limit"], error["window_s"]) == ("account-minute", 10, 60)
    assert error["type"] == "rate_limit_error"
    assert 1 <= int(refused.headers["retry-after"]) == error["reset_s"] <= 61
    assert int(refused.headers["x-ratelimit-reset"]) == min(error["reset_s"], 60)


async def test_what_is_left_can_be_asked(app: Running) -> None:
    """The subscription tells what is left of its limits, the request that asks included."""
    person = await app.register()
    for left in (9, 8):
        answer = await app.ask("GET", "/billing/subscription", token=person.token)
        assert answer.json["remaining"]["requests_per_minute"] == left == limits_of(answer)[1]
        assert answer.json["remaining"]["requests_per_day"] == 90 + left


async def test_refused_before_the_body_is_read(app: Running) -> None:
    """What is too often is refused whatever it asks for, and has no effect."""
    person = await app.register()
    for _ in range(10):
        await app.ask("GET", "/users/me", token=person.token)
    for method, path, body in (("POST", "/api-keys", {"name": 1}), ("POST", "/v1/chat/completions", {})):
        refused = await app.ask(method, path, body, token=person.token)
        assert (refused.status, refused.code) == (429, "rate_limited")


async def test_all_of_an_account_share_its_limit(app: Running) -> None:
    """The login token and all keys of an account draw on one budget; another account has its own."""
    person, other = await app.register(), await app.register()
    keys = [await app.key(person) for _ in range(2)]
    for number in range(8):
        answer = await app.ask("GET", "/users/me", api_key=keys[number % 2]["key"])
        assert answer.status == 200
    assert (await app.ask("GET", "/users/me", token=person.token)).code == "rate_limited"
    assert (await app.ask("GET", "/users/me", token=other.token)).status == 200


async def test_a_keys_own_limit(app: Running, admin: Person) -> None:
    """A key can be given less than its account has; who has used it up does not use up the account."""
    made = await app.ask(
        "POST", "/api-keys", {"name": "small", "rate_limit": {"requests_per_minute": 3}}, token=admin.token
    )
    assert made.status == 201, made
    for number in range(3):
        answer = await app.ask("GET", "/users/me", api_key=made.json["key"])
        assert (answer.status, limits_of(answer)) == (200, (3, 2 - number))
    refused = await app.ask("GET", "/users/me", api_key=made.json["key"])
    assert refused.json["error"]["limit_name"] == "key-minute"
    assert '"account-minute";r=' in refused.headers["ratelimit"]
    assert (await app.ask("GET", "/users/me", token=admin.token)).status == 200


async def test_another_plan_takes_effect_at_once(app: Running, admin: Person) -> None:
    """An upgrade lifts the limit, a downgrade lowers it, with what was counted before."""
    person = await app.register()
    asked = [(await app.ask("GET", "/users/me", token=person.token)).status for _ in range(11)]
    assert asked == [200] * 10 + [429]
    await subscribe(app, admin, person, "pro")
    answer = await app.ask("GET", "/users/me", token=person.token)
    assert (answer.status, limits_of(answer)) == (200, (60, 49))
    await subscribe(app, admin, person, "free", occurred_at="2026-02-01T00:00:00Z")
    assert (await app.ask("GET", "/users/me", token=person.token)).status == 429


async def test_who_has_used_up_a_plan_can_buy_another(app: Running) -> None:
    """The calls that buy one count by address, and are let in."""
    person = await app.register()
    asked = [await app.ask("GET", "/users/me", token=person.token) for _ in range(11)]
    assert asked[-1].status == 429
    pages = {"success_url": "https://shop.example/paid", "cancel_url": "https://shop.example/plans"}
    answer = await app.ask("POST", "/billing/checkout", {"plan": "pro"} | pages, token=person.token)
    assert (answer.code, limits_of(answer)[0]) == ("not_configured", 200)
    for path, body in (
        ("/billing/portal", {"return_url": pages["cancel_url"]}),
        ("/billing/checkout/process", {"session_id": "cs_1"}),
    ):
        assert (await app.ask("POST", path, body, token=person.token)).code == "not_configured"


async def test_unlimited_says_nothing_of_it(app: Running, admin: Person) -> None:
    """A plan without a limit a day is under the limit a minute alone."""
    answer = await app.ask("GET", "/users/me", token=admin.token)
    assert answer.headers["ratelimit-policy"] == '"account-minute";q=300;w=60'


@pytest.mark.parametrize(
    ("method", "path"),
    [("GET", "/health"), ("GET", "/ready"), ("GET", "/metrics"), ("OPTIONS", "/users/me"), ("OPTIONS", "/metrics")],
)
async def test_some_count_for_nothing(app: Running, method: str, path: str) -> None:
    """What operators and browsers ask all the time uses nothing up, and says how the address stands like any other."""
    before = limits_of(await app.ask("GET", "/billing/plans"))
    answer = await app.ask(method, path)
    assert answer.status in (200, 204)
    assert limits_of(answer) == before


async def test_every_answer_says_how_limits_stand(app: Running) -> None:
    """Pages, documents, and refusals from the first to the last step."""
    media = {"Content-Type": "application/json"}
    for status, method, path, headers, body in (
        (200, "GET", "/docs", {}, b""),
        (200, "HEAD", "/openapi.json", {}, b""),
        (404, "GET", "/nothing", {}, b""),
        (405, "PUT", "/docs", {}, b""),
        (415, "POST", "/auth/login", {"Content-Type": "text/plain"}, b"{}"),
        (413, "POST", "/auth/login", media, b" " * 1_048_000),
        (400, "POST", "/auth/login", media, b"{}"),
    ):
        answer = await app.send(method, path, body, headers)
        assert (answer.status, limits_of(answer)[0]) == (status, 200)


async def test_what_never_became_a_request_says_it_too(app: Running) -> None:
    """Refusals of the HTTP parser: in the one error shape, with an id, and with the address's limit."""
    endless = b"GET / HTTP/1.1\r\nhost: x\r\nx: " + b"a" * HEADER_BYTES_MAX
    async with served(create_app(app.services)) as url:
        for status, data in ((400, b"nonsense\r\n\r\n"), (431, endless)):
            answer = await raw_request(url, data)
            assert (answer.status, answer.error["request_id"]) == (status, answer.headers["x-request-id"])
            shown = Answer(status=answer.status, json=None, headers=answer.headers)
            assert limits_of(shown)[0] == 200


async def test_headers_are_on_streams_and_errors(app: Running, admin: Person) -> None:
    """Whatever the answer turns out to be, it says how the limits stand."""
    credits = {"account_id": admin.id, "amount": "5", "reference": "for a stream"}
    assert limits_of(await app.ask("POST", "/billing/credits/add", credits, token=admin.token))[0] == 300
    for method, path, body in (
        ("GET", "/commands/nothing", None),
        ("POST", "/api-keys", {"wrong": True}),
        ("POST", "/v1/chat/completions", {"model": "none", "messages": [{"role": "user", "content": "x"}]}),
    ):
        answer = await app.ask(method, path, body, token=admin.token)
        assert answer.status >= 400
        assert limits_of(answer)[0] == 300


async def test_addresses_have_a_limit() -> None:
    """Without credentials, with wrong ones and on addresses that are none, requests count by address, together."""
    async with application(limits=True, anonymous_requests_per_minute=8) as app:
        person = await app.register()
        for status, ask in (
            (200, app.ask("GET", "/billing/plans")),
            (401, app.ask("GET", "/users/me")),
            (401, app.ask("GET", "/users/me", api_key="fs_live_nonsense")),
            (401, app.ask("POST", "/auth/login", {"email": person.email, "password": "wrong wrong wrong"})),
            (404, app.ask("GET", "/nothing/here")),
            (405, app.ask("DELETE", "/billing/plans")),
            (400, app.ask("POST", "/auth/login", {})),
        ):
            answer = await ask
            assert (answer.status, limits_of(answer)[0]) == (status, 8)
        for method, path in (("GET", "/billing/plans"), ("GET", "/users/me"), ("GET", "/nothing")):
            refused = await app.ask(method, path)
            assert (refused.code, refused.json["error"]["limit_name"]) == ("rate_limited", "address-minute")
        assert (await app.ask("GET", "/users/me", token=person.token)).status == 200


async def test_who_names_a_wrong_organization_counts_as_itself(app: Running) -> None:
    """What is refused for the account that it names is counted all the same: nobody searches for organizations free."""
    person = await app.register()
    key = await app.key(person)
    for number in range(9):
        organization = {"X-Organization": f"org_{number:032x}"}
        if number % 2:
            answer = await app.ask("GET", "/users/me", token=person.token, headers=organization)
            assert (answer.code, limits_of(answer)) == ("organization_not_found", (10, 8 - number))
        else:
            answer = await app.ask("GET", "/users/me", api_key=key["key"], headers=organization)
            assert (answer.code, limits_of(answer)) == ("key_bound", (10, 8 - number))
    for asked in ({"X-Organization": "org_none"}, {}):
        refused = await app.ask("GET", "/users/me", token=person.token, headers=asked)
        assert (refused.code, limits_of(refused)) == ("rate_limited", (10, 0))


async def test_contradicting_headers_count_by_address() -> None:
    """Two credentials, or one header twice, say nothing for sure about who asks: the address has a limit."""
    async with application(limits=True, anonymous_requests_per_minute=3) as app:
        person = await app.register()
        one = await app.ask("GET", "/users/me", token=person.token, api_key="fs_live_other")
        assert (one.code, limits_of(one)) == ("conflicting_credentials", (3, 1))
        two = CIMultiDict([("X-Organization", person.id), ("X-Organization", person.id)])
        for code, left in (("invalid_header", 0), ("rate_limited", 0)):
            answer = await app.ask("GET", "/users/me", token=person.token, headers=two)
            assert (answer.code, limits_of(answer)) == (code, (3, left))


async def test_without_limits() -> None:
    """Switched off, nothing is refused and nothing is said."""
    async with application() as app:
        person = await app.register()
        answers = [await app.ask("GET", "/users/me", token=person.token) for _ in range(30)]
        assert {answer.status for answer in answers} == {200}
        assert not [name for answer in answers for name in answer.headers if "ratelimit" in name]
        assert (await app.ask("GET", "/health")).json["limits"] is False


async def test_addresses_are_not_in_the_store() -> None:
    """Addresses are personal data: what counts them lies in the database and must not show them."""
    async with application(limits=True) as app:
        await app.ask("GET", "/billing/plans")
        await app.until(lambda: bool(app.store._rate_cells))
        assert not [subject for subject, _, _ in app.store._rate_cells if "127.0.0.1" in subject]


async def test_a_scope_can_have_a_limit_of_its_own() -> None:
    """Requests that need it meet the smaller limit, whoever of the account asks; others do not."""
    plans = load_plans()
    limited = replace(plans.free, scope_requests_per_minute={"billing:read": 2})
    async with application(limits=True, plans=Plans({**plans, "free": limited})) as app:
        person = await app.register()
        for left in (1, 0):
            answer = await app.ask("GET", "/billing/credits", token=person.token)
            assert (answer.status, limits_of(answer)) == (200, (2, left))
        refused = await app.ask("GET", "/billing/holds", token=person.token)
        assert (refused.status, refused.json["error"]["limit_name"]) == (429, "scope-minute")
        answer = await app.ask("GET", "/users/me", token=person.token)
        assert (answer.status, limits_of(answer)) == (200, (10, 7))
