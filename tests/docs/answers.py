"""The answers that `docs/api.md` shows, by route, so that the OpenAPI document can show them too.

`make openapi` keeps them in `api/answer_examples.json`. What they say is true, for the page's examples are run.
"""

import hashlib
import json
import re
import sys
from typing import Any

from tests.docs.markdown import Block, parsed

JSON = "application/json"
_SECTION = re.compile(r"^### ([A-Z]+ /\S*)$")
_LEFT_OUT = "…"
_ID = re.compile(r"(?<=[_-])([0-9A-Za-z]{0,8})…(?:[0-9A-Za-z]{4}\b)?")
_DECIMAL = re.compile(r"(\d+)(?:\.(\d*))?…")
_ID_LENGTH = 32
_PLACES = 6


def answer_examples(page: str) -> dict[str, dict[str, Any]]:
    """By `METHOD /path` and media type: the first answer that the route's section shows and that is no error.

    JSON is the first `json` block, another media type the `text` block below a comment `<!-- answer: TYPE -->`.
    """
    found: dict[str, dict[str, Any]] = {}
    for name, blocks in _sections(page).items():
        answers: dict[str, Any] = {}
        for block in blocks:
            if block.language == "json":
                value = json.loads(block.text)
                if not isinstance(value.get("error"), dict):
                    answers.setdefault(JSON, _filled_in(value))
            elif block.comment.startswith("answer: "):
                answers.setdefault(block.comment.removeprefix("answer: "), _text_filled_in(block.text))
        if answers:
            found[name] = answers
    return dict(sorted(found.items()))


def _sections(page: str) -> dict[str, list[Block]]:
    """The fenced blocks below each route's heading."""
    parts = re.split(r"^(?=##+ )", page, flags=re.MULTILINE)
    heads = ((_SECTION.match(part.partition("\n")[0]), part) for part in parts)
    return {head[1]: parsed(head[1], part) for head, part in heads if head is not None}


def _filled_in(value: Any) -> Any:
    """What the page leaves out: the rest of ids and amounts is made up, the rest of lists is not shown."""
    if isinstance(value, dict):
        return {name: _filled_in(each) for name, each in value.items()}
    if isinstance(value, list):
        return [_filled_in(each) for each in value if each != _LEFT_OUT]
    return _word_filled_in(value) if isinstance(value, str) else value


def _word_filled_in(text: str) -> str:
    if text == _LEFT_OUT:
        return _some_id("")
    amount = _DECIMAL.fullmatch(text)
    if amount is not None:
        return f"{amount[1]}.{amount[2] or '':0<{_PLACES}}"
    return _ID.sub(lambda match: _some_id(match[1]), text).replace(_LEFT_OUT, "")


def _text_filled_in(text: str) -> str:
    kept = [line for line in text.replace(",…", "").splitlines() if line.strip() != _LEFT_OUT]
    return "\n".join(map(_word_filled_in, kept)).strip() + "\n"


def _some_id(begun: str) -> str:
    """The same digits each time."""
    return (begun + hashlib.sha256(begun.encode()).hexdigest())[:_ID_LENGTH]


def printed(page: str) -> str:
    """The file's text."""
    return json.dumps(answer_examples(page), indent=1, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    sys.stdout.write(printed(sys.stdin.read()))
