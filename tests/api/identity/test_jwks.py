"""An identity provider's keys: rotation without a restart, outages, and floods, against a real server."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager

import aiohttp
import pytest

from api.identity.issuers import Issuer
from api.identity.jwks import Jwks
from devnet.issuer import DevIssuer, running
from devnet.issuer.issuer import Misbehaviour
from telemetry.metrics import REGISTRY

COOLDOWN_S = 10
BAD: tuple[Misbehaviour, ...] = ("hang", "drip", "garbage", "missing", "redirect", "endless", "empty")


class Clock:
    """Monotonic seconds that pass when told to."""

    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        """Now."""
        return self.now


class Site:
    """A provider, and what is known of its keys."""

    def __init__(self, server: DevIssuer, jwks: Jwks, clock: Clock, removed: list[str]) -> None:
        self.server = server
        self.jwks = jwks
        self.clock = clock
        self.removed = removed

    async def known(self, kid: str) -> bool:
        """Whether the key is to be had now."""
        async with asyncio.timeout(10):
            return await self.jwks.key(kid) is not None


@asynccontextmanager
async def site(
    *,
    misbehaviour: Misbehaviour = "none",
    started: bool = True,
    refresh_s: int = 300,
    fetch_s: float = 0.2,
    wait_s: float = 0.1,
) -> AsyncIterator[Site]:
    """A provider that was asked for its keys, or begins to be asked."""
    clock, removed = Clock(), list[str]()
    async with running() as server, aiohttp.ClientSession() as http:
        server.misbehaviour = misbehaviour

        def forget(ids: Iterable[str]) -> None:
            removed.extend(ids)

        issuer = Issuer(
            name="test",
            iss=server.url,
            jwks_url=server.jwks_url,
            audience="a",
            algorithm="RS256",
            cooldown_s=COOLDOWN_S,
            refresh_s=refresh_s,
        )
        jwks = Jwks(issuer, http, removed=forget, now_s=clock, fetch_s=fetch_s, wait_s=wait_s)
        if started:
            jwks.start()
        try:
            yield Site(server, jwks, clock, removed)
        finally:
            await jwks.stop()


async def until(condition: Callable[[], bool]) -> None:
    """Waits for a condition, with a bound."""
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.001)


async def test_a_rotation_needs_no_restart() -> None:
    """The new key is fetched when a token first names it; the old one goes on while it is published."""
    async with site() as there:
        first = there.server.keys.current.kid
        assert await there.known(first)
        second = there.server.keys.rotate().kid
        assert await there.known(second)
        assert await there.known(first)
        assert there.removed == []
        there.clock.now += COOLDOWN_S
        third = there.server.keys.rotate().kid
        assert await there.known(third)
        assert not await there.known(first)
        assert len(there.removed) == 1


async def test_keys_are_refreshed_in_the_background() -> None:
    """A key that is taken back ends, and a new one is there, without anybody asking for it."""
    async with site(refresh_s=0) as there:
        first = there.server.keys.current.kid
        assert await there.known(first)
        second = there.server.keys.rotate(keep=False).kid
        await until(lambda: len(there.removed) == 1)
        there.server.misbehaviour = "missing"
        assert await there.known(second)
        assert not await there.known(first)


async def test_a_flood_of_unknown_keys_is_one_fetch_a_cooldown() -> None:
    """Counted at the provider."""
    async with site() as there:
        await there.known(there.server.keys.current.kid)
        began = there.server.fetches
        for round_ in range(3):
            found = await asyncio.gather(*[there.known(f"made-up-{round_}-{number}") for number in range(500)])
            assert not any(found)
            for number in range(100):
                assert not await there.known(f"later-{number}")
            assert there.server.fetches - began == round_ + 1
            there.clock.now += COOLDOWN_S - 0.001
            assert not await there.known("still too soon")
            assert there.server.fetches - began == round_ + 1
            there.clock.now += 0.001


@pytest.mark.parametrize("misbehaviour", BAD)
async def test_known_keys_go_on_while_the_provider_does_not(misbehaviour: Misbehaviour) -> None:
    """Whatever it answers: unknown keys are refused within a bound, and found once it answers again."""
    async with site() as there:
        first = there.server.keys.current.kid
        assert await there.known(first)
        second = there.server.keys.rotate().kid
        there.server.misbehaviour = misbehaviour
        began, failed = there.server.fetches, _failures()
        assert not await there.known(second)
        assert there.server.fetches == began + 1
        assert await there.known(first)
        await until(lambda: _failures() > failed)
        there.server.misbehaviour = "none"
        # The fetch that began in the outage may still be under way: then it is the one that is waited for.
        for _ in range(50):
            there.clock.now += COOLDOWN_S
            if await there.known(second):
                break
        assert await there.known(second)
        assert await there.known(first)
        assert there.removed == []


@pytest.mark.parametrize("misbehaviour", BAD)
async def test_a_provider_that_is_away_at_the_start_is_waited_for_by_nobody(misbehaviour: Misbehaviour) -> None:
    """Keys are unknown until it answers, then they are there."""
    async with site(misbehaviour=misbehaviour) as there:
        kid = there.server.keys.current.kid
        assert not await there.known(kid)
        there.server.misbehaviour = "none"
        for _ in range(50):
            there.clock.now += COOLDOWN_S
            if await there.known(kid):
                break
        assert await there.known(kid)


async def test_a_provider_that_cannot_be_reached() -> None:
    """No connection is one more way not to answer."""
    async with aiohttp.ClientSession() as http:
        async with running() as server:
            url = server.jwks_url
        issuer = Issuer(name="test", iss="x", jwks_url=url, audience="a", algorithm="RS256")
        jwks = Jwks(issuer, http, removed=lambda _ids: None)
        jwks.start()
        async with asyncio.timeout(5):
            assert await jwks.key("any") is None
            assert await jwks.key("any") is None
        await jwks.stop()


async def test_a_request_waits_for_a_fetch_no_longer_than_its_bound() -> None:
    """However long the fetch itself may take."""
    async with site(misbehaviour="hang", fetch_s=600, wait_s=0.01) as there:
        assert not await there.known("a")
        assert not await there.known("b")


async def test_a_fetch_ends_where_an_answer_does_not() -> None:
    """By its size, long before its time is up."""
    failed = _failures()
    async with site(misbehaviour="endless", fetch_s=600, wait_s=5) as there:
        assert not await there.known("a")
        assert _failures() > failed


async def test_waiting_ends_with_its_bound_and_leaves_the_fetch() -> None:
    """A request that is cancelled, or waits no longer, takes nothing from the others."""
    async with site(misbehaviour="hang", started=False) as there:
        impatient = asyncio.create_task(there.jwks.key("a"))
        await until(lambda: there.server.fetches == 1)
        impatient.cancel()
        with pytest.raises(asyncio.CancelledError):
            await impatient
        assert not await there.known("b")
        assert there.server.fetches == 1


async def test_stopping_twice_and_unstarted() -> None:
    """Nothing is left running, whatever was begun."""
    async with site(started=False) as there:
        await there.jwks.stop()
    async with site(misbehaviour="hang") as there:
        await until(lambda: there.server.fetches == 1)
        await there.jwks.stop()
        await there.jwks.stop()


def _failures() -> float:
    return REGISTRY.get_sample_value("formstate_jwks_fetches_total", {"issuer": "test", "result": "failed"}) or 0.0
