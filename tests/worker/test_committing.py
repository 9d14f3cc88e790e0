"""Positions reach the log soon, one commit at a time, and nobody waits for it."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, MutableMapping
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer

from devnet.servers import unique_topic
from eventstore.command_topic import create_topic
from worker.committing import Committer
from worker.kafka import KafkaSource
from worker.source import LogUnavailable

WAIT_S = 10.0


class Slow:
    """A log whose commits take until the test lets them end."""

    def __init__(self) -> None:
        self.commits: list[dict[int, int]] = []
        self.under_way = self.most = 0
        self.failing = False
        self.go = asyncio.Event()
        self.go.set()

    async def commit(self, positions: Mapping[int, int]) -> None:
        """Keeps what is committed."""
        self.under_way += 1
        self.most = max(self.most, self.under_way)
        self.commits.append(dict(positions))
        await self.go.wait()
        self.under_way -= 1
        if self.failing:
            raise LogUnavailable("no coordinator")


@pytest.fixture
def slow() -> Slow:
    """A log."""
    return Slow()


@pytest.fixture
async def committer(slow: Slow) -> AsyncIterator[Committer]:
    """One that paces itself by the event loop alone, and never repeats itself."""
    made = Committer(slow.commit, every_s=0, again_s=0, repeat_s=3_600)
    yield made
    await made.close()


async def _until(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(WAIT_S):
        while not true():
            await asyncio.sleep(0)


async def test_only_the_newest_is_committed_and_never_two_at_once(slow: Slow, committer: Committer) -> None:
    """What comes while a commit is under way waits for it, and is one commit then."""
    slow.go.clear()
    committer.progressed({0: 1, 1: 7})
    await _until(lambda: slow.under_way == 1)
    for offset in range(2, 50):
        committer.progressed({0: offset, 1: 7})
        await asyncio.sleep(0)
    slow.go.set()
    await _until(lambda: len(slow.commits) == 2 and slow.under_way == 0)
    assert slow.commits == [{0: 1, 1: 7}, {0: 49}]
    assert slow.most == 1


async def test_a_commit_that_failed_is_made_again(
    slow: Slow, committer: Committer, logged: list[MutableMapping[str, Any]]
) -> None:
    """It is only said; the next one has everything that no commit has told yet."""
    slow.failing = True
    committer.progressed({0: 1})
    await _until(lambda: len(slow.commits) >= 3)
    slow.failing = False
    committer.progressed({0: 2})
    await _until(lambda: slow.commits[-1] == {0: 2})
    assert logged[0] == {"event": "positions_not_committed", "reason": "no coordinator", "log_level": "warning"}


async def test_shards_that_are_not_ours_any_more_are_not_committed(slow: Slow, committer: Committer) -> None:
    """Their next owner commits them."""
    committer.progressed({0: 1, 1: 1})
    await _until(lambda: len(slow.commits) == 1 and slow.under_way == 0)
    committer.progressed({1: 2})
    await _until(lambda: len(slow.commits) == 2)
    assert slow.commits[1] == {1: 2}


async def test_positions_are_committed_again_by_and_by(slow: Slow) -> None:
    """Older ones that were written over them do not stay."""
    committer = Committer(slow.commit, every_s=0, repeat_s=0.01)
    committer.progressed({0: 1})
    await _until(lambda: len(slow.commits) >= 3)
    await committer.close()
    assert slow.commits[:3] == 3 * [{0: 1}]


async def test_commits_beside_fetches_share_one_reader(kafka: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever comes first connects; a second reader would be left behind."""
    made: list[AIOKafkaConsumer] = []

    def making(**options: Any) -> AIOKafkaConsumer:
        made.append(AIOKafkaConsumer(**options))
        return made[-1]

    monkeypatch.setattr("worker.kafka.AIOKafkaConsumer", making)
    topic = unique_topic()
    await create_topic((kafka,), topic, 2)
    source = KafkaSource((kafka,), topic)
    try:
        await asyncio.gather(source.assign({0: 0}), source.commit({0: 1}))
        assert len(made) == 1
    finally:
        await source.close()


async def test_kafka_knows_soon(kafka: str) -> None:
    """Nobody has waited for it, and the last positions need no orderly end."""
    topic = unique_topic()
    await create_topic((kafka,), topic, 2)
    source, other = KafkaSource((kafka,), topic), KafkaSource((kafka,), topic)
    try:
        await source.assign({0: 0, 1: 0})
        source.progressed({0: 3, 1: 4, 7: 1})
        async with asyncio.timeout(WAIT_S):
            while (await other.bounds(1)).committed != 4:
                await asyncio.sleep(0.02)
        assert (await other.bounds(0)).committed == 3
    finally:
        await source.close()
        await other.close()
