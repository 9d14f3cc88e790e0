"""Simulated clients: they ask for things, lose answers, ask again, and remember what they were told."""

import uuid
from random import Random
from typing import Any

from domain.account.api_keys import CreateApiKey, RevokeApiKey, UpdateApiKey
from domain.account.credits import AddCredits
from domain.account.holds import PlaceHold, ReleaseHold, ReportProgress, SettleHold
from domain.account.usage import Price, Usage
from domain.envelope import Actor, Envelope, Header
from domain.instant import SECOND
from domain.message import Command
from domain.user import ChangePassword, GrantRole, RegisterUser
from eventstore.codec import encode_command
from eventstore.records import Outcome
from eventstore.shards import shard_of
from tests.simulation.watch import Broken
from tests.simulation.world import SHARDS, World
from worker.source import LogUnavailable

ACTOR = Actor(kind="user", id="user_1")
PRICE = Price(input=1_000_000, cached_input=100_000, output=4_000_000, version="v1")
ACCOUNTS = ("a1", "a2", "a3")
EMAILS = ("hash-1", "hash-2", "hash-3")
ASKED_MAX = 6
"""Times a client asks again before it gives up waiting."""


class Asked:
    """One command of a client, under one command id, in one or more attempts."""

    def __init__(self, world: World, stream: str, command: Command) -> None:
        random = world.random
        self.id = str(uuid.UUID(int=random.getrandbits(128), version=4))
        self.stream = stream
        self.command = command
        self.shard = shard_of(stream, SHARDS)
        self.fingerprint = f"fp-{self.id[:8]}"
        self.patience_s = random.choice((None, None, 0.5, 2.0))
        """Until its deadline; some commands have none."""
        self.attempt = ""
        self.record = b""

    def try_again(self, world: World, fingerprint: str | None = None) -> None:
        """Another attempt under the same id; with another fingerprint it is another request, and not to be applied."""
        self.attempt = f"try-{world.random.getrandbits(32):08x}"
        deadline = None if self.patience_s is None else world.now + int(self.patience_s * SECOND)
        header = Header(
            id=self.id,
            attempt=self.attempt,
            stream=self.stream,
            account=self.stream.partition(":")[2],
            actor=ACTOR,
            issued_at=world.now,
            deadline=deadline,
            fingerprint=fingerprint or self.fingerprint,
        )
        self.record = encode_command(Envelope(header=header, body=self.command))


class Client:
    """Asks for `count` things, one after the other, and checks that answers do not change."""

    def __init__(self, world: World, count: int) -> None:
        self._world = world
        self._count = count
        self._past: list[tuple[Asked, Outcome]] = []

    async def run(self) -> None:
        """The client's life."""
        world = self._world
        for _ in range(self._count):
            burst = [_draw(world) for _ in range(world.random.choice((1, 1, 2, 5)))]
            for asked in burst:
                asked.try_again(world)
                await self._send(asked)
            for asked in burst:
                await self._see_through(asked)
            if self._past and world.random.random() < 0.3:
                await self._repeat(*world.random.choice(self._past))
        world.clients -= 1

    async def _send(self, asked: Asked) -> None:
        """Until it is acknowledged; a lost acknowledgement makes duplicates, and some come without any reason."""
        world = self._world
        while True:
            try:
                await world.log.send(asked.shard, asked.stream.encode(), asked.record)
            except LogUnavailable:
                if world.random.random() < 0.5:
                    asked.try_again(world)
                continue
            if world.random.random() < 0.9:
                return

    async def _see_through(self, asked: Asked) -> None:
        world = self._world
        for _ in range(ASKED_MAX):
            outcome = await self._wait(asked)
            if outcome is None:
                if world.random.random() < 0.5:
                    asked.try_again(world)
            elif not outcome.curable:
                self._past.append((asked, outcome))
                return
            elif world.random.random() < 0.5:
                return
            else:
                asked.try_again(world)
            await self._send(asked)

    async def _wait(self, asked: Asked) -> Outcome | None:
        world = self._world
        for _ in range(8):
            await world.sleep(world.random.random() * 0.2)
            outcome = (await world.store.read_outcomes([(asked.shard, asked.id)])).get(asked.id)
            if outcome is not None and outcome.settles(asked.attempt):
                return outcome
        return None

    async def _repeat(self, asked: Asked, before: Outcome) -> None:
        """Asks again what was answered long ago, perhaps with another body: the answer stays what it was (I2)."""
        world = self._world
        other = world.random.random() < 0.3
        asked.try_again(world, "another" if other else None)
        await self._send(asked)
        await world.sleep(world.random.random())
        after = (await world.store.read_outcomes([(asked.shard, asked.id)])).get(asked.id)
        if after != before:
            raise Broken(f"I2: {asked.id} was {before} and is {after}")


def _draw(world: World) -> Asked:
    random = world.random
    stream, command = random.choice(_KINDS)(world)
    if random.random() < 0.02:
        world.log.records[random.randrange(SHARDS)].append(b"\xff no command")
        for reader in world.log._readers:
            for shard in range(SHARDS):
                reader.arrived(shard)
    return Asked(world, stream, command)


def _account(random: Random) -> str:
    return f"account:{random.choice(ACCOUNTS)}"


def _some_hold(world: World) -> tuple[str, str]:
    """An account and a hold of it that was asked for, or one that never was."""
    random = world.random
    if not world.holds or random.random() < 0.05:
        return _account(random), "hold_nobody_has"
    return random.choice(world.holds[-6:])


def _usage(random: Random) -> Usage:
    return Usage(source="provider", input=random.randrange(8), output=random.randrange(4), cached=random.randrange(3))


def _add(world: World) -> tuple[str, Command]:
    random = world.random
    number = random.getrandbits(32)
    expires_at = world.now + random.randrange(1, 8) * SECOND if random.random() < 0.5 else None
    amount = random.choice((1, 5, 20, 60))
    priority = random.randrange(3)
    return _account(random), AddCredits(
        grant_id=f"grant_{number}",
        amount=amount,
        source="test",
        reference=f"r{number}",
        priority=priority,
        expires_at=expires_at,
    )


def _place(world: World) -> tuple[str, Command]:
    random = world.random
    account = _account(random)
    amount = random.randrange(25)
    hold_id = f"hold_{len(world.holds)}"
    world.holds.append((account, hold_id))
    return account, PlaceHold(
        hold_id=hold_id,
        amount=amount,
        amount_min=random.randrange(amount + 1),
        model="m",
        price=PRICE,
        expires_at=world.now + random.randrange(1, 12) * SECOND,
    )


def _progress(world: World) -> tuple[str, Command]:
    account, hold_id = _some_hold(world)
    return account, ReportProgress(hold_id=hold_id, usage=_usage(world.random))


def _settle(world: World) -> tuple[str, Command]:
    account, hold_id = _some_hold(world)
    return account, SettleHold(hold_id=hold_id, usage=_usage(world.random))


def _release(world: World) -> tuple[str, Command]:
    account, hold_id = _some_hold(world)
    return account, ReleaseHold(hold_id=hold_id, reason="failed")


def _register(world: World) -> tuple[str, Command]:
    user_id = f"u{world.random.randrange(5)}"
    return f"user:{user_id}", RegisterUser(
        user_id=user_id,
        email_hash=world.random.choice(EMAILS),
        email_sealed="s",
        display_name_sealed=None,
        password_sealed="p",
    )


def _password(world: World) -> tuple[str, Command]:
    random = world.random
    return f"user:u{random.randrange(5)}", ChangePassword(password_sealed="q", ver=random.randrange(1, 3))


def _role(world: World) -> tuple[str, Command]:
    random = world.random
    return f"user:u{random.randrange(5)}", GrantRole(role=random.choice(("user", "developer", "admin")))


def _key(world: World) -> tuple[str, Command]:
    random = world.random
    account = _account(random)
    key_id = f"key_{account}_{random.randrange(4)}"
    commands: tuple[Command, ...] = (
        CreateApiKey(
            key_id=key_id,
            name="n",
            scopes=("read",),
            mode="live",
            digest="d",
            hint="h",
            created_by="user_1",
            keys_max=3,
            secret_sealed="s",
        ),
        UpdateApiKey(key_id=key_id, name=f"n{random.randrange(3)}"),
        RevokeApiKey(key_id=key_id),
    )
    return account, random.choice(commands)


_KINDS: tuple[Any, ...] = (_add, _add, _place, _place, _place, _progress, _settle, _settle, _release)
_KINDS += (_register, _register, _password, _role, _key)
