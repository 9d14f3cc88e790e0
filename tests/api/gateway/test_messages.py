"""A day's messages at the gateway: exactly the plan's number reaches the provider; refusals say what would help."""

import asyncio
from datetime import datetime
from typing import Any

import pytest
from msgspec.structs import replace
from openai import RateLimitError

from api.plans import Plans, load_plans
from domain.instant import DAY, HOUR, SECOND, instant_of
from eventstore.clock import system_clock
from projections.local_days import local_day
from tests.api.clock import Clock
from tests.api.gateway.account import Account, Answer
from tests.api.gateway.place import Place, running_place

SHIPPED = load_plans()


def plans(messages: int | None, *, per_minute: int | None = None) -> Plans:
    """The shipped plans, where free ones have so many messages a day."""
    free = replace(SHIPPED.free, messages_per_day=messages, requests_per_minute=per_minute, requests_per_day=None)
    return Plans({**SHIPPED, "free": free}, features=SHIPPED.features, top_ups=SHIPPED.top_ups)


def reached(place: Place) -> int:
    """Requests that the provider has seen."""
    return place.provider.ledger.counts.started


async def chat(account: Account, number: int = 0, **fields: Any) -> Answer:
    """One message."""
    return await account.chat(f"Question {number}.", max_tokens=5, **fields)


async def test_fifty_clients_on_two_processes_send_exactly_the_quota() -> None:
    """Not one more is answered, nor reaches the provider; those refused can come tomorrow."""
    async with running_place(apis=2, plans=plans(40), limits=True) as place:
        account = await place.account()

        async def client(number: int) -> list[Answer]:
            return [await chat(account, number, api=number % 2) for _ in range(2)]

        answers = [each for both in await asyncio.gather(*(client(number) for number in range(50))) for each in both]
        assert sorted({answer.status for answer in answers}) == [200, 429]
        assert sum(answer.status == 200 for answer in answers) == 40
        assert {answer.error["code"] for answer in answers if answer.status == 429} == {"messages_quota_exceeded"}
        assert reached(place) == 40
        credits = await account.credits()
        assert credits.messages is not None
        assert (credits.messages.used, credits.held, credits.debt) == (40, 0, 0)


async def test_429_says_which_limit_and_when_it_resets() -> None:
    """At the account's midnight; a message is a message, whatever it costs."""
    clock = Clock()
    async with running_place(plans=plans(1), limits=True, clock=clock) as place:
        account = await place.account()
        bearer = {"Authorization": f"Bearer {account.token}"}
        body = {"time_zone": "Asia/Kathmandu"}
        async with place.http.patch(f"{place.url}/billing/settings", json=body, headers=bearer) as answer:
            assert answer.status == 200
        assert (await account.post({"model": "free", "messages": [{"role": "user", "content": "Hi"}]})).status == 200
        refused = await chat(account)
        midnight = local_day("Asia/Kathmandu", clock()).end
        error = refused.error
        assert (refused.status, error["code"], error["type"]) == (429, "messages_quota_exceeded", "rate_limit_error")
        assert (error["quota"], error["limit"], error["used"]) == ("messages_per_day", 1, 1)
        assert error["missing"] == {"messages": 1}
        assert error["upgrade"] == ["team", "pro", "enterprise"]
        assert error["price"] == {"amount": "15.000000", "currency": "USD", "period": "month", "per_seat": True}
        assert error["checkout"] is None
        assert abs(int(refused.headers["Retry-After"]) - (midnight - clock()) // SECOND) <= 2
        with clock.moved(midnight - system_clock()):
            assert (await chat(account)).status == 200


@pytest.mark.parametrize(
    ("zone", "last", "first"),
    [
        ("America/New_York", "2028-02-28T23:59:00-05:00", "2028-02-29T00:00:00-05:00"),
        ("America/New_York", "2028-02-29T23:59:00-05:00", "2028-03-01T00:00:00-05:00"),
        ("Asia/Kathmandu", "2027-02-28T23:59:00+05:45", "2027-03-01T00:00:00+05:45"),
        ("Europe/Berlin", "2028-03-26T23:59:00+02:00", "2028-03-27T00:00:00+02:00"),
    ],
)
async def test_the_day_ends_at_midnight_there(zone: str, last: str, first: str) -> None:
    """The leap day is a day of its own, and so is one that is an hour short: each has the quota, and none has two."""
    clock = Clock()
    async with running_place(plans=plans(2), limits=True, clock=clock) as place:
        account = await place.account()
        bearer = {"Authorization": f"Bearer {account.token}"}
        async with place.http.patch(
            f"{place.url}/billing/settings", json={"time_zone": zone}, headers=bearer
        ) as answer:
            assert answer.status == 200
        midnight = instant_of(datetime.fromisoformat(first))
        statuses = []
        for at in (midnight - 23 * HOUR, instant_of(datetime.fromisoformat(last)), midnight):
            clock.ahead += at - clock()
            said = [await chat(account) for _ in range(2)]
            statuses.append([each.status for each in said])
            if len(statuses) == 2:
                assert abs(int(said[1].headers["Retry-After"]) - (midnight - clock()) // SECOND) <= 2
        assert statuses == [[200, 200], [429, 429], [200, 200]]
        assert (await chat(account)).status == 429


async def test_the_sdk_does_not_hammer() -> None:
    """OpenAI's SDK would repeat a 429 at once; tomorrow's quota is not worth it."""
    async with running_place(plans=plans(0), limits=True) as place:
        account = await place.account()
        client = account.client().with_options(max_retries=3)
        place.clients.append(client)
        with pytest.raises(RateLimitError) as refused:
            await client.chat.completions.create(model="fs-basic", messages=[{"role": "user", "content": "Hi"}])
        assert refused.value.code == "messages_quota_exceeded"
        assert place.log.count("hold.place") == 1
        assert reached(place) == 0


async def test_another_zone_brings_no_second_quota() -> None:
    """However often it is changed within two days."""
    clock = Clock()
    async with running_place(plans=plans(2), limits=True, clock=clock) as place:
        account = await place.account()
        bearer = {"Authorization": f"Bearer {account.token}"}
        passed = 0
        for step in range(24):
            zone = ("Pacific/Kiritimati", "UTC", "Pacific/Niue")[step % 3]
            body = {"time_zone": zone}
            async with place.http.patch(f"{place.url}/billing/settings", json=body, headers=bearer) as answer:
                assert answer.status == 200
            with clock.moved(step * 2 * HOUR):
                passed += sum([(await chat(account, api=0)).status == 200 for _ in range(2)])
        assert passed <= 3 * 2, "two days have at most three midnights that count"


async def test_what_the_provider_never_answered_is_given_back() -> None:
    """A failed call is no message."""
    async with running_place(plans=plans(1), limits=True) as place:
        account = await place.account()
        assert (await account.chat("Hello [[fail=error-500]]")).status == 502
        assert (await account.chat("Hello.", model="nothing")).status == 404
        assert [(await chat(account)).status for _ in range(2)] == [200, 429]


async def test_from_80_percent_on_the_answers_warn() -> None:
    """Streamed or not; in a list of what is nearly used up."""
    async with running_place(plans=plans(5), limits=True) as place:
        account = await place.account()
        warned = [(await chat(account, stream=number % 2 == 1)).headers.get("X-Quota-Warning") for number in range(5)]
        assert warned[:3] == [None] * 3
        for used, said in ((4, warned[3]), (5, warned[4])):
            assert said is not None
            assert said.startswith(f'"messages_per_day";used={used};limit=5;reset=')
            assert 0 <= int(said.rpartition("=")[2]) <= DAY // SECOND


async def test_no_limits_no_quota() -> None:
    """With limits off nothing is counted."""
    async with running_place(plans=plans(1)) as place:
        account = await place.account()
        assert [(await chat(account)).status for _ in range(3)] == [200] * 3
        assert (await account.credits()).messages is None


async def test_near_the_end_the_provider_waits_for_the_decision() -> None:
    """Far from it a call begins at once; what other processes may have sent meanwhile is reckoned with."""
    async with running_place(plans=plans(100, per_minute=30), limits=True) as place:
        account = await place.account()
        metering = place.services.metering
        assert not metering.has_many_messages(account.id, 30), "nothing is known yet"
        for _ in range(3):
            assert (await chat(account)).status == 200
        assert metering.has_many_messages(account.id, 30)
        assert not metering.has_many_messages(account.id, 45)
        assert not metering.has_many_messages(account.id, None)
