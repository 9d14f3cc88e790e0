"""Short texts that people give to things: any characters but controls, and not blank."""

import re

CONTROLS = r"\u0000-\u001f\u007f-\u009f"
PATTERN = rf"^[^{CONTROLS}]*[^\s{CONTROLS}][^{CONTROLS}]*$"
"""The same rule in the dialect of JSON Schema (ECMA-262), for documentation."""

_CONTROL = re.compile("[\u0000-\u001f\u007f-\u009f\ud800-\udfff]")


def has_controls(text: str) -> bool:
    """True if a control character or a lone surrogate is in the text (Unicode's categories Cc and Cs)."""
    return _CONTROL.search(text) is not None


def is_plain(text: str) -> bool:
    """True if there is something to see in the text, and no control character."""
    return bool(text.strip()) and not has_controls(text)
