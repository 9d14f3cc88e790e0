"""What eligibility answers is what the gateway then does: the same refusal, with the same way out."""

import itertools
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest
import pytest_asyncio
from msgspec.structs import replace

from api.llm_models import LlmModels
from api.plans import Plans, TopUp, load_plans
from devnet.provider import Running
from domain.account.standing import SuspendAccount
from domain.account.usage import Price
from tests.api.gateway.account import Account
from tests.api.gateway.place import Place, models_at, running_place, with_models

SHIPPED = load_plans()
ANSWER_TOKENS = 100
FIELDS = ("missing", "upgrade", "price", "checkout", "resets_at")


def plans() -> Plans:
    """Free with two messages a day, and top-ups."""
    free = replace(SHIPPED.free, messages_per_day=2, requests_per_minute=None, requests_per_day=None)
    top_ups = {
        name: TopUp(id=name, title=name, price=amount, credits=amount)
        for name, amount in (("small", 1_000_000), ("large", 50_000_000))
    }
    return Plans({**SHIPPED, "free": free}, features=SHIPPED.features, top_ups=top_ups)


def models(provider: Running) -> LlmModels:
    """Besides the usual ones a model of which every token costs the same."""
    flat = Price(input=4_000_000, cached_input=4_000_000, output=4_000_000, version="flat")
    usual = models_at(provider)
    basic = usual["foreign"]
    advanced = replace(basic, id="advanced", price=flat, requires="advanced_models")
    return with_models(usual, replace(basic, id="flat", price=flat), advanced)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def place() -> AsyncIterator[Place]:
    """The whole product, with limits on."""
    async with running_place(plans=plans(), models=models, limits=True) as started:
        yield started


pytestmark = pytest.mark.asyncio(loop_scope="module")


async def ask(account: Account, status: int = 200, **body: Any) -> Any:
    """The answer to a question."""
    headers = {"Authorization": f"Bearer {account.key}"}
    async with account.place.http.post(f"{account.place.url}/billing/eligibility", json=body, headers=headers) as got:
        assert got.status == status, await got.text()
        return await got.json()


def request(model: str) -> dict[str, Any]:
    """A chat, and beside it how many tokens its hold reckons with at most."""
    text = "Hello there, how are you?"
    return {"model": model, "messages": [{"role": "user", "content": text}], "max_tokens": ANSWER_TOKENS}


async def suspend(place: Place, account: Account) -> None:
    """As an admin does."""
    await account.tell(SuspendAccount(reason_sealed="s"))
    place.services.identities.cache.stamped((f"account:{account.id}",))


CASES = list(
    itertools.product(
        ("0", "0.0001", "5"),
        ("flat", "free", "advanced", "unpriced", "nothing"),
        (0, 2),
        (False, True),
    )
)


@pytest.mark.parametrize(("credits", "model", "sent", "suspended"), CASES)
async def test_the_gateway_does_what_was_said(
    place: Place, credits: str, model: str, sent: int, suspended: bool
) -> None:
    """Refused with the code and the fields that the question was answered with, or let in."""
    account = await place.account(credits)
    for _ in range(sent):
        assert (await account.post(request("free"))).status == 200
    if suspended:
        await suspend(place, account)
    body = request(model)
    size = len(msgspec.json.encode(body)) + ANSWER_TOKENS
    said = await ask(account, model=model, tokens=size)
    answer = await account.post(body)
    assert said["allowed"] == (answer.status == 200), (said, answer.body)
    if said["allowed"]:
        assert (said["reason"], said["missing"], said["checkout"]) == (None, None, None)
        return
    error = answer.error
    assert said["reason"] == error["code"]
    shown = {name: said[name] for name in FIELDS if name != "missing"}
    assert shown == {name: error.get(name, [] if name == "upgrade" else None) for name in shown}
    assert (said["missing"] or {}).keys() == error.get("missing", {}).keys()


async def test_credits_are_sold_as_top_up(place: Place) -> None:
    """The cheapest that is enough, or else a plan that grants some each month."""
    account = await place.account("0")
    said = await ask(account, model="flat", tokens=1_000)
    assert (said["reason"], said["missing"]) == ("insufficient_credits", {"credits": "0.004000"})
    assert (said["cost"], said["available"]) == ("0.004000", "0.000000")
    assert said["checkout"] is None, "nobody takes the money here"
    assert said["price"] == {"amount": "1.000000", "currency": "USD", "period": None, "per_seat": False}
    said = await ask(account, model="flat", tokens=1_000_000)
    assert (said["price"]["amount"], said["upgrade"]) == ("50.000000", ["team", "pro"])


async def test_a_keys_own_limit_is_known(place: Place) -> None:
    """What the key has spent counts, whatever the account has."""
    account = await place.account("5")
    bearer = {"Authorization": f"Bearer {account.token}"}
    body = {"name": "limited", "credit_limit": {"amount": "0.001", "period": "day"}}
    async with place.http.post(f"{place.url}/api-keys", json=body, headers=bearer) as answer:
        account.key = (await answer.json())["key"]
    assert (await ask(account, model="flat", tokens=250))["allowed"]
    assert (await account.post(request("flat"))).status == 200
    said = await ask(account, model="flat", tokens=250)
    assert (said["allowed"], said["reason"]) == (False, "key_credit_limit_exceeded")
    assert said["resets_at"].endswith("T00:00:00Z")


async def test_features_and_agents(place: Place) -> None:
    """A feature by the plan; of agents there are none yet, and the plan's room for them is told."""
    account = await place.account("0")
    assert (await ask(account, feature="basic_models", amount=5))["allowed"]
    said = await ask(account, feature="audit_logs")
    assert (said["reason"], said["upgrade"], said["checkout"]) == ("feature_not_in_plan", ["enterprise"], None)
    assert (await ask(account, feature="flying"))["reason"] == "feature_not_found"
    said = await ask(account, agent="agent_1")
    assert (said["allowed"], said["reason"]) == (False, "agent_not_found")
    assert said["slots"] == {"limit": 1, "used": 0, "remaining": 1}


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"tokens": 5},
        {"model": "flat", "feature": "sso"},
        {"model": "flat", "tokens": 0},
        {"model": "flat", "amount": 3},
        {"feature": "sso", "tokens": 3},
        {"feature": "sso", "amount": 0},
        {"model": "flat", "tokens": 10**10},
        {"model": 3},
        {"colour": "red"},
    ],
)
async def test_400_questions(place: Place, body: Any) -> None:
    """What asks for nothing, or for two things, or in numbers that are none."""
    account = await place.account("0")
    assert (await ask(account, 400, **body))["error"]["code"] in ("invalid_question", "invalid_request")


async def test_asking_changes_nothing(place: Place) -> None:
    """No hold, no message, no event."""
    account = await place.account("5")
    before = place.log.seen.copy()
    assert (await ask(account, model="flat", tokens=10))["allowed"]
    assert place.log.seen == before
    assert (await account.holds(), (await account.credits()).messages) == ([], None)
