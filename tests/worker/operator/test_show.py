"""`show`: an account as the log has it, now and at any moment before."""

import pytest

from domain.account.holds import PlaceHold, ReportProgress
from domain.account.usage import Usage
from domain.instant import HOUR
from eventstore.clock import system_clock
from eventstore.postgres.pool import OPERATOR
from eventstore.postgres.store import PostgresStore
from eventstore.shards import shard_of
from tests.worker.operator.yard import PRICE, Yard, grant, register, role
from worker.operating import NotDone
from worker.rfc3339 import format_instant, parse_instant
from worker.show import describe, show


def _hold(hold_id: str, length: int) -> PlaceHold:
    return PlaceHold(
        hold_id=hold_id,
        amount=250_000,
        amount_min=250_000,
        model="small",
        price=PRICE,
        expires_at=system_clock() + length,
        key_id=None,
    )


async def test_an_account_and_its_user_are_shown(yard: Yard) -> None:
    """Money, grants, holds, keys, role, and the last events with who caused them."""
    async with yard.working():
        await yard.apply("user:user_1", register("user_1"))
        await yard.apply("user:user_1", role("developer"))
        await yard.apply("account:user_1", grant("user_1", "a", 2_000_000))
        await yard.apply("account:user_1", _hold("hold_1", HOUR))
        said = await show(yard.settings, subject="user_1")
    assert "account:user_1 at" in said
    assert "balance 2.000000, held 0.250000, available 1.750000, debt 0.000000" in said
    assert "grant_user_1_a: 2.000000 left, from test, priority 100" in said
    assert "hold_1: 0.250000 for small" in said
    assert "plan free, active, period until never" in said
    assert "role developer, registered" in said
    assert "hold.placed" in said
    assert "by user user_operator_test  command command-" in said
    assert "sealed" not in said


async def test_an_account_is_shown_as_it_was(yard: Yard) -> None:
    """The state at a moment is that of the events up to it, whatever came later."""
    async with yard.working():
        first = await yard.apply("account:user_1", grant("user_1", "a", 1_000_000))
        between = format_instant(first.at)
        while system_clock() <= first.at:
            pass
        await yard.apply("account:user_1", grant("user_1", "b", 5_000_000))
        assert "balance 1.000000" in await show(yard.settings, subject="user_1", at=between)
        assert "version 1 of 2" in await show(yard.settings, subject="user_1", at=between)
        assert "balance 0.000000" in await show(yard.settings, subject="user_1", at="2020-01-01T00:00:00Z")
        assert "balance 6.000000" in await show(yard.settings, subject="account:user_1", events=0)


async def test_what_was_due_by_then_is_counted(yard: Yard) -> None:
    """A hold that ran out before the moment is over in it, charged at its last progress, though nobody wrote it yet."""
    async with yard.working():
        await yard.apply("account:user_1", grant("user_1", "a", 1_000_000))
        await yard.apply("account:user_1", _hold("hold_1", HOUR))
        usage = Usage(source="estimated", input=100)
        await yard.apply("account:user_1", ReportProgress(hold_id="hold_1", usage=usage))
        store = await PostgresStore.open(yard.settings.database_url, OPERATOR, connections_max=1)
        head = await store.head(shard_of("account:user_1", await store.shards()), "account:user_1")
        assert head is not None
        said = "\n".join(await describe(store, head, system_clock() + 2 * HOUR, events_max=5))
        await store.close()
    assert "balance 0.999900, held 0.000000" in said
    assert "not written before the next command: hold.closed" in said


async def test_what_has_not_come_is_not_shown(yard: Yard) -> None:
    """Today's figures are not those of tomorrow: what will be used until then nobody knows."""
    tomorrow = format_instant(system_clock() + 24 * HOUR)
    with pytest.raises(NotDone, match="lies in the future"):
        await show(yard.settings, subject="user_1", at=tomorrow)


async def test_nobody_is_told_so(yard: Yard) -> None:
    """A subject of which nothing was ever written is not shown as an empty account, nor any at a time of no zone."""
    with pytest.raises(NotDone, match="nothing was ever written about user_2"):
        await show(yard.settings, subject="user_2")
    with pytest.raises(NotDone, match="no time zone"):
        await show(yard.settings, subject="user_2", at="2026-07-01T12:00:00")


@pytest.mark.parametrize("text", ["yesterday", "2026-07-01T12:00:00", "2026-13-01T12:00:00Z"])
async def test_a_time_must_be_rfc_3339(text: str) -> None:
    """Anything that could mean two moments is refused."""
    with pytest.raises(ValueError, match=r"is no RFC 3339 time|has no time zone"):
        parse_instant(text)


def test_a_time_comes_back_as_it_was() -> None:
    """No microsecond is lost between the two."""
    assert format_instant(parse_instant("2026-07-01T12:00:00.123457Z")) == "2026-07-01T12:00:00.123457Z"
    assert parse_instant("2026-07-01T14:00:00+02:00") == parse_instant("2026-07-01T12:00:00Z")
