"""`deliveries`: what the outside has not taken is seen, sent again, forgotten, or made once more of the log."""

import argparse
from dataclasses import replace

import pytest

from domain.account.subscription import ConfirmSubscription
from eventstore.clock import system_clock
from tests.autumn import SECRET_KEY, running_autumn, subscription
from tests.worker.bench import T0
from tests.worker.operator.yard import SHARDS, Yard
from tests.worker.outgoing.logs import TERMS
from worker.autumn_check import autumn_check
from worker.deliveries import _instant, drop_deliveries, list_deliveries, replay_deliveries, retry_deliveries
from worker.operating import NotDone
from worker.outgoing.log_reader import LogReader
from worker.outgoing.settings import OutgoingSettings
from worker.outgoing.webhooks import NAME, Webhooks, outbound_http

URL = "http://127.0.0.1:1/hook"


async def _told(yard: Yard, *accounts: str) -> list[str]:
    """Confirmed plans of accounts, made into notices; answers their ids."""
    await yard.store.begin_reading(NAME)
    async with yard.working():
        for account in accounts:
            news = ConfirmSubscription(plan="pro", status="active", terms=TERMS, occurred_at=1, reference=account)
            assert (await yard.apply(f"account:{account}", news)).status == "applied"
    async with outbound_http() as http:
        await LogReader(yard.store, Webhooks(URL, {}, http), system_clock).step(range(SHARDS))
    return [each.id for each in await yard.store.deliveries("waiting", 9)]


async def _give_up(yard: Yard) -> None:
    await yard.rows("UPDATE deliveries SET state = 'dead', problem = 'status 500', attempts = 7")


async def test_dead_ones_are_listed_retried_and_dropped(yard: Yard) -> None:
    """By id or all; a wrong id is told."""
    first, second = await _told(yard, "user_1", "user_2")
    assert await list_deliveries(yard.settings, state="dead", limit=9) == "no delivery is dead"
    await _give_up(yard)
    said = await list_deliveries(yard.settings, state="dead", limit=9)
    assert f"{first}  " in said
    assert "webhook  subscription.confirmed  user_2  7 attempts  status 500" in said
    assert "--limit 10" in await list_deliveries(yard.settings, state="dead", limit=1)
    assert await retry_deliveries(yard.settings, ids=[first], everything=False) == "retried 1"
    assert [each.id for each in await yard.store.deliveries("waiting", 9)] == [first]
    with pytest.raises(NotDone, match="dropped 1; 1 of the ids name none"):
        await drop_deliveries(yard.settings, ids=[second, "evt_none"], everything=False)
    assert await drop_deliveries(yard.settings, ids=[], everything=True) == "dropped 0"
    for ids, everything in (([], False), (["evt_x"], True)):
        with pytest.raises(NotDone, match="or give --all"):
            await retry_deliveries(yard.settings, ids=ids, everything=everything)


async def test_a_replay_makes_the_same_again(yard: Yard) -> None:
    """Of the log from a time on, of all accounts or of one; those that wait stay as they are."""
    ids = await _told(yard, "user_1", "user_2", "user_3")
    settings = replace(yard.settings, outgoing=OutgoingSettings(webhook_url=URL))
    before = {each.id: each.seq for each in await yard.store.deliveries("waiting", 9)}
    assert await replay_deliveries(settings, since=0, account=None) == "no notice to send again"
    await yard.store.drop_deliveries(ids)
    said = await replay_deliveries(settings, since=0, account="user_2")
    assert said == "1 notices will be sent again"
    assert [each.account for each in await yard.store.deliveries("waiting", 9)] == ["user_2"]
    await _give_up(yard)
    await replay_deliveries(settings, since=0, account=None)
    assert {each.id: each.seq for each in await yard.store.deliveries("waiting", 9)} == before
    later = system_clock() + 1
    await yard.store.drop_deliveries(ids)
    assert await replay_deliveries(settings, since=later, account=None) == "no notice to send again"
    with pytest.raises(NotDone, match="FORMSTATE_WEBHOOK_URL"):
        await replay_deliveries(yard.settings, since=0, account=None)


async def test_autumn_is_asked_and_never_guessed_for(yard: Yard) -> None:
    """What it says of an account, and what it was not told; silence, an error or another provider is no answer."""
    async with running_autumn() as server:
        outgoing = OutgoingSettings(billing_provider="autumn", autumn_secret_key=SECRET_KEY, autumn_api_url=server.url)
        settings = replace(yard.settings, outgoing=outgoing)
        said = await autumn_check(settings, account="user_1", feature=None)
        assert said.splitlines()[0] == "user_1 micro_credits at Autumn: not allowed, no balance"
        assert "not told yet: 0 on their way, 0 given up" in said
        server.customers["user_1"] = [subscription("pro")]
        assert "user_1 images at Autumn: allowed" in await autumn_check(settings, account="user_1", feature="images")
        wrong = replace(outgoing, autumn_secret_key="am_sk_wrong_key")
        gone = replace(outgoing, autumn_api_url="http://127.0.0.1:1")
        refused = [(wrong, "answers 401"), (gone, "does not answer: ConnectError"), (OutgoingSettings(), "is not")]
        for other, why in refused:
            with pytest.raises(NotDone, match=why):
                await autumn_check(replace(settings, outgoing=other), account="user_1", feature=None)


def test_a_time_has_a_zone() -> None:
    """Which hour is meant is never guessed."""
    assert _instant("2027-01-15T09:00:00.5+01:00") == T0 + 500_000
    for text in ("2027-01-15T08:00:00", "2027-01-15", "now", ""):
        with pytest.raises(argparse.ArgumentTypeError):
            _instant(text)
