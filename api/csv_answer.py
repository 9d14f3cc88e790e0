"""Answers as CSV (RFC 4180) for clients that prefer it (`Accept: text/csv`), safe to open in a spreadsheet.

JSON is for everybody else, also for who accepts neither: an answer of the other kind says more than a 406 (RFC 9110,
12.5.1). `Vary` stands on both, so that no cache hands one out for the other.
"""

import csv
import io
import re
from collections.abc import Iterable, Mapping, Sequence

from msgspec import Struct

from api.call import Reply

MEDIA_TYPE = "text/csv; charset=utf-8; header=present"
_VARY = {"Vary": "Accept"}
_NUMBER = re.compile(r"-?\d+(\.\d+)?", re.ASCII)
_DANGEROUS = ("=", "+", "-", "@", "\t", "\r", "\n")
"""What a spreadsheet takes for the beginning of a formula (OWASP, "CSV Injection")."""


def prefers_csv(accept: str | None) -> bool:
    """Whether `Accept` (RFC 9110, 12.5.1) prefers CSV to JSON: by weight, then by how exactly each is named."""
    if accept is None or "text/" not in accept.lower():
        return False
    weights = _weights(accept.lower())
    csv, json = (_wanted(weights, *media) for media in (("text", "csv"), ("application", "json")))
    return csv[0] > 0 and csv > json


def _wanted(weights: dict[str, int], kind: str, subtype: str) -> tuple[int, int]:
    """What the most exact of its names weighs, and how exact that is."""
    names = (f"{kind}/{subtype}", f"{kind}/*", "*/*")
    return next(((weights[name], -place) for place, name in enumerate(names) if name in weights), (0, -len(names)))


def _weights(accept: str) -> dict[str, int]:
    """Thousandths by media type; what cannot be read counts as not acceptable."""
    weights: dict[str, int] = {}
    for each in accept.split(","):
        media, *parameters = (part.strip() for part in each.split(";"))
        weight = next((part[2:] for part in parameters if part.startswith("q=")), "1")
        known = re.fullmatch(r"[01](\.\d{0,3})?", weight, re.ASCII)
        weights[media] = int(weight.replace(".", "").ljust(4, "0")) if known else 0
    return weights


def csv_reply(
    name: str, columns: Sequence[str], rows: Iterable[Sequence[object]], headers: Mapping[str, str] | None = None
) -> Reply:
    """A file `name`.csv with a line of headings."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\r\n")
    writer.writerow(columns)
    writer.writerows([_cell(value) for value in row] for row in rows)
    shown = {"Content-Disposition": f'attachment; filename="{name}.csv"', **_VARY, **(headers or {})}
    return Reply(status=200, body=text.getvalue().encode(), headers=shown, media_type=MEDIA_TYPE)


def json_reply(body: Struct) -> Reply:
    """The same as JSON."""
    return Reply(status=200, body=body, headers=_VARY)


def _cell(value: object) -> object:
    """A number or a text; one that a spreadsheet would compute is made a text by an apostrophe."""
    if not isinstance(value, str) or not value.startswith(_DANGEROUS) or _NUMBER.fullmatch(value):
        return "" if value is None else value
    return f"'{value}"
