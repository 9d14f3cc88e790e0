"""The public keys of one identity provider: fetched in the background, known ones good through any outage of it.

A token with an unknown key asks for a fetch, at most one a cooldown: so a rotation needs no restart, and a flood of
made-up keys costs the provider nothing. Nobody waits longer than a bound.
"""

import asyncio
import random
from collections.abc import Callable, Iterable, Mapping
from time import monotonic

import aiohttp
import structlog

from api.background import ended
from api.identity.issuers import Issuer
from api.identity.jwks_document import UnusableKeySet, VerificationKey, read_key_set
from telemetry import metrics

FETCH_S = 5.0
WAIT_S = 3.0
"""How long a request waits for a fetch that may bring its key."""
SIZE_BYTES_MAX = 512 * 1024
SPREAD = 0.1
"""Processes that started together do not ask together."""
OK = 200

_log = structlog.get_logger()
_fetches = metrics.counter("jwks_fetches", "Fetches of identity providers' keys.", ("issuer", "result"))
_known = metrics.gauge("jwks_keys", "Usable keys of an identity provider.", ("issuer",))


class Jwks:
    """`start` before the first `key`, `stop` after the last.

    `removed` is told the ids of keys that the provider no longer publishes: what was verified with them is to be
    forgotten. `now_s` is monotonic seconds.
    """

    def __init__(
        self,
        issuer: Issuer,
        http: aiohttp.ClientSession,
        *,
        removed: Callable[[Iterable[str]], None],
        now_s: Callable[[], float] = monotonic,
        fetch_s: float = FETCH_S,
        wait_s: float = WAIT_S,
    ) -> None:
        self._issuer = issuer
        self._http = http
        self._removed = removed
        self._now_s = now_s
        self._fetch_s = fetch_s
        self._wait_s = wait_s
        self._keys: Mapping[str, VerificationKey] = {}
        self._flight: asyncio.Task[bool] | None = None
        self._refreshing: asyncio.Task[None] | None = None
        self._ask_again_at = float("-inf")

    def start(self) -> None:
        """Begins to fetch; does not wait for a provider that is away."""
        self._fetching()
        self._refreshing = asyncio.create_task(self._refresh(), name=f"jwks {self._issuer.name}")

    async def stop(self) -> None:
        """Ends the fetching."""
        for task in (self._refreshing, self._flight):
            await ended(task)

    async def key(self, kid: str) -> VerificationKey | None:
        """The key of this name. For an unknown one it waits, with a bound, where a fetch is due or under way."""
        found = self._keys.get(kid)
        if found is not None:
            return found
        if self._flight is None or self._flight.done():
            now = self._now_s()
            if now < self._ask_again_at:
                return None
            self._ask_again_at = now + self._issuer.cooldown_s
        await asyncio.wait({self._fetching()}, timeout=self._wait_s)
        return self._keys.get(kid)

    def _fetching(self) -> "asyncio.Task[bool]":
        """The fetch under way, or a new one: there is never more than one."""
        if self._flight is None or self._flight.done():
            self._flight = asyncio.create_task(self._fetch(), name=f"jwks fetch {self._issuer.name}")
        return self._flight

    async def _refresh(self) -> None:
        """Fetches now and then; after failures sooner, ever more patiently."""
        failures = 0
        while True:
            failures = 0 if await asyncio.shield(self._fetching()) else failures + 1
            pause_s = float(self._issuer.refresh_s)
            if failures:
                pause_s = min(pause_s, self._issuer.cooldown_s * 2.0 ** min(failures - 1, 20))
            await asyncio.sleep(pause_s * random.uniform(1 - SPREAD, 1))  # noqa: S311  # no secret

    async def _fetch(self) -> bool:
        """Takes what the provider publishes; says why where that cannot be had. Never raises."""
        name = self._issuer.name
        try:
            async with asyncio.timeout(self._fetch_s):
                keys = read_key_set(await self._body(), self._issuer.algorithm)
        except Exception as error:  # noqa: BLE001  # whatever a provider does, the keys that are known go on
            _fetches.labels(name, "failed").inc()
            reason = str(error) if isinstance(error, UnusableKeySet) else type(error).__name__
            _log.warning("jwks_not_fetched", issuer=name, reason=reason, known_keys=len(self._keys))
            return False
        _fetches.labels(name, "ok").inc()
        self._take(keys)
        return True

    async def _body(self) -> bytes:
        """The answer's bytes as they came: neither redirects nor compressions are followed, and there is an end."""
        async with self._http.get(
            self._issuer.jwks_url,
            allow_redirects=False,
            auto_decompress=False,
            headers={"Accept": "application/json", "Accept-Encoding": "identity"},
        ) as response:
            try:
                if response.status != OK:
                    raise UnusableKeySet(f"the answer is {response.status}")
                body = bytearray()
                async for chunk in response.content.iter_any():
                    body += chunk
                    if len(body) > SIZE_BYTES_MAX:
                        raise UnusableKeySet(f"the answer is larger than {SIZE_BYTES_MAX} bytes")
                return bytes(body)
            finally:
                response.close()

    def _take(self, keys: Mapping[str, VerificationKey]) -> None:
        gone = {key.id for key in self._keys.values()} - {key.id for key in keys.values()}
        new = keys.keys() - self._keys.keys()
        self._keys = keys
        _known.labels(self._issuer.name).set(len(keys))
        if gone:
            self._removed(gone)
        if gone or new:
            _log.info("jwks_changed", issuer=self._issuer.name, known=len(keys), added=len(new), removed=len(gone))
