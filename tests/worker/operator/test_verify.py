"""`verify`: it notices whatever is changed behind the log's back, and any change of the log itself."""

import pytest

from domain.account.holds import PlaceHold, SettleHold
from domain.account.usage import Usage
from domain.erasure import BeginErasure, EraseUser
from domain.instant import HOUR
from eventstore.clock import system_clock
from eventstore.shards import shard_of
from tests.worker.operator.yard import PRICE, SHARDS, Yard, grant, register, role
from worker.operating import NotDone
from worker.verify import verify

pytestmark = pytest.mark.slow

HOME = shard_of("account:user_1", SHARDS)

# What was done to the database, and what `verify` calls it.
TAMPERINGS = {
    "payload": (
        """
        UPDATE events
        SET payload = replace(encode(payload, 'escape'), '"amount":1000000000', '"amount":2000000000')::bytea
        WHERE stream = 'account:user_1' AND version = 1
        """,
        ["mac: account:user_1: version 1 is not what was written there", "money: account:user_1 version 1"],
    ),
    "actor": (
        """
        UPDATE events SET metadata = replace(encode(metadata, 'escape'), 'user_operator_test', 'x')::bytea
        WHERE stream = 'account:user_1' AND version = 1
        """,
        ["mac: account:user_1: version 1"],
    ),
    "time": (
        "UPDATE events SET at = at - 1000000 WHERE stream = 'account:user_1' AND version = 2",
        ["mac: account:user_1: version 2", "time: account:user_1"],
    ),
    "event removed": (
        "DELETE FROM events WHERE stream = 'account:user_1' AND version = 2",
        ["version: account:user_1: 3 follows 1", f"sequence: shard {HOME}"],
    ),
    "last event removed": (
        """
        DELETE FROM events WHERE stream = 'account:user_1' AND version =
            (SELECT max(version) FROM events WHERE stream = 'account:user_1')
        """,
        ["head: account:user_1: says version", f"sequence: shard {HOME}"],
    ),
    "stream removed": (
        "DELETE FROM events WHERE stream = 'account:user_1'",
        ["head: account:user_1: says version", "the log has no event"],
    ),
    "snapshot": (
        """
        UPDATE stream_head SET snapshot = replace(encode(snapshot, 'escape'), '"balance":', '"balance":1')::bytea
        WHERE stream = 'account:user_1'
        """,
        ["snapshot: account:user_1: is not the state at version 2"],
    ),
    "broken snapshot": (
        "UPDATE stream_head SET snapshot = '{' WHERE stream = 'account:user_1'",
        ["snapshot: account:user_1: cannot be decoded"],
    ),
    "wake-up": (
        "UPDATE stream_head SET due_at = NULL WHERE stream = 'account:user_1'",
        ["head: account:user_1: is due at None"],
    ),
    "head removed": (
        "DELETE FROM stream_head WHERE stream = 'account:user_1'",
        ["head: account:user_1: there is none"],
    ),
    "document": (
        """UPDATE rm_holds SET doc = doc || '{"cost": 1}' WHERE key = (SELECT min(key) FROM rm_holds)""",
        ["read model: holds on shard", "(another document)", "money views: account:"],
    ),
    "document removed": (
        "DELETE FROM rm_transactions WHERE owner = 'user_1'",
        [f"read model: transactions on shard {HOME}", "(missing)", "its transactions sum to 0"],
    ),
    "refusal": ("UPDATE refusals SET code = 'x'", ["refusal: command-"]),
    "refusal removed": ("DELETE FROM refusals", ["refusal: command-", "is not on record"]),
    "document added": ("INSERT INTO rm_users VALUES (0, 'user_x', 'user_x', '', '{}')", ["user_x (surplus)"]),
    "owner": (
        "UPDATE rm_emails SET owner = 'user_2' WHERE owner = 'user_1'",
        ["read model: emails on shard", "another owner or sort"],
    ),
    "claim removed": (
        "DELETE FROM claims WHERE stream = 'user:user_1'",
        ["claim: user:user_1: its claim email is missing"],
    ),
    "claim taken": (
        "UPDATE claims SET stream = 'user:user_2' WHERE stream = 'user:user_1'",
        ["claim: user:user_1: its claim email is held by user:user_2"],
    ),
    "data key removed": (
        "DELETE FROM data_keys WHERE subject = 'user:user_1'",
        ["data key: user:user_1: its data key is missing"],
    ),
    "data key emptied": (
        "UPDATE data_keys SET master_id = '', wrapped = '' WHERE subject = 'user:user_1'",
        ["data key: user:user_1: its data key was erased, which the log does not say"],
    ),
    "outcome removed": (
        """
        DELETE FROM outcomes WHERE command_id =
            (SELECT metadata->>'command_id' FROM events_readable WHERE stream = 'account:user_1' AND version = 1)
        """,
        ["outcome: account:user_1 version 1", "no outcome"],
    ),
    "outcome changed": (
        """
        UPDATE outcomes SET status = 'rejected' WHERE command_id =
            (SELECT metadata->>'command_id' FROM events_readable WHERE stream = 'account:user_1' AND version = 1)
        """,
        ["outcome: account:user_1 version 1", "rejected"],
    ),
}


async def _history(yard: Yard) -> None:
    """Some accounts, and one with a snapshot and an open hold."""
    await yard.fill(accounts=4, operations=30)
    assert (await yard.apply("user:nobody", role("admin"))).status == "rejected"
    hold = PlaceHold(
        hold_id="hold_open",
        amount=10,
        amount_min=10,
        model="small",
        price=PRICE,
        expires_at=system_clock() + HOUR,
        key_id=None,
    )
    last = [await yard.ask("account:user_1", grant("user_1", f"many{n}", 1_000)) for n in range(210)]
    await yard.outcome(last[-1])
    await yard.apply("account:user_1", hold)


async def test_what_workers_wrote_has_no_difference(yard: Yard) -> None:
    """The summary counts what was looked at."""
    async with yard.working():
        await _history(yard)
        said = await verify(yard.settings)
    assert "no difference" in said
    assert "8 streams" in said
    assert await verify(yard.settings, shard=HOME)


@pytest.mark.parametrize("how", TAMPERINGS)
async def test_tampering_is_found(yard: Yard, how: str) -> None:
    """Each change that SQL alone has made is named with its place."""
    async with yard.working():
        await _history(yard)
    sql, named = TAMPERINGS[how]
    assert "no difference" in await verify(yard.settings)
    await yard.rows(sql)
    with pytest.raises(NotDone) as refusal:
        await verify(yard.settings)
    for each in named:
        assert each in str(refusal.value)


async def test_what_was_erased_is_no_difference(yard: Yard) -> None:
    """The address is free again, the key's place stays; an erasure that was begun keeps memberships to itself."""
    async with yard.working():
        for user in ("user_1", "user_2"):
            await yard.apply(f"user:{user}", register(user))
            begun = BeginErasure(user_id=user, erasure_id=f"erasure_{user}")
            await yard.apply(f"user:{user}", begun)
        await yard.apply("user:user_1", EraseUser(erasure_id="erasure_user_1"))
    assert "no difference" in await verify(yard.settings)
    await yard.rows("DELETE FROM claims WHERE stream = 'user:user_2' AND kind = 'memberships'")
    await yard.rows("DELETE FROM data_keys WHERE subject = 'user:user_1'")
    with pytest.raises(NotDone) as refusal:
        await verify(yard.settings)
    assert "claim: user:user_2: its claim memberships is missing" in str(refusal.value)
    assert "data key: user:user_1: its data key is missing" in str(refusal.value)


async def test_a_command_applied_twice_is_found(yard: Yard) -> None:
    """I1: were a lost outcome to let a command in again, its two places in the stream would be named."""
    async with yard.working():
        await yard.apply("user:user_1", register("user_1"))
        once = await yard.ask("user:user_1", role("developer"))
        await yard.outcome(once)
        await yard.apply("user:user_1", role("user"))
        await yard.rows("DELETE FROM outcomes WHERE command_id = $1", once.header.id)
        await yard.send(once)
        await yard.outcome(once)
    with pytest.raises(NotDone, match=rf"applied twice: user:user_1: {once.header.id} at versions \[2, 4\]"):
        await verify(yard.settings)


async def test_what_was_due_belongs_to_no_command(yard: Yard) -> None:
    """An expired hold is noticed by a command that is itself refused: its events are no contradiction."""
    async with yard.working():
        await yard.apply("account:user_1", grant("user_1", "a"))
        short = PlaceHold(
            hold_id="hold_short",
            amount=10,
            amount_min=10,
            model="small",
            price=PRICE,
            expires_at=system_clock() + 50_000,
            key_id=None,
        )
        await yard.apply("account:user_1", short)
        refused = SettleHold(hold_id="hold_unknown", usage=Usage(source="none"))
        while not await yard.rows("SELECT 1 FROM events WHERE type = 'hold.closed'"):
            assert (await yard.apply("account:user_1", refused)).status == "rejected"
        assert "no difference" in await verify(yard.settings)


async def test_it_agrees_with_a_live_system(yard: Yard) -> None:
    """Each shard is seen as of one moment, so nothing seems wrong while workers write."""
    async with yard.working():
        await yard.fill()
        async with yard.load(accounts=10) as sent:
            for _ in range(4):
                assert "no difference" in await verify(yard.settings)
        assert len(sent) > 50


@pytest.mark.parametrize(
    ("key_id", "said"),
    [
        ("m1", "is not what was written there"),
        ("m2", "is signed with the key 'm1', which is not among FORMSTATE_LOG_MAC_KEYS"),
    ],
)
async def test_another_key_verifies_nothing(yard: Yard, key_id: str, said: str) -> None:
    """Without the key by which they were signed, no event passes; a key that we do not have is named."""
    async with yard.working():
        await yard.apply("account:user_1", grant("user_1", "a"))
    settings = type(yard.settings)(
        database_url=yard.settings.database_url,
        kafka_bootstrap_servers=(),
        log_mac_keys={key_id: b"another-key-another-key-another-"},
    )
    with pytest.raises(NotDone, match=f"mac: account:user_1: version 1 {said}"):
        await verify(settings)


async def test_an_unknown_shard_is_refused(yard: Yard) -> None:
    """A number beyond the last shard is named with what there is."""
    with pytest.raises(NotDone, match="there is no shard 99; there are 4, from 0"):
        await verify(yard.settings, shard=99)
