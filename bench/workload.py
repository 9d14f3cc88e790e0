"""The commands that the worker's benchmarks apply: half holds and settles, half everything else."""

import heapq
import itertools
import random
import uuid
from bisect import bisect
from collections.abc import Callable, Iterator, Sequence
from typing import Literal, TypeAlias

from domain.account.api_keys import CreateApiKey, UpdateApiKey
from domain.account.credits import AddCredits
from domain.account.holds import PlaceHold, ReleaseHold, ReportProgress, SettleHold
from domain.account.usage import Price, Usage
from domain.envelope import Actor, Envelope, Header
from domain.instant import DAY, MINUTE, Instant
from domain.message import Command
from eventstore import codec
from eventstore.shards import shard_of

Spread: TypeAlias = Literal["uniform", "zipf"]

ZIPF_EXPONENT = 1.0
OPEN_COMMANDS = 4_000
"""A hold stays open for up to so many commands of all accounts."""
FUNDS = 1_000_000_000
ADDED = 3_000
"""Micro-credits: less than what is used up in the meantime, so that an account does not pile up grants."""
SCOPES = ("read", "write")
SEALED = "k1.c2VhbGVkLXRleHQtb2YtYWJvdXQtYS1odW5kcmVkLWJ5dGVzLWFzLXRoZS1nYXRld2F5LW1ha2VzLWl0LW91dC1vZi1hLXNlY3JldA"
PRICE = Price(input=1_000_000, cached_input=100_000, output=4_000_000, version="2026-01-01")

Keyed = tuple[int, bytes, bytes]
"""Shard, record key and record value."""


def account_name(number: int) -> str:
    """The account's id, shaped as real ones are."""
    return f"user_{uuid.UUID(int=number).hex}"


def first_key(account: str) -> str:
    """The key that an account is funded with."""
    return f"key_{account[5:]}"


class Workload:
    """A reproducible sequence of encoded commands over `accounts` accounts."""

    def __init__(self, *, accounts: Sequence[int], spread: Spread, shards: int, at: Instant, seed: int = 1) -> None:
        self._names = [account_name(number) for number in accounts]
        self._random = random.Random(seed)
        self._shards = shards
        self._at = at
        self._serial = itertools.count(1)
        self._keys: dict[str, str] = {}
        self._next_account = self._chooser(spread)

    def _chooser(self, spread: Spread) -> Callable[[], str]:
        if spread == "uniform":
            return lambda: self._random.choice(self._names)
        weights = [1 / (rank + 1) ** ZIPF_EXPONENT for rank in range(len(self._names))]
        limits = list(itertools.accumulate(weights))
        self._random.shuffle(self._names)
        return lambda: self._names[bisect(limits, self._random.random() * limits[-1])]

    def funding(self) -> Iterator[Keyed]:
        """One grant for every account, and an API key."""
        for name in self._names:
            yield self._record(name, self._grant(name, FUNDS))
            yield self._record(name, self._new_key(name, first_key(name)))

    def mixed(self, count: int) -> Iterator[Keyed]:
        """`count` commands, half of them hold and settle.

        Of 20, 5 place and 5 settle a hold, 1 more places one and 1 releases it, 2 report progress, 3 add credits,
        1 makes an API key and 2 change one. A hold is closed up to `OPEN_COMMANDS` commands later.
        """
        later: list[tuple[int, int, str, Command]] = []
        made = 0
        while made < count:
            for account, *commands in self._cycle():
                due = made
                for command in commands:
                    heapq.heappush(later, (due, next(self._serial), account, command))
                    due += self._random.randrange(1, OPEN_COMMANDS // 2)
            while made < count and later and later[0][0] <= made:
                _, _, account, command = heapq.heappop(later)
                made += 1
                yield self._record(account, command)

    def _cycle(self) -> list[tuple[str, *tuple[Command, ...]]]:
        pick = self._next_account
        cycle = [self._held(pick(), progress=number < 2) for number in range(5)]
        cycle.append(self._released(pick()))
        cycle += [(name, self._grant(name, ADDED, priority=50)) for name in (pick(), pick(), pick())]
        cycle += [(name, self._new_key(name)) for name in (pick(),)]
        cycle += [(name, self._changed_key(name)) for name in (pick(), pick())]
        self._random.shuffle(cycle)
        return cycle

    def _held(self, account: str, *, progress: bool) -> tuple[str, *tuple[Command, ...]]:
        place = self._place(account)
        usage = Usage(
            source="provider",
            input=self._random.randrange(20, 2_000),
            cached=self._random.randrange(0, 500),
            output=self._random.randrange(10, 800),
        )
        commands: list[Command] = [place]
        if progress:
            seen = Usage(source="estimated", input=usage.input, output=usage.output // 2)
            commands.append(ReportProgress(hold_id=place.hold_id, usage=seen))
        commands.append(
            SettleHold(hold_id=place.hold_id, usage=usage, latency_ms=640, request_id=f"req_{place.hold_id[5:]}")
        )
        return (account, *commands)

    def _released(self, account: str) -> tuple[str, *tuple[Command, ...]]:
        place = self._place(account)
        return account, place, ReleaseHold(hold_id=place.hold_id, reason="upstream_failed")

    def _place(self, account: str) -> PlaceHold:
        return PlaceHold(
            hold_id=self._id("hold"),
            amount=7_700,
            amount_min=7_700,
            model="basic",
            price=PRICE,
            expires_at=self._at + 30 * MINUTE,
            key_id=self._key(account),
        )

    def _grant(self, account: str, amount: int, *, priority: int = 100) -> AddCredits:
        grant_id = self._id("grant")
        return AddCredits(
            grant_id=grant_id,
            amount=amount,
            source="added",
            reference=f"invoice-{account[-6:]}-{grant_id[-8:]}",
            reason="monthly",
            priority=priority,
            expires_at=self._at + 30 * DAY,
        )

    def _new_key(self, account: str, key_id: str | None = None) -> CreateApiKey:
        key_id = key_id or self._id("key")
        self._keys[account] = key_id
        return CreateApiKey(
            key_id=key_id,
            name="server",
            scopes=SCOPES,
            mode="live",
            digest=f"p1:{key_id[4:]}{key_id[4:]}",
            hint=f"fs_live_{key_id[4:8]}",
            created_by=account,
            keys_max=None,
            secret_sealed=SEALED,
        )

    def _changed_key(self, account: str) -> UpdateApiKey:
        return UpdateApiKey(key_id=self._key(account), name=f"server {self._random.randrange(1_000_000)}")

    def _key(self, account: str) -> str:
        return self._keys.get(account) or first_key(account)

    def _id(self, noun: str) -> str:
        return f"{noun}_{self._uuid().hex}"

    def _uuid(self) -> uuid.UUID:
        """In the order of time and then random, as UUIDv7 is (RFC 9562): what the API makes of commands' ids."""
        stamp = self._at // 1_000 + next(self._serial) // 10
        return uuid.UUID(int=stamp << 80 | 7 << 76 | self._random.getrandbits(76) & ~(3 << 62) | 2 << 62)

    def _record(self, account: str, command: Command) -> Keyed:
        stream = f"account:{account}"
        header = Header(
            id=str(self._uuid()),
            attempt=f"{self._random.getrandbits(128):032x}",
            stream=stream,
            account=account,
            actor=Actor(kind="key", id=account, key_id=self._key(account), origin=SEALED),
            issued_at=self._at,
            trace=f"00-{self._random.getrandbits(128):032x}-{self._random.getrandbits(64):016x}-01",
        )
        value = codec.encode_command(Envelope(header=header, body=command))
        return shard_of(stream, self._shards), stream.encode(), value


def by_shard(records: Sequence[Keyed], shards: int) -> list[list[bytes]]:
    """The values of each shard in order."""
    values: list[list[bytes]] = [[] for _ in range(shards)]
    for shard, _, value in records:
        values[shard].append(value)
    return values
