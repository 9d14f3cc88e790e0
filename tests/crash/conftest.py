"""A deployment for each test: its own database and topic on the run's one PostgreSQL and one Kafka."""

import os
import random
import secrets
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from tests.crash.deployment import Deployment
from tests.crash.site import Site, open_site

SEED_VARIABLE = "FORMSTATE_TEST_SEED"


@pytest.fixture
def seed() -> str:
    """Where random moments come from: printed, and given by the environment to have them again."""
    chosen = os.environ.get(SEED_VARIABLE) or secrets.token_hex(4)
    print(f"random moments of {SEED_VARIABLE}={chosen}")
    return chosen


@pytest.fixture
def rng(seed: str) -> random.Random:
    """The source of random moments."""
    return random.Random(seed)


@pytest.fixture
def deployment(tmp_path: Path, database_url: str, kafka: str) -> Iterator[Deployment]:
    """Migrated, with no process running yet."""
    made = Deployment(tmp_path, database_url=database_url, kafka=kafka)
    made.migrate()
    yield made
    made.end()
    print("\n".join(made.report()))


@pytest.fixture
async def site(deployment: Deployment, seed: str) -> AsyncIterator[Site]:
    """The deployment with an observer and a load that has not begun."""
    async with open_site(deployment, seed) as opened:
        yield opened
