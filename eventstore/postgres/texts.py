"""Columns of many rows, each handed over as one text that the server takes apart.

An array as a parameter costs the driver a look into every element, as long as deciding the command itself takes
(docs/performance.md). Control characters cannot occur in JSON and do not in our ids; where they do, others are taken.
"""

from collections.abc import Sequence
from itertools import count

SEPARATOR, NULL = "\x1f", "\x1e"


def unnested(width: int) -> str:
    """SQL for the `unnest` of `width` columns from `joined`, whose arguments are `{0}` and on; all columns are texts.

    A separator stands before each element, since a text without one would be no element and not an empty one.
    """
    columns = (f"(string_to_array({{{number}}}, {{0}}, {{1}}))[2:]" for number in range(2, width + 2))
    return f"unnest({', '.join(columns)})"


def joined(columns: Sequence[Sequence[str | None]]) -> list[str]:
    """The separator, the text that stands for NULL, and each column as one text."""
    separator, null = SEPARATOR, NULL
    for number in count():
        texts = [_joined(column, separator, null) for column in columns]
        clear = [text for text in texts if text is not None]
        if len(clear) == len(columns):
            return [separator, null, *clear]
        separator, null = f"{SEPARATOR}{number}", f"{NULL}{number}"
    raise AssertionError("texts are finite, and so are the separators in them")


def text_of(encoded: bytes) -> str:
    """The text in UTF-8; what is none becomes a text that the driver refuses as a `DataError`, like any bad value."""
    return encoded.decode("utf-8", "surrogateescape")


def _joined(column: Sequence[str | None], separator: str, null: str) -> str | None:
    """The column as one text; `None` if an element has the separator or the text for NULL in it."""
    nulls = 0
    try:
        text = separator + separator.join(column)  # type: ignore[arg-type]  # mostly there is no None in it
    except TypeError:
        nulls = column.count(None)
        text = separator + separator.join(null if each is None else each for each in column)
    return text if text.count(separator) == len(column) and text.count(null) == nulls else None
