"""A provider in the test's own event loop, the SDK's client for it, and waiting with a bound."""

import asyncio
from collections.abc import AsyncIterator, Callable

import aiohttp
import pytest
from openai import AsyncOpenAI

from devnet.provider import ProviderOptions, Running, running

BOUND_S = 60.0


async def until(condition: Callable[[], bool], timeout_s: float = BOUND_S) -> None:
    """Let others run until the condition holds; TimeoutError when it does not within `timeout_s`."""
    async with asyncio.timeout(timeout_s):
        while not condition():
            await asyncio.sleep(0.002)


def client_of(provider: Running, *, api_key: str = "test") -> AsyncOpenAI:
    """The official SDK with nothing but the address changed, and no retries of its own."""
    return AsyncOpenAI(base_url=provider.base_url, api_key=api_key, max_retries=0, timeout=BOUND_S)


@pytest.fixture
async def provider() -> AsyncIterator[Running]:
    """A provider with the options that it has when nobody says anything."""
    async with running(ProviderOptions()) as provider:
        yield provider


@pytest.fixture
async def client(provider: Running) -> AsyncIterator[AsyncOpenAI]:
    """The SDK for `provider`."""
    async with client_of(provider) as client:
        yield client


@pytest.fixture
async def http(provider: Running) -> AsyncIterator[aiohttp.ClientSession]:
    """Plain HTTP for `provider`."""
    timeout = aiohttp.ClientTimeout(total=BOUND_S)
    async with aiohttp.ClientSession(base_url=provider.url, timeout=timeout) as session:
        yield session
