"""A suspended account: what runs is settled, nothing new begins, not even where the suspension is not known yet."""

from domain.account.standing import ResumeAccount, SuspendAccount
from tests.api.gateway.account import until
from tests.api.gateway.place import Place

SUSPEND = SuspendAccount(reason_sealed="r")


async def test_a_stream_under_way_is_delivered_and_settled(place: Place) -> None:
    """The suspension comes in mid-stream; the client gets all of it and pays for it, and then nothing more."""
    account = await place.account()
    messages = [{"role": "user", "content": "Hi [[tokens=60]] [[tps=200]]"}]
    body = {"model": "fs-basic", "messages": messages, "stream": True}
    headers = {"Authorization": f"Bearer {account.key}"}
    async with place.http.post(f"{place.url}/v1/chat/completions", json=body, headers=headers) as response:
        assert response.status == 200
        first = await response.content.readany()
        await account.tell(SUSPEND)
        rest = await response.content.read()
    assert b"data: [DONE]" in first + rest
    [hold] = await account.ended()
    assert (hold.status, hold.usage is not None and hold.usage.output) == ("settled", 60)
    credits = await account.credits()
    assert (credits.held, credits.balance) == (0, 10_000_000 - hold.cost)

    async def unknown() -> bool:
        return f"account:{account.id}" not in place.services.identities.cache._of

    await until(unknown)
    refused = await account.chat("Again")
    assert (refused.status, refused.error["code"]) == (403, "account_suspended")


async def test_no_hold_is_placed_where_the_suspension_is_not_known_yet(place: Place) -> None:
    """The account's single writer knows: the client is refused, nothing is held or charged, and resuming cures it."""
    account = await place.account()
    assert (await account.chat("Hello")).status == 200
    [before] = await account.ended()
    await place.services.identities.stop()  # it goes on trusting what it has cached, for 30 s
    try:
        await account.tell(SUSPEND)
        refused = await account.chat("Again", headers={"Idempotency-Key": "k"})
        assert (refused.status, refused.error["code"]) == (403, "account_suspended")
        assert await account.holds() == [before]
        await place.left()
        await account.tell(ResumeAccount())
        assert (await account.chat("Again", headers={"Idempotency-Key": "k"})).status == 200
    finally:
        await place.services.identities.start()
