"""Writes `docs/errors.md` from the declared codes: `python -m tests.docs.errors_page`, or `make docs`."""

import importlib
import pkgutil
from itertools import groupby

import api
from api.errors import CODES, ErrorCode, reason
from tests.docs.markdown import ROOT

PAGE = ROOT / "docs" / "errors.md"
HEAD = """\
# Errors

<!-- Written by `make docs` from the codes that are declared in `api/`: change them there. A test compares. -->

Every error has one shape, which is OpenAI's with additions:

```json
{
  "error": {
    "code": "insufficient_credits",
    "type": "insufficient_quota",
    "message": "There are not enough credits for this request.",
    "param": null,
    "request_id": "req_0123456789abcdef0123456789abcdef",
    "required": "0.000142",
    "available": "0.000000"
  }
}
```
`code` is stable and what programs should look at. `type` is OpenAI's word for the kind of error. `message` is for
people and may change. `param` names the field, parameter or header that is wrong, or is null. `request_id` is also in
the header `X-Request-Id` and in the server's log: tell it when you report a problem. Some codes add members of their
own, as the two amounts here.

A 503 or a 429 has `Retry-After`, in seconds. Repeat a write under the `Idempotency-Key` that you sent it with, and it
has one effect, whatever became of the first attempt.

A provider's own refusal of a chat completion keeps the code that the provider gave it, such as
`context_length_exceeded`, if it has one.
"""


def declared() -> dict[str, ErrorCode]:
    """Every code, once every module that could declare one is there."""
    for module in pkgutil.walk_packages(api.__path__, "api."):
        if not module.name.endswith(".__main__"):
            importlib.import_module(module.name)
    return CODES


def page() -> str:
    """The whole document: a table for each status, codes in alphabetical order."""
    parts = [HEAD]
    codes = sorted(declared().values(), key=lambda each: (each.status, each.code))
    for status, group in groupby(codes, key=lambda each: each.status):
        rows = [f"| `{each.code}` | {each.message} | {each.remedy} |" for each in group]
        head = [f"## {status} {reason(status)}", "| code | what it means | what to do |", "|---|---|---|"]
        parts.append("\n".join([*head, *rows]) + "\n")
    return "\n".join(parts)


if __name__ == "__main__":
    PAGE.write_text(page(), "utf-8")
