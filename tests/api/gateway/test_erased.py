"""A user who is erased while a request of theirs is under way: what was delivered is charged all the same."""

from tests.api.gateway.account import until
from tests.api.gateway.place import Place


async def test_a_stream_of_an_erased_user_is_settled(place: Place) -> None:
    """Nothing can be sealed for the user any more, and the settle goes without an origin; the key ends at once."""
    account = await place.account()
    messages = [{"role": "user", "content": "Hi [[tokens=60]] [[tps=200]]"}]
    body = {"model": "fs-basic", "messages": messages, "stream": True}
    headers = {"Authorization": f"Bearer {account.key}"}
    async with place.http.post(f"{place.url}/v1/chat/completions", json=body, headers=headers) as response:
        assert response.status == 200
        first = await response.content.readany()
        own = {"Authorization": f"Bearer {account.token}"}
        async with place.http.delete(f"{place.url}/users/me", headers=own) as erased:
            assert erased.status == 200, await erased.text()
        rest = await response.content.read()
    assert b"data: [DONE]" in first + rest
    [hold] = await account.ended()
    assert (hold.status, hold.usage is not None and (hold.usage.source, hold.usage.output)) == (
        "settled",
        ("provider", 60),
    )

    async def ended() -> bool:
        return (await account.chat("Again")).status == 401

    await until(ended, bound_s=1.0)
