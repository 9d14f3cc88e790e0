"""Rows for people, as a table, and for programs, as JSON."""

from collections.abc import Sequence
from pathlib import Path

import msgspec

from bench.row import Row

HEADINGS = ("benchmark", "value", "unit", "ceiling", "ratio", "target", "")


def figure(number: float | None) -> str:
    """Four significant digits; thousands whole. Verdicts are made on the exact number."""
    if number is None:
        return ""
    if abs(number) >= 1_000:
        return f"{number:,.0f}"
    return f"{number:.4g}"


def render(rows: Sequence[Row]) -> str:
    """A table in plain text."""
    lines = [HEADINGS, *(_cells(row) for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(HEADINGS))]
    return "\n".join(_line(line, widths) for line in lines)


def _cells(row: Row) -> tuple[str, ...]:
    verdict = "" if row.target is None else "ok" if row.ok else "MISSED"
    return (
        row.name,
        figure(row.value),
        row.unit,
        figure(row.ceiling),
        figure(row.ratio),
        figure(row.target),
        verdict,
    )


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    name, value, unit, *others = (
        cell.ljust(width) if column in {0, 2, 6} else cell.rjust(width)
        for column, (cell, width) in enumerate(zip(cells, widths, strict=True))
    )
    return "  ".join([name, value, unit, *others]).rstrip()


def write_json(path: Path, rows: Sequence[Row]) -> None:
    """The rows as a JSON array of objects, every field of every row present."""
    path.write_bytes(msgspec.json.format(msgspec.json.encode(rows), indent=2) + b"\n")
