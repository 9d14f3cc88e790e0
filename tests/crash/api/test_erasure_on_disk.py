"""After an erasure nothing of the person's can be opened, from the log, the database, or answers that were kept."""

import asyncio
import base64
import re
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from api.master_keys import MasterKeys
from api.organization_shown import EMAIL_PLACE as INVITED_PLACE
from api.sealing import Erased, Sealer
from devnet.servers import KafkaServer
from domain.invitation import address_subject
from eventstore.postgres.pool import OPERATOR
from eventstore.postgres.store import PostgresStore
from eventstore.shards import shard_of
from tests.crash.api.disk import dumped, found_in_files
from tests.crash.api.shop import PASSWORD, Caller, Shop
from tests.crash.waiting import until
from worker.kafka import KafkaSink

pytestmark = pytest.mark.crash

PLACES = ("user.email", "user.display_name", "user.password", "origin", "account.suspension", INVITED_PLACE)
EVERYWHERE_S = 1.0


@asynccontextmanager
async def fresh_sealer(shop: Shop) -> AsyncIterator[tuple[Sealer, PostgresStore]]:
    """A sealer that has nothing in memory, with the keys of the deployment."""
    _, _, master = shop.deployment.extra["FORMSTATE_MASTER_KEYS"].partition(":")
    store = await PostgresStore.open(shop.deployment.database_url, OPERATOR, connections_max=1)
    try:
        yield Sealer(store, MasterKeys({"crash": base64.b64decode(master)})), store
    finally:
        await store.close()


async def test_an_erased_persons_data_can_be_opened_by_nobody(caller: Caller, kafka_server: KafkaServer) -> None:
    """What was sealed still lies everywhere, as it must in a log; its key is gone, and so are token and API key."""
    shop, url = caller.shop, caller.shop.deployment.database_url
    if shop.deployment.kafka != kafka_server.bootstrap_servers:
        pytest.skip("NOT TESTED: the files of servers that the environment names are out of reach")
    person = await caller.register()
    user_id, token = person["user_id"], person["token"]
    name = {"display_name": person["display_name"] + "!"}
    assert (await caller.ask("PATCH", "/users/me", name, token=token)).status == 200
    made = await caller.ask("POST", "/api-keys", {"name": "k"}, token=token, idempotency_key=secrets.token_hex(8))
    grant = {"account_id": user_id, "amount": "1.000000", "reference": f"grant-{user_id}"}
    assert (await caller.ask("POST", "/billing/credits/add", grant, token=shop.admin_token)).status == 200
    body = {"model": "fs-basic", "messages": [{"role": "user", "content": "Hello"}], "max_tokens": 16}
    key = made.json["key"]
    chat = await caller.ask("POST", "/v1/chat/completions", body, token=key, idempotency_key=secrets.token_hex(8))
    assert chat.status == 200
    for other in shop.urls:
        assert (await caller.ask("GET", "/users/me", token=key, url=other)).status == 200

    invitation = await _invited(caller, person["email"])
    async with fresh_sealer(shop) as (sealer, store):
        subjects = (f"user:{user_id}", f"account:{user_id}", invitation)
        ids = {subject: (await sealer.seal(subject, "test", b"x")).split(".")[1] for subject in subjects}
        rows = [await store.data_key(subject) for subject in subjects]
        await _dead_letter(shop, store, user_id, await sealer.seal(subjects[0], "origin", b"192.0.2.1"))
    assert all(row is not None for row in rows)

    assert (await caller.ask("DELETE", "/users/me", {"password": PASSWORD}, token=token)).status == 200
    async with asyncio.timeout(EVERYWHERE_S):
        for other in shop.urls:
            for credential in (token, key):
                while (await caller.ask("GET", "/users/me", token=credential, url=other)).status != 401:
                    await asyncio.sleep(0.02)

    dump = await dumped(url)
    everything = b"\n".join(dump.values()) + _kafka(kafka_server.data / "logs", ids[subjects[0]])
    assert not any(row.wrapped in dump["data_keys"] for row in rows if row is not None)
    async with fresh_sealer(shop) as (sealer, store):
        for subject in subjects:
            sealed = set(re.findall(rb"v1\." + ids[subject].encode() + rb"\.[A-Za-z0-9_=-]{38,}", everything))
            assert sealed, subject
            for text in sealed:
                for place in (*PLACES, f"api_key {made.json['id']}"):
                    with pytest.raises(Erased):
                        await sealer.open(subject, place, text.decode())
            with pytest.raises(Erased):
                await sealer.seal(subject, "test", b"x")
        for table in ("answers", "dead_letters"):
            assert b"v1." + ids[subjects[0]].encode() in dump[table], f"what {table} keeps is there, and shut"
    again = {"email": person["email"], "password": PASSWORD}
    answer = await caller.ask("POST", "/auth/register", again, url=shop.urls[-1])
    assert answer.status == 201
    assert answer.json["user_id"] != user_id


async def _invited(caller: Caller, email: str) -> str:
    """The person's address in somebody else's organization: whose data key it is sealed under there."""
    founder = await caller.register()
    told = {"account_id": founder["user_id"], "plan": "enterprise", "status": "active", "reference": "r"}
    told |= {"occurred_at": "2026-01-01T00:00:00Z"}
    assert (await caller.ask("PUT", "/billing/subscription", told, token=caller.shop.admin_token)).status == 200
    token = founder["token"]
    made = await caller.ask("POST", "/orgs", {"name": "Engines"}, token=token)
    assert made.status == 201, made
    org_id: str = made.json["id"]
    invited = await caller.ask("POST", f"/orgs/{org_id}/invite", {"email": email}, token=token)
    assert invited.status == 201, invited
    return address_subject(org_id, invited.json["id"])


async def _dead_letter(shop: Shop, store: PostgresStore, user_id: str, sealed: str) -> None:
    """A record of the person's that no worker can read."""
    deployment, stream = shop.deployment, f"user:{user_id}"
    sink = KafkaSink((deployment.kafka,), deployment.topic)
    try:
        record = b'{"origin": "' + sealed.encode() + b'"'
        await sink.send(shard_of(stream, deployment.shards), stream.encode(), record)
        await until(store.dead_letters, EVERYWHERE_S * 20, "a dead letter")
    finally:
        await sink.close()


def _kafka(folder: Path, key_id: str) -> bytes:
    """The files of the log that the key id is in: they are not changed by an erasure."""
    names = {name for name, _ in found_in_files(folder, {key_id.encode()})}
    assert names, "the person's commands are in Kafka"
    return b"".join((folder / name).read_bytes() for name in names)
