"""Short texts that people give to things: any characters but controls, and not blank."""

import re
from typing import Annotated, TypeAlias

from msgspec import Meta

from api.errors import ApiError, declare

CONTROLS = r"\u0000-\u001f\u007f-\u009f"
PATTERN = rf"^[^{CONTROLS}]*[^\s{CONTROLS}][^{CONTROLS}]*$"
"""The same rule in the dialect of JSON Schema (ECMA-262), for documentation."""

Name: TypeAlias = Annotated[
    str,
    Meta(
        min_length=1,
        max_length=100,
        description="At most 100 characters, no control characters.",
        extra_json_schema={"pattern": PATTERN},
    ),
]
"""What a body says as the name of a thing; `check_name` does the rest."""

declare("invalid_name", "invalid", "The name is empty or holds control characters.", "Send 1 to 100 characters.")

_CONTROL = re.compile("[\u0000-\u001f\u007f-\u009f\ud800-\udfff]")


def has_controls(text: str) -> bool:
    """True if a control character or a lone surrogate is in the text (Unicode's categories Cc and Cs)."""
    return _CONTROL.search(text) is not None


def is_plain(text: str) -> bool:
    """True if there is something to see in the text, and no control character."""
    return bool(text.strip()) and not has_controls(text)


def check_name(name: str) -> None:
    """400 `invalid_name` unless it is plain."""
    if not is_plain(name):
        raise ApiError("invalid_name", param="name")
