"""Statements find their rows by index, whatever the planner believes about the size of a table."""

import asyncpg
import pytest

from eventstore.postgres import migrations, outbox, outcomes, rates, streams
from eventstore.postgres.pool import WORKER, session_settings
from projections.document_tables import migrate_documents
from projections.postgres import LOAD
from tests.conftest import Prepare


def _with_arguments(sql: str, count: int) -> str:
    return sql.format(*(f"${number}" for number in range(1, count + 1)))


STATEMENTS = {
    "outcomes": outcomes.READ,
    "heads": streams.HEADS,
    "events": streams.EVENTS_BEHIND,
    "moved heads": _with_arguments(streams.MOVED_HEADS, 9),
    "heads with snapshots": _with_arguments(streams.SNAPSHOT_HEADS, 10),
    "rates": rates.EXCHANGE,
    "reported minutes": rates.REPORTED,
    "due deliveries": outbox.CLAIM,
    "unread events": outbox.UNREAD,
    "events of types": outbox.EVENTS,
    "delivered": outbox.FINISH,
    "postponed": outbox.POSTPONE,
    "documents": LOAD.format(collection="credits", table="rm_credits", shards="$1", keys="$2"),
}


async def _analysed_as_empty(url: str) -> None:
    connection = await migrations.connect(url)
    await migrations.migrate(connection)
    await migrate_documents(connection)
    await connection.execute("VACUUM ANALYZE")
    await connection.close()


@pytest.fixture
def prepare() -> Prepare:
    """Each test has a database whose tables were analysed as empty."""
    return _analysed_as_empty


@pytest.mark.parametrize("name", STATEMENTS)
async def test_an_empty_table_is_looked_up_by_index(database_url: str, name: str) -> None:
    """A plan made while a table was analysed as empty stays good when the table has grown."""
    worker = await asyncpg.connect(database_url, server_settings=session_settings(WORKER))
    try:
        # No arguments go along with EXPLAIN: they are NULL, which changes nothing about a generic plan.
        await worker.execute(f"PREPARE statement AS {STATEMENTS[name]}")
        arguments = await worker.fetchval(
            "SELECT cardinality(parameter_types) FROM pg_prepared_statements WHERE name = 'statement'"
        )
        plan = await worker.fetch(f"EXPLAIN EXECUTE statement ({', '.join(['NULL'] * arguments)})")
    finally:
        await worker.close()
    lines = "\n".join(str(row[0]) for row in plan)
    assert "Index Cond" in lines, lines
    assert "Seq Scan" not in lines, lines
    assert not [line for line in lines.splitlines() if "Join Filter" in line and "version" not in line], lines
