"""Answers as CSV (RFC 4180) for clients that prefer it (`Accept: text/csv`), safe to open in a spreadsheet."""

import csv
import io
import re
from collections.abc import Iterable, Sequence

from api.call import Reply

MEDIA_TYPE = "text/csv; charset=utf-8; header=present"
_NUMBER = re.compile(r"-?\d+(\.\d+)?", re.ASCII)
_DANGEROUS = ("=", "+", "-", "@", "\t", "\r", "\n")
"""What a spreadsheet takes for the beginning of a formula (OWASP, "CSV Injection")."""


def prefers_csv(accept: str | None) -> bool:
    """Whether `Accept` (RFC 9110, 12.5.1) prefers CSV to JSON; who says nothing gets JSON."""
    if accept is None or "text/csv" not in accept.lower():
        return False
    weights = _weights(accept.lower())
    return weights.get("text/csv", 0) > weights.get("application/json", 0)


def _weights(accept: str) -> dict[str, int]:
    """Thousandths by media type; what cannot be read counts as not acceptable."""
    weights: dict[str, int] = {}
    for each in accept.split(","):
        media, *parameters = (part.strip() for part in each.split(";"))
        weight = next((part[2:] for part in parameters if part.startswith("q=")), "1")
        known = re.fullmatch(r"[01](\.\d{0,3})?", weight, re.ASCII)
        weights[media] = int(weight.replace(".", "").ljust(4, "0")) if known else 0
    return weights


def csv_reply(name: str, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> Reply:
    """A file `name`.csv with a line of headings."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\r\n")
    writer.writerow(columns)
    writer.writerows([_cell(value) for value in row] for row in rows)
    headers = {"Content-Disposition": f'attachment; filename="{name}.csv"', "Vary": "Accept"}
    return Reply(status=200, body=text.getvalue().encode(), headers=headers, media_type=MEDIA_TYPE)


def _cell(value: object) -> object:
    """A number or a text; one that a spreadsheet would compute is made a text by an apostrophe."""
    if not isinstance(value, str) or not value.startswith(_DANGEROUS) or _NUMBER.fullmatch(value):
        return "" if value is None else value
    return f"'{value}"
