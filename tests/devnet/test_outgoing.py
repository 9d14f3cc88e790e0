"""The outside, in one process with everything else: notices arrive, usage is told, and no request waits for either."""

from contextlib import AsyncExitStack

import pytest

from devnet.__main__ import read_outside
from devnet.arguments import Common
from devnet.one_process import Devnet, devnet_settings
from devnet.provider import ProviderOptions
from devnet.seed import seed
from telemetry.environment import SettingsError
from tests.crash.waiting import until_true
from tests.worker.outgoing.receiver import receiving

CHOSEN = Common(host="127.0.0.1", port=0, json=True, limits=True, local_model=False, upstream=None, log_level="warning")
SECRET = "a:qK0tX1uQH0m1bX8n3dHk5y3S0mJ1l2h9g8f7d6s5a4A="


async def test_notices_leave_devnet() -> None:
    """What the demo data causes is told."""
    async with AsyncExitStack() as stack:
        receiver = await stack.enter_async_context(receiving())
        outside = read_outside({"FORMSTATE_WEBHOOK_URL": receiver.url, "FORMSTATE_WEBHOOK_SECRET": SECRET})
        devnet = Devnet(CHOSEN, devnet_settings(CHOSEN, None, outside.billing), ProviderOptions(), outside.outgoing)
        await devnet.start(stack)
        seeded = await seed(devnet.url, devnet.grant_role)
        await until_true(lambda: len(receiver.taken) == 2, 10, "both notices")
        assert {each.data["account_id"] for each in receiver.taken} > {seeded.account_id}


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
