"""A worker that was given other secrets than the log was written with works on nothing."""

from eventstore.codec import MacChain
from tests.worker.operator.yard import MAC_KEYS, Yard, grant
from worker.mac_keys import why_other_keys

OTHER = b"another-key-another-key-another-"


async def why(yard: Yard, **keys: bytes) -> str | None:
    """What is said of these keys."""
    return await why_other_keys(yard.store.pool, MacChain(keys))


async def test_another_secret_under_the_same_id_is_told(yard: Yard) -> None:
    """Also where a good one has been put before it; an empty log takes any."""
    assert await why(yard, m1=OTHER) is None
    async with yard.working():
        for number in range(3):
            await yard.apply("account:user_1", grant("user_1", f"a{number}"))
            await yard.apply(f"account:user_{number}", grant(f"user_{number}", "b"))
    for keys in ({"m1": OTHER}, {"m2": MAC_KEYS["m1"], "m1": OTHER}):
        said = await why(yard, **keys)
        assert said is not None
        assert "FORMSTATE_LOG_MAC_KEYS" in said


async def test_keys_that_follow_are_fine(yard: Yard) -> None:
    """A new id, with the old key or without it; and one event that was changed stops nobody."""
    async with yard.working():
        await yard.apply("account:user_1", grant("user_1", "a"))
        await yard.apply("account:user_2", grant("user_2", "a"))
    assert await why(yard, m2=OTHER, **MAC_KEYS) is None
    assert await why(yard, m2=OTHER) is None
    await yard.rows("UPDATE events SET at = at - 1 WHERE stream = 'account:user_1'")
    assert await why(yard, **MAC_KEYS) is None
