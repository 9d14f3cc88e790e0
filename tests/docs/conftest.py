"""One devnet for all documents: a real process with a real socket."""

from collections.abc import Iterator

import pytest

from devnet.child import kill_tree
from tests.docs.running import Demo, start_devnet


@pytest.fixture(scope="session")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Demo]:
    """What `make devnet` starts."""
    started, child = start_devnet(tmp_path_factory.mktemp("devnet"))
    yield started
    kill_tree(child)
