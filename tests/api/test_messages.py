"""What a refusal says: which words are allowed, never a regular expression."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.api.billing.paying import Shop, shop_open


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shop() -> AsyncIterator[Shop]:
    """An application that sells, for this module's tests."""
    async with shop_open() as opened:
        yield opened


pytestmark = pytest.mark.asyncio(loop_scope="module")
PAGES = {"success_url": "https://shop.example/paid", "cancel_url": "https://shop.example/plans"}


async def test_group_by_400(shop: Shop) -> None:
    """A wrong `group_by` is told which words there are; those of a key are fewer."""
    token = (await shop.app.register()).token
    answer = await shop.app.ask("GET", "/billing/usage?group_by=colour", token=token)
    assert (answer.status, answer.json["error"]["param"]) == (400, "group_by")
    assert answer.json["error"]["message"] == (
        "group_by is one or several of model, api_key, project, user, operation, agent, and at most one of hour, day,"
        " quarter; each once, separated by commas."
    )
    key = (await shop.app.ask("POST", "/api-keys", {"name": "k"}, token=token)).json["id"]
    of_key = await shop.app.ask("GET", f"/api-keys/{key}/usage?group_by=user", token=token)
    assert (of_key.status, of_key.json["error"]["param"]) == (400, "group_by")
    assert "one or several of model, operation, agent, and" in of_key.json["error"]["message"]


async def test_invalid_url_400(shop: Shop) -> None:
    """An address that no browser may be sent to is told what it must be."""
    token = (await shop.app.register()).token
    body = PAGES | {"plan": "pro", "cancel_url": "http://shop.example/"}
    error = (await shop.app.ask("POST", "/billing/checkout", body, token=token)).json["error"]
    assert (error["code"], error["param"]) == ("invalid_url", "cancel_url")
    assert error["message"].startswith("cancel_url must be an absolute https:// address")


async def test_session_id_400(shop: Shop) -> None:
    """What is no id of a checkout is told where one comes from."""
    token = (await shop.app.register()).token
    error = (await shop.app.ask("POST", "/billing/checkout/process", {"session_id": "a b"}, token=token)).json["error"]
    assert (error["code"], error["param"]) == ("invalid_request", "session_id")
    assert "POST /billing/checkout" in error["message"]
