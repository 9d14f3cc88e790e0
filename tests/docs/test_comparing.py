"""The comparison notices what a reader would, and only that."""

import json

import pytest

from tests.docs.comparing import differences
from tests.docs.markdown import examples_of, parsed

ANSWER = {"id": "key_0123456789abcdef", "at": "2026-01-02T03:04:05.678901Z", "cost": "0.000137", "data": [1, 2]}


@pytest.mark.parametrize(
    "shown",
    [
        ANSWER,
        ANSWER | {"id": "key_9af1…", "at": "2020-12-31T00:00:00Z"},
        ANSWER | {"cost": "0.000…", "data": [1, "…"]},
        ANSWER | {"data": ["…"]},
    ],
)
def test_what_is_shown_truly_is_accepted(shown: object) -> None:
    """Other ids, other times, and what the document leaves out."""
    assert differences("json", json.dumps(shown), json.dumps(ANSWER)) == []


@pytest.mark.parametrize(
    "shown",
    [
        ANSWER | {"cost": "0.000138"},
        ANSWER | {"more": 1},
        {"id": "key_9af1…"},
        ANSWER | {"id": "user_9af1…"},
        ANSWER | {"at": None},
        ANSWER | {"data": [1]},
        ANSWER | {"data": [1, 2, 3, "…"]},
        ANSWER | {"data": [True, 2]},
    ],
)
def test_what_is_shown_wrongly_is_found(shown: object) -> None:
    """Another value, another type, a member or an element too many or too few."""
    assert differences("json", json.dumps(shown), json.dumps(ANSWER)) != []


@pytest.mark.parametrize(
    ("shown", "same"),
    [
        ("one\ntwo\n\nthree", True),
        ("one\n…\nthree", True),
        ("one\n\n…\n\nthree", False),
        ("…\n\nthree", True),
        ("on…\n…", True),
        ("one\ntwo", False),
        ("one\nthree\n…", False),
        ("one\n…\nfour", False),
        ("one\ntwo\n\nthree\nfour", False),
    ],
)
def test_lines_are_compared_in_order(shown: str, same: bool) -> None:
    """A line of `…` skips others; everything else must be there, and nothing more."""
    assert (differences("text", shown, "one\ntwo\n\nthree") == []) is same


def test_blocks_are_found_with_their_comments() -> None:
    """An indented block loses its indentation, a comment stands right before its block, an output right behind."""
    text = """
<!-- not run: no reason to -->
```sh
one
```
Text.
   ```sh
   two
     deeper
   ```

```json
{}
```
```sh
three
```
"""
    blocks = parsed("a.md", text)
    assert [(block.line, block.runs, block.text) for block in blocks] == [
        (3, False, "one"),
        (7, True, "two\n  deeper"),
        (12, False, "{}"),
        (15, True, "three"),
    ]
    assert [example.output for example in examples_of(blocks)] == [blocks[2], None]
