"""The Kafka topic of commands: how `migrate` makes it, and what api and worker refuse to run on."""

import asyncio
from typing import Any

from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import KafkaError, TopicAlreadyExistsError

REPLICAS_WANTED = 3
CONSUMER_GROUP = "formstate-worker"
"""Offsets are committed under it for lag tools, and to recognise an older database; nobody is a member of it."""
KNOWN_S = 15.0
"""How long brokers may take to hear of a new topic: the controller answers before they all have."""


class TopicUnusable(Exception):
    """The topic is missing, or has another number of partitions than there are shards, or is compacted."""


async def create_topic(servers: tuple[str, ...], topic: str, shards: int) -> bool:
    """Makes the topic with one partition a shard, unless it exists; answers whether it was made.

    It can be used when this returns; `TimeoutError` if the brokers do not hear of it in time.
    Replication is 3 with two in-sync replicas where there are three brokers: an acknowledged command is then on two.
    """
    admin = AIOKafkaAdminClient(bootstrap_servers=list(servers))
    await admin.start()
    try:
        brokers = len((await admin.describe_cluster())["brokers"])
        replicas = REPLICAS_WANTED if brokers >= REPLICAS_WANTED else 1
        configs = {
            "cleanup.policy": "delete",
            "unclean.leader.election.enable": "false",
            "min.insync.replicas": str(max(replicas - 1, 1)),
        }
        response = await admin.create_topics(
            [NewTopic(topic, num_partitions=shards, replication_factor=replicas, topic_configs=configs)]
        )
        for name, code, *message in response.topic_errors:
            if code not in (0, TopicAlreadyExistsError.errno):
                raise TopicUnusable(f"Kafka would not make the topic {name}: {message or code}")
        async with asyncio.timeout(KNOWN_S):
            while await _partitions(admin, topic) == 0:  # noqa: ASYNC110  # Kafka tells nobody when it is
                await asyncio.sleep(KNOWN_S / 300)
        return all(code == 0 for _, code, *_ in response.topic_errors)
    finally:
        await admin.close()


async def check_topic(servers: tuple[str, ...], topic: str, shards: int) -> None:
    """`TopicUnusable` with what to do, or `KafkaError` while no broker can be reached."""
    admin = AIOKafkaAdminClient(bootstrap_servers=list(servers))
    await admin.start()
    try:
        partitions = await _partitions(admin, topic)
        if partitions == 0:
            raise TopicUnusable(f"the topic {topic!r} does not exist: run `python -m worker migrate`")
        if partitions != shards:
            raise TopicUnusable(
                f"the topic {topic!r} has {partitions} partitions, but the store was made for {shards} shards: "
                "use the topic that belongs to this database"
            )
        policy = await _config(admin, topic, "cleanup.policy")
        if "compact" in policy:
            raise TopicUnusable(f"the topic {topic!r} is compacted, which deletes commands: set cleanup.policy=delete")
    finally:
        await admin.close()


async def _partitions(admin: AIOKafkaAdminClient, topic: str) -> int:
    """How many the topic has, as far as the broker that answers knows; 0 if it does not exist.

    Only a topic that is listed is asked for: asking for one by its name makes it where the brokers may do so.
    """
    if topic not in await admin.list_topics():
        return 0
    described = await admin.describe_topics([topic])
    return len(described[0]["partitions"]) if described and not described[0]["error_code"] else 0


async def _config(admin: AIOKafkaAdminClient, topic: str, name: str) -> str:
    responses: list[Any] = await admin.describe_configs([ConfigResource(ConfigResourceType.TOPIC, topic)])
    for response in responses:
        for resource in response.resources:
            if resource[0]:
                raise KafkaError(f"Kafka would not describe the topic: {resource[1]}")
            for entry in resource[4]:
                if entry[0] == name:
                    return str(entry[1])
    return ""
