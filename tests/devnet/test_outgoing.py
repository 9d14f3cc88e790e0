"""The outside, in one process with everything else: notices arrive, usage is told, and no request waits for either."""

import json
import time
from contextlib import AsyncExitStack

import aiohttp
import pytest
from msgspec import structs

from api.plans import Plans, load_plans
from devnet.__main__ import read_outside
from devnet.arguments import Common
from devnet.one_process import Devnet, devnet_settings
from devnet.provider import ProviderOptions
from devnet.seed import seed
from domain.money import parse_credits
from telemetry.environment import SettingsError
from tests.autumn import SECRET_KEY, running_autumn
from tests.crash.waiting import until_true
from tests.worker.outgoing.receiver import Receiver, receiving
from worker.outgoing import autumn
from worker.outgoing.relay import Relay

CHOSEN = Common(host="127.0.0.1", port=0, json=True, limits=True, local_model=False, upstream=None, log_level="warning")
SECRET = "a:qK0tX1uQH0m1bX8n3dHk5y3S0mJ1l2h9g8f7d6s5a4A="
CHAT = {"model": "fs-basic", "messages": [{"role": "user", "content": "Hello"}], "max_tokens": 8}


async def test_notices_and_usage_leave_devnet(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the demo data and chats cause is told; while Autumn hangs, chat goes on and nothing else is asked of it."""
    monkeypatch.setitem(Relay.__init__.__kwdefaults__ or {}, "attempt_s", 0.5)
    monkeypatch.setattr(autumn.AutumnUsage, "read_every_s", 0.2)
    async with AsyncExitStack() as stack:
        receiver = await stack.enter_async_context(receiving())
        server = await stack.enter_async_context(running_autumn())
        server.away = True
        outside = read_outside(
            {
                "FORMSTATE_WEBHOOK_URL": receiver.url,
                "FORMSTATE_WEBHOOK_SECRET": SECRET,
                "FORMSTATE_BILLING_PROVIDER": "autumn",
                "FORMSTATE_AUTUMN_SECRET_KEY": SECRET_KEY,
                "FORMSTATE_AUTUMN_API_URL": server.url,
            }
        )
        settings = devnet_settings(CHOSEN, None, outside.billing)
        devnet = Devnet(CHOSEN, settings, ProviderOptions(), outside.outgoing, _five_messages_a_day())
        await devnet.start(stack)
        seeded = await seed(devnet.url, devnet.grant_role)
        http = await stack.enter_async_context(aiohttp.ClientSession(devnet.url))
        await _tell_below_present_balance(http, seeded.user_token)
        cost = 0
        for _ in range(5):
            began = time.monotonic()
            headers = {"Authorization": f"Bearer {seeded.api_key}"}
            async with http.post("/v1/chat/completions", json=CHAT, headers=headers) as answer:
                assert answer.status == 200
                cost += parse_credits(answer.headers["X-Credits-Cost"])
            assert time.monotonic() - began < 5
        await until_true(lambda: server.asked["/v1/balances.track"] > 0, 10, "a call that hangs")
        assert set(server.asked) == {"/v1/balances.track"}
        assert not server.counted
        server.away = False
        counted = (seeded.account_id, "micro_credits")
        await until_true(lambda: server.counted[counted] == cost, 20, "all that was charged is counted")
        await until_true(lambda: len(_told(receiver, seeded.account_id)) >= 4, 10, "all notices")
    kinds = _told(receiver, seeded.account_id)
    assert kinds[0] == ("subscription.confirmed", "enterprise")
    assert sorted(kinds[1:], key=str) == [("credits.low", None), ("quota.reached", 100), ("quota.reached", 80)]
    assert kinds.index(("quota.reached", 80)) < kinds.index(("quota.reached", 100))


def _five_messages_a_day() -> Plans:
    shipped = load_plans()
    plans = dict(shipped) | {"enterprise": structs.replace(shipped["enterprise"], messages_per_day=5)}
    return Plans(plans, features=shipped.features, top_ups=shipped.top_ups)


async def _tell_below_present_balance(http: aiohttp.ClientSession, token: str) -> None:
    headers = {"Authorization": f"Bearer {token}"}
    async with http.get("/billing/credits", headers=headers) as answer:
        balance = (await answer.json())["balance"]
    async with http.patch("/billing/settings", json={"low_balance": balance}, headers=headers) as answer:
        assert answer.status == 200, await answer.text()


def _told(receiver: Receiver, account: str) -> list[tuple[str, object]]:
    """Type, and plan or level, of what came for an account, repeats left out."""
    own = {each.id: each for each in receiver.taken if each.data["account_id"] == account}
    bodies = [json.loads(each.body) for each in own.values()]
    return [(body["type"], body["data"].get("plan") or body["data"].get("level")) for body in bodies]


def test_what_is_wrong_outside_is_said() -> None:
    """As in production, each by its name; no secret is repeated."""
    with pytest.raises(SettingsError) as caught:
        read_outside(
            {
                "FORMSTATE_WEBHOOK_URL": "https://user:pass@example.com/",
                "FORMSTATE_WEBHOOK_SECRET": "a:short",
                "FORMSTATE_BILLING_PROVIDER": "autumn",
                "FORMSTATE_AUTUMN_SECRET_KEY": "secret-am_sk",
            }
        )
    said = str(caught.value)
    for name in ("WEBHOOK_URL", "WEBHOOK_SECRET", "AUTUMN_SECRET_KEY is malformed"):
        assert f"FORMSTATE_{name}" in said
    assert "secret-am_sk" not in said
    with pytest.raises(SettingsError, match="FORMSTATE_WEBHOOK_SECRET is missing"):
        read_outside({"FORMSTATE_WEBHOOK_URL": "https://example.com/hook"})
    assert "secret" not in repr(
        read_outside({"FORMSTATE_WEBHOOK_URL": "https://e.com/?secret", "FORMSTATE_WEBHOOK_SECRET": SECRET})
    )
