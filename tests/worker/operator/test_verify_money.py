"""`verify` and money: each of its proofs finds the one row that breaks it, and names the account."""

import pytest

from domain.account.holds import PlaceHold, ReleaseHold, SettleHold
from domain.account.usage import Usage, cost
from domain.instant import HOUR, SECOND, Instant
from eventstore.clock import system_clock
from eventstore.postgres.migrations import connect
from eventstore.shards import shard_of
from tests.crash.waiting import until
from tests.worker.operator.yard import PRICE, SHARDS, Yard, grant
from worker.findings import Findings
from worker.operating import NotDone
from worker.verify import verify
from worker.verify_views import compare_views

pytestmark = pytest.mark.slow

HOME = shard_of("account:user_0", SHARDS)
USED = Usage(source="provider", input=600, output=200)

# What was done to which table, and what `verify` says of it.
BROKEN: dict[str, tuple[str, str, list[str]]] = {
    "a balance": (
        "rm_credits",
        """UPDATE rm_credits SET doc = doc || '{"balance": 7}' WHERE owner = 'user_0'""",
        ["read model: credits", "money views: account:user_0: the balance is 7, its transactions sum to"],
    ),
    "a debt": (
        "rm_credits",
        """UPDATE rm_credits SET doc = doc || '{"debt": 5}' WHERE owner = 'user_0'""",
        ["the debt is 5, transactions leave 0 owed", "5 is owed although"],
    ),
    "what is left of a grant": (
        "rm_credits",
        """UPDATE rm_credits SET doc = jsonb_set(doc, '{grants,0,remaining}', '3') WHERE owner = 'user_0'""",
        ["money views: account:user_0: the balance is", "its grants have"],
    ),
    "a transaction": (
        "rm_transactions",
        "DELETE FROM rm_transactions WHERE key = (SELECT min(key) FROM rm_transactions WHERE doc->>'kind' = 'charge')",
        ["its transactions sum to", "the holds came to", "the usage by day", "the usage by quarter hour"],
    ),
    "a hold that is not there": (
        "rm_holds",
        "DELETE FROM rm_holds WHERE key = (SELECT min(key) FROM rm_holds WHERE doc->>'status' = 'settled')",
        ["holds were placed,", "holds ended"],
    ),
    "a hold that came to life": (
        "rm_holds",
        """
        UPDATE rm_holds SET doc = doc - 'status' WHERE key =
            (SELECT min(key) FROM rm_holds WHERE doc->>'status' = 'settled')
        """,
        ["is held, the open holds sum to", "holds ended"],
    ),
    "a correction that never was": (
        "rm_holds",
        """
        UPDATE rm_holds SET doc = doc || '{"corrected": true}' WHERE key = (SELECT min(key) FROM rm_holds)
        """,
        ["holds were corrected 0 times, 1 are corrected"],
    ),
    "usage of a day": (
        "rm_usage_days",
        """
        UPDATE rm_usage_days SET doc = jsonb_set(doc, '{earlier_sum}', '"[0,0,0,0,0,0,0,0,0,0,1,0]"')
        WHERE key = (SELECT min(key) FROM rm_usage_days)
        """,
        ["read model: usage_days", "transactions charge", "the usage by day"],
    ),
    "usage of half an hour": (
        "rm_usage_days",
        """
        UPDATE rm_usage_days SET doc = jsonb_set(doc, '{earlier}', '"[0,0,0,0,0,0,0,0,0,0,0,1,0]"')
        WHERE key = (SELECT min(key) FROM rm_usage_days)
        """,
        ["transactions charge", "the usage by half hour"],
    ),
    "usage of the last half hour": (
        "rm_usage_days",
        "UPDATE rm_usage_days SET doc = doc - 'last' - 'earlier' - 'earlier_sum'",
        ["transactions charge", "the usage by day 0", "the usage by half hour 0"],
    ),
    "usage by key and user": (
        "rm_usage_quarters",
        "DELETE FROM rm_usage_quarters",
        ["(missing)", "the usage by key and user 0", "the usage by quarter hour 0"],
    ),
    "usage of a quarter hour": (
        "rm_usage_quarters",
        """UPDATE rm_usage_quarters SET doc = doc || '{"last": "", "earlier": "[0,0,0,0,0,0,0,0,0,0,0,7,0]"}'""",
        ["read model: usage_quarters", "the usage by key and user 0", "the usage by quarter hour 14"],
    ),
    "what tokens cost": (
        "events",
        """
        UPDATE events SET payload =
            regexp_replace(encode(payload, 'escape'), '"cost":[0-9]+', '"cost":77777')::bytea
        WHERE type = 'hold.closed' AND encode(payload, 'escape') LIKE '%"how":"settled"%'
        """,
        ["at the hold's price, it says 77777", "costs 77777, of which"],
    ),
    "what was burnt": (
        "events",
        """
        UPDATE events SET payload =
            regexp_replace(encode(payload, 'escape'), '"charged":[0-9]+', '"charged":77777')::bytea
        WHERE type = 'hold.closed' AND encode(payload, 'escape') LIKE '%"how":"settled"%'
        """,
        ["grants gave", "it charges 77777"],
    ),
}


async def test_each_row_that_breaks_the_sums_is_found(yard: Yard) -> None:
    """One after the other, on the same accounts; put back as it was, everything is right again."""
    async with yard.working():
        await yard.fill(accounts=1, operations=16)
        await yard.apply("account:user_0", grant("user_0", "more", 9_000))
    for what, (table, sql, named) in BROKEN.items():
        await yard.rows(f"CREATE TABLE kept AS TABLE {table}")
        await yard.rows(sql)
        with pytest.raises(NotDone) as refusal:
            await verify(yard.settings, shard=HOME)
        for each in named:
            assert each in str(refusal.value), what
        await yard.rows(f"TRUNCATE {table}")
        await yard.rows(f"INSERT INTO {table} TABLE kept")
        await yard.rows("DROP TABLE kept")
    assert "no difference" in await verify(yard.settings, shard=HOME)


async def test_usage_in_several_slots_adds_up(yard: Yard) -> None:
    """As after hours of use: what the last slots have is moved to earlier ones, which must count the same."""
    async with yard.working():
        await yard.fill(accounts=1, operations=16)
    for table in ("rm_usage_days", "rm_usage_quarters"):
        await yard.rows(
            f"""
            UPDATE {table} SET doc = doc || jsonb_build_object(
                'earlier', doc->>'last',
                'earlier_sum', ((doc->>'last')::jsonb - 0)::text,
                'last', '[95,0,0,0,0,0,0,0,0,0,0,0,0]'
            )
            """  # noqa: S608  # two names of our own
        )
    findings = Findings()
    connection = await connect(yard.settings.database_url)
    await compare_views(connection, HOME, findings, shown_max=10)
    await connection.close()
    assert findings.shown == []


async def test_corrections_of_both_kinds_add_up(yard: Yard) -> None:
    """A settle that comes after its hold ran out, and a release after the settle; then one of them changed."""
    stream = "account:user_0"
    async with yard.working():
        await yard.apply(stream, grant("user_0", "first", 50_000))
        late, back = (
            _hold(hold_id, system_clock() + length) for hold_id, length in (("late", 3 * SECOND), ("back", HOUR))
        )
        for command in (
            late,
            back,
            SettleHold(hold_id="back", usage=USED),
            ReleaseHold(hold_id="back", reason="taken back"),
        ):
            assert (await yard.apply(stream, command)).status == "applied"
        await until(lambda: yard.rows("SELECT FROM rm_holds WHERE doc->>'status' = 'expired'"), 30, "the hold's end")
        assert (await yard.apply(stream, SettleHold(hold_id="late", usage=USED, latency_ms=9))).status == "applied"
    amounts = await yard.rows("SELECT doc->>'amount' AS amount FROM rm_transactions WHERE doc->>'kind' = 'correction'")
    assert {int(row["amount"]) for row in amounts} == {-cost(USED, PRICE), cost(USED, PRICE)}
    assert "no difference" in await verify(yard.settings, shard=HOME)
    await yard.rows("UPDATE rm_transactions SET doc = doc || '{\"amount\": 7}' WHERE doc->>'kind' = 'correction'")
    with pytest.raises(NotDone) as refusal:
        await verify(yard.settings, shard=HOME)
    assert "its transactions sum to" in str(refusal.value)
    assert "the holds came to" in str(refusal.value)


def _hold(hold_id: str, expires_at: Instant) -> PlaceHold:
    return PlaceHold(
        hold_id=hold_id,
        amount=5_000,
        amount_min=5_000,
        model="small",
        price=PRICE,
        expires_at=expires_at,
        key_id=None,
    )
