"""Several changes of several tables as one statement: one exchange with the server instead of one for each."""

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import msgspec
from msgspec import Struct


class TableChange(Struct, frozen=True, kw_only=True):
    """One `INSERT`, `UPDATE` or `DELETE` of its own rows. `sql` says `{0}`, `{1}`, … for its arguments."""

    name: str
    sql: str
    arguments: Sequence[Any]
    counted: bool = False
    """The statement ends in `RETURNING`; the rows that gives must be as many as expected."""


def merged(changes: Sequence[TableChange], expected: int) -> tuple[str, list[Any]]:
    """The text and arguments of one statement, which fails unless the counted changes give `expected` rows together.

    It fails by dividing by zero, the one way there is in plain SQL; that is a `VersionConflict` (`driver_errors`).
    All changes see the database as it was before: no two may touch the same row.
    """
    shape = tuple((change.name, change.sql, len(change.arguments), change.counted) for change in changes)
    return _text(shape), [*(argument for change in changes for argument in change.arguments), expected]


@lru_cache(maxsize=1_000)
def _text(shape: tuple[tuple[str, str, int, bool], ...]) -> str:
    changes = []
    first = 1
    for name, sql, arity, _ in shape:
        changes.append(f"{name} AS ({sql.format(*(f'${number}' for number in range(first, first + arity)))})")
        first += arity
    counts = [f"(SELECT count(*) FROM {name})" for name, _, _, counted in shape if counted]  # noqa: S608  # our names
    as_expected = f"({' + '.join(counts)} = ${first}::bigint)"
    return f"WITH {', '.join(changes)} SELECT 1 / {as_expected}::integer"


def columns(rows: Sequence[Struct], kind: type[Struct]) -> list[Sequence[Any]]:
    """The rows of a struct as one sequence for each field, in the fields' order, for `unnest`."""
    if not rows:
        return [()] * len(kind.__struct_fields__)
    return list(zip(*map(msgspec.structs.astuple, rows), strict=True))
