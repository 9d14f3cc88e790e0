"""A command of an operator: it goes through the log, like everybody else's, and is waited for."""

import asyncio
import time
import uuid

from msgspec import json as msgspec_json

from domain.envelope import Actor, Envelope, Header
from domain.message import Command
from eventstore import codec
from eventstore.clock import system_clock
from eventstore.postgres.store import PostgresStore
from eventstore.records import Outcome
from eventstore.shards import shard_of
from worker.kafka import KafkaSink
from worker.operating import NotDone
from worker.settings import WorkerSettings

WAIT_S = 30.0
POLL_S = 0.02


async def apply_command(settings: WorkerSettings, store: PostgresStore, stream: str, command: Command) -> None:
    """Sends the command and waits for its outcome.

    `NotDone` with the refusal's message when the domain refuses it, or when no worker applies it within 30 s.
    """
    header = _header(stream)
    shard = shard_of(stream, await store.shards())
    sink = KafkaSink(settings.kafka_bootstrap_servers, settings.kafka_topic)
    try:
        record = codec.encode_command(Envelope(header=header, body=command))
        await sink.send(shard, stream.encode(), record)
        outcome = await _outcome(store, shard, header.id)
    finally:
        await sink.close()
    if outcome.status != "applied":
        raise NotDone(f"not applied: {msgspec_json.decode(outcome.data).get('message', outcome.status)}")


def _header(stream: str) -> Header:
    command_id = str(uuid.uuid4())
    return Header(
        id=command_id,
        attempt=command_id,
        stream=stream,
        account=stream.partition(":")[2],
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
    raise NotDone(f"no worker has applied the command within {WAIT_S:.0f} s; is one running?")
