"""CSV: what was put in comes out of a reader, and no cell is a formula."""

import csv
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.csv_answer import csv_reply, prefers_csv

cells = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"))


@given(st.lists(st.tuples(cells, cells), min_size=1))
def test_what_was_written_is_read(rows: list[tuple[str, str]]) -> None:
    """Commas, quotes and line breaks survive; what would be computed has an apostrophe before it, and nothing else."""
    body = csv_reply("x", ("a", "b"), rows).body
    assert isinstance(body, bytes)
    heading, *found = csv.reader(io.StringIO(body.decode(), newline=""))
    assert heading == ["a", "b"]
    for wanted, read in zip(rows, found, strict=True):
        for cell, shown in zip(wanted, read, strict=True):
            assert shown in (cell, f"'{cell}")
            assert not shown.startswith(("=", "@", "+", "\t", "\r", "\n"))


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("=1+1", "'=1+1"),
        ("-2+3", "'-2+3"),
        ("@SUM(A1)", "'@SUM(A1)"),
        ("+49 30", "'+49 30"),
        ("\t=1", "'\t=1"),
        ("-0.000120", "-0.000120"),
        ("12", "12"),
        (None, '""'),
        (-7, "-7"),
        ('a "b", c', '"a ""b"", c"'),
    ],
)
def test_no_cell_is_a_formula(value: object, shown: str) -> None:
    """Numbers stay numbers, also negative ones; texts that look like formulas are texts."""
    assert csv_reply("x", ("a",), [(value,)]).body == b"a\r\n" + shown.encode() + b"\r\n"


@pytest.mark.parametrize(
    ("accept", "wanted"),
    [
        (None, False),
        ("*/*", False),
        ("application/json", False),
        ("text/csv", True),
        ("Text/CSV; charset=utf-8", True),
        ("text/csv, application/json;q=0.5", True),
        ("text/csv;q=0.5, application/json", False),
        ("text/csv;q=0", False),
        ("text/csv;q=bad", False),
        ("text/csv, application/json", False),
        ("text/csv, */*;q=0.1", True),
        ("text/csv, */*", True),
        ("text/csv;q=0.5, */*", False),
        ("text/*", True),
        ("text/*, application/*", False),
        ("text/*, text/csv;q=0", False),
        ("text/html, application/xml;q=0.9, */*;q=0.8", False),
        ("image/png", False),
    ],
)
def test_who_prefers_csv_gets_it(accept: str | None, wanted: bool) -> None:
    """By the weights of `Accept`, then by which is named more exactly; between equals it is JSON."""
    assert prefers_csv(accept) is wanted
