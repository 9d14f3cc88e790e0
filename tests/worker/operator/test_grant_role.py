"""`grant-role`: the way to the first admin goes through the log, like every other command's."""

from collections.abc import MutableMapping
from typing import Any

import pytest

from devnet.servers import unique_topic
from projections.postgres import PostgresDocuments
from projections.users import get_user
from tests.worker.operator.yard import SHARDS, kafka_yard, register
from worker.grant_role import grant_role
from worker.operating import NotDone


async def test_a_role_is_granted(database_url: str, kafka: str, logged: list[MutableMapping[str, Any]]) -> None:
    """The user has the role once the command returns, and the event says that an operator gave it."""
    async with kafka_yard(database_url, kafka, unique_topic()) as yard, yard.working():
        await yard.apply("user:user_1", register("user_1"))
        assert await grant_role(yard.settings, user_id="user_1", role="admin") == "user_1 has the role admin"
        found = await get_user(PostgresDocuments(yard.store.pool), SHARDS, "user_1")
        assert found is not None
        assert found.role == "admin"
        (row,) = await yard.rows("SELECT metadata FROM events_readable WHERE type = 'user.role_granted'")
        assert '"operator"' in row["metadata"]
        with pytest.raises(NotDone, match="There is no such user"):
            await grant_role(yard.settings, user_id="user_2", role="admin")
