"""The drill of docs/operating.md: dump, lose the database, restore, adopt the log, verify."""

import asyncio
import subprocess
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path

import pytest

from devnet.postgres_server import _binaries
from devnet.servers import create_database, drop_database
from tests.crash.deployment import Deployment
from tests.crash.site import open_site
from tests.crash.waiting import until

TOOL_S = 60.0


@pytest.fixture
async def deployment(tmp_path: Path, database_url: str, kafka: str) -> AsyncIterator[Deployment]:
    """Migrated, with no process running yet."""
    made = Deployment(tmp_path, database_url=database_url, kafka=kafka, shards=4)
    await asyncio.to_thread(made.migrate)
    yield made
    made.end()
    print("\n".join(made.report()))


async def test_a_dump_is_restored_and_catches_up_with_the_log(deployment: Deployment, tmp_path: Path) -> None:
    """A database that is lost after its dump has, once restored, each acknowledged command exactly once again."""
    lost, dump = deployment.database_url, tmp_path / "dump"
    async with open_site(deployment, "before") as before:
        [worker] = await before.workers(1)
        await before.begin()
        await _tool("pg_dump", "--format=custom", f"--file={dump}", lost)
        await before.load.more(200)
        await before.catch_up()
        assert worker.stop() == 0
    deployment.database_url = restored = await create_database(lost)
    try:
        await _tool("pg_restore", "--exit-on-error", "--no-owner", f"--dbname={restored}", str(dump))
        async with open_site(deployment, "after") as after:
            deployment.start_worker()

            async def noticed() -> bool:
                return len(await after.observer.stopped()) == deployment.shards

            await until(noticed, TOOL_S, "every shard has stopped: the database is an older one")
            said = await asyncio.to_thread(deployment.operate, "adopt-log", "--yes")
            assert "Done." in said, said
            await after.begin()
            await after.finish(before.load)  # audits every command of both loads, and runs `python -m worker verify`
    finally:
        deployment.end()
        await drop_database(lost, restored)


async def _tool(name: str, *words: str) -> None:
    """Runs one of the server's own tools."""
    binary = _binaries() / name
    if not binary.exists():
        pytest.skip(f"NOT TESTED: {name} is not installed")
    run = partial(subprocess.run, capture_output=True, text=True, timeout=TOOL_S, check=False)
    done = await asyncio.to_thread(run, [binary, *words])
    assert done.returncode == 0, done.stderr
