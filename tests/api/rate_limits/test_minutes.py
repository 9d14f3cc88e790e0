"""Uses of keys go on record by the minute: once, with the totals of all processes, also when one of them was killed."""

from functools import partial
from typing import Any

from api.api_key_use import KeyUse, record_key_use
from api.caller import Caller
from api.rate_limits.minutes import KeyMinutes
from api.rate_limits.rules import KEY
from domain.instant import MINUTE, SECOND
from eventstore.rates import MINUTE_S, RateDelta, RateMinute
from tests.api.running import Running, application

LATER = MINUTE + 3 * SECOND


class Clock:
    """The store's clock, which a test puts ahead."""

    def __init__(self, running: Running) -> None:
        self._real = running.store._clock
        self.ahead = 0
        running.store._clock = self

    def behind_the_minute(self, begun_at: int, after: int) -> None:
        """Puts it `after` the end of the minute in which something began."""
        self.ahead = (begun_at // MINUTE + 1) * MINUTE + after - self._real()

    def __call__(self) -> int:
        """The time."""
        return self._real() + self.ahead


async def test_a_minute_of_a_key_goes_on_record() -> None:
    """What was let through and what was refused, by whom it was seen last, and when; the next report says nothing."""
    async with application(limits=True) as app:
        person, clock = await app.register(), Clock(app)
        key = await app.key(person, rate_limit={"requests_per_minute": 3})
        minutes, record = app.services.rate_limits.minutes, partial(record_key_use, app.services)
        await minutes.stop()
        for _ in range(5):
            await app.ask("GET", "/users/me", api_key=key["key"], headers={"User-Agent": "a test"})
        await app.services.rate_limits.exchanger._exchange()
        clock.ahead = LATER
        assert await minutes.report(record) >= 1
        assert await minutes.report(record) == 0

        await app.key(person)  # on the same stream: once it is there, what came before is decided
        events = await app.ask("GET", f"/api-keys/{key['id']}/events", token=person.token)
        used: list[dict[str, Any]] = [event for event in events.json["data"] if event["kind"] == "used"]
        assert (sum(event["requests"] for event in used), sum(event["refused"] for event in used)) == (3, 2)
        assert {event["user_agent"] for event in used} == {"a test"}


async def test_minutes_of_a_process_that_is_gone() -> None:
    """Another process reports what a killed one had counted, of keys it has not seen; a key that is gone is let go."""
    async with application(limits=True) as app:
        person, clock = await app.register(), Clock(app)
        await app.services.rate_limits.minutes.stop()
        key = await app.key(person)
        counted = [
            RateDelta(subject=KEY + key_id, window_s=MINUTE_S, admitted=7, reported=True)
            for key_id in (key["id"], "key_" + "0" * 32)
        ]
        exchange = await app.store.exchange_rates("killed", counted)
        other = KeyMinutes(app.store, app.services.documents)
        told: list[KeyUse] = []

        async def record(use: KeyUse) -> bool:
            told.append(use)
            return len(told) > 1

        clock.behind_the_minute(exchange.at, 3 * SECOND)
        assert await other.report(record) == 0
        clock.behind_the_minute(exchange.at, 31 * SECOND)
        assert await other.report(record) == 1, "the one that is gone"
        assert await other.report(record) == 1, "the one that could not be recorded at first"
        assert await other.report(record) == 0
        assert {(use.key_id, use.account_id, use.user_id, use.count) for use in told} == {
            (key["id"], person.id, person.id, 7)
        }


async def test_the_busiest_key_is_forgotten_last() -> None:
    """Beyond the bound goes the key that was used longest ago, not the one that was used first."""
    async with application() as app:
        minutes = KeyMinutes(app.store, app.services.documents, callers_max=2)
        for key_id in ("key_1", "key_2", "key_1", "key_3"):
            minutes.seen(Caller(kind="key", user_id="user_1", account_id="user_1", key_id=key_id, address="192.0.2.1"))
        told = [
            await minutes._use(RateMinute(subject=KEY + key_id, minute=0, admitted=1, refused=0, last_at=1))
            for key_id in ("key_1", "key_2", "key_3")
        ]
    assert [None if use is None else use.address for use in told] == ["192.0.2.1", None, "192.0.2.1"]
