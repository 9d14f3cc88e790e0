"""The list of error codes for `docs/errors.md`, written by `python -m api --errors`."""

from itertools import groupby

import api.wiring  # noqa: F401  # imports all that declares error codes
from api.errors import CODES, KINDS, ErrorCode, reason
from api.route import all_routes

_HEAD = """\
# Errors and their remedies

Every error, of any route, has one shape; the header `X-Request-Id` carries its `request_id` too:

```json
{
  "error": {
    "code": "insufficient_credits",
    "type": "insufficient_quota",
    "message": "There are not enough credits for this request.",
    "param": null,
    "request_id": "req_0123456789abcdef0123456789abcdef",
    "required": "0.010000",
    "available": "0.002500"
  }
}
```

Programs read `code`, which is stable; `message` is for people and may change. `param` names the field, parameter or
header that is wrong. Some codes add fields of their own; amounts of credits are decimal strings. 422 means a reused
`Idempotency-Key` and nothing else. A 503 or 429 says in `Retry-After` when to try again.

This page is written by `python -m api --errors`.
"""


def declared() -> list[ErrorCode]:
    """Every declared code, by status and then by name."""
    all_routes()
    return sorted(CODES.values(), key=lambda each: (each.status, each.code))


def errors_page() -> str:
    """The page as Markdown: a section for each status, a row for each code."""
    parts = [_HEAD]
    for status, codes in groupby(declared(), key=lambda each: each.status):
        rows = [
            f"| `{each.code}` | `{KINDS[each.kind].type}` | {_cell(each.message)} | {_cell(each.remedy)} |"
            for each in codes
        ]
        head = ["| code | type | what it says | what to do |", "|---|---|---|---|"]
        parts.append(f"## {status} {reason(status)}\n\n" + "\n".join([*head, *rows]) + "\n")
    return "\n".join(parts)


def _cell(text: str) -> str:
    return text.replace("|", "\\|")
