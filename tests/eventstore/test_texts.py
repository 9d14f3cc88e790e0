"""Columns handed to PostgreSQL as texts arrive as they were."""

import asyncpg
import pytest

from eventstore.postgres.texts import NULL, SEPARATOR, joined, unnested

WIDTH = 2
SQL = f"SELECT * FROM {unnested(WIDTH)}".format(*(f"${number}::text" for number in range(1, WIDTH + 3)))  # noqa: S608


@pytest.mark.parametrize(
    "rows",
    [
        [("a", "b")],
        [("", "")],
        [("", None)],
        [("a", None), ("", "b"), ("c", "")],
        [("tab\tquote\"'comma,{braces}\\", "ü€😀"), ("\n", "NULL")],
        [(f"x{SEPARATOR}y", f"{NULL}"), (SEPARATOR, None)],
        [(f"{SEPARATOR}0{NULL}0", f"{NULL}1"), ("", None)],
    ],
)
async def test_rows_arrive_as_they_were(database_url: str, rows: list[tuple[str, str | None]]) -> None:
    """Empty texts, NULLs and the separators themselves survive the way to the server."""
    connection = await asyncpg.connect(database_url)
    try:
        columns = [[row[column] for row in rows] for column in range(WIDTH)]
        assert [tuple(row) for row in await connection.fetch(SQL, *joined(columns))] == rows
    finally:
        await connection.close()
