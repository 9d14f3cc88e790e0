"""`python -m worker grant-role`: gives a user a role. The first admin can be made in no other way."""

import argparse
import asyncio
import time
import uuid

from msgspec import json as msgspec_json

from domain.envelope import Actor, Envelope, Header
from domain.user import GrantRole, Role
from eventstore import codec
from eventstore.clock import system_clock
from eventstore.postgres.pool import OPERATOR
from eventstore.postgres.store import PostgresStore
from eventstore.records import Outcome
from eventstore.shards import shard_of
from worker.kafka import KafkaSink
from worker.settings import WorkerSettings

WAIT_S = 30.0
POLL_S = 0.02
ROLES: tuple[Role, ...] = ("user", "developer", "admin")


class NotGranted(Exception):
    """The role was refused, or no worker has answered in time."""


def add_words(parser: argparse.ArgumentParser) -> None:
    """The command's words."""
    parser.add_argument("user_id", help="as in GET /users/me: user_…")
    parser.add_argument("role", choices=ROLES)


async def grant_role(settings: WorkerSettings, *, user_id: str, role: Role) -> str:
    """Sends the command through the log, like everybody else, and waits for its outcome.

    `NotGranted` when the domain refuses it, or no worker applies it within 30 s.
    """
    store = await PostgresStore.open(settings.database_url, OPERATOR, connections_max=1)
    sink = KafkaSink(settings.kafka_bootstrap_servers, settings.kafka_topic)
    try:
        header = _header(user_id)
        shard = shard_of(header.stream, await store.shards())
        envelope = Envelope(header=header, body=GrantRole(role=role))
        await sink.send(shard, header.stream.encode(), codec.encode_command(envelope))
        outcome = await _outcome(store, shard, header.id)
    finally:
        await sink.close()
        await store.close()
    if outcome.status != "applied":
        raise NotGranted(
            f"the role was not granted: {msgspec_json.decode(outcome.data).get('message', outcome.status)}"
        )
    return f"{user_id} has the role {role}"


def _header(user_id: str) -> Header:
    command_id = str(uuid.uuid4())
    return Header(
        id=command_id,
        attempt=command_id,
        stream=f"user:{user_id}",
        account=user_id,
        actor=Actor(kind="system", id="operator"),
        issued_at=system_clock(),
    )


async def _outcome(store: PostgresStore, shard: int, command_id: str) -> Outcome:
    end = time.monotonic() + WAIT_S
    while time.monotonic() < end:
        found = await store.read_outcomes([(shard, command_id)])
        if found:
            return found[command_id]
        await asyncio.sleep(POLL_S)
    raise NotGranted(f"no worker has applied the command within {WAIT_S:.0f} s; is one running?")
