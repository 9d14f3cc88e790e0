"""Lists, page by page: `limit` and `cursor` in, `has_more` and `next_cursor` out."""

from collections.abc import Callable
from typing import Annotated, Any, TypeVar

import msgspec
from msgspec import Meta, Struct

from api import base64url
from api.call import Call
from api.errors import ApiError
from projections.paging import Cursor, Page

LIMIT_DEFAULT = 20
LIMIT_MAX = 100
_CURSOR_MAX = 1024
_PART_MAX = 400

D = TypeVar("D")
T = TypeVar("T")

Limit = Annotated[int, Meta(ge=1, le=LIMIT_MAX, description="How many at most.")]
CursorText = Annotated[str, Meta(max_length=_CURSOR_MAX, description="`next_cursor` of the page before.")]


class PageQuery(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What every list takes; a noun with filters derives from it."""

    limit: Limit = LIMIT_DEFAULT
    cursor: CursorText | None = None

    def after(self) -> Cursor | None:
        """The place that the cursor names. 400 `invalid_cursor`."""
        return None if self.cursor is None else decode_cursor(self.cursor)


def encode_cursor(place: Cursor) -> str:
    """(sort, key) as base64url text; it survives a rebuild of the read model."""
    return base64url.encoded(msgspec.json.encode(place))


def decode_cursor(text: str) -> Cursor:
    """The place of a cursor. 400 `invalid_cursor` for any text that `encode_cursor` would not have written.

    A made-up place shows nothing that is not the caller's: pages are bounded by their owner, not by the cursor.
    """
    try:
        sort, key = msgspec.json.decode(base64url.decoded(text), type=tuple[str, str])
    except (msgspec.MsgspecError, ValueError):
        raise ApiError("invalid_cursor", param="cursor") from None
    sane = max(len(sort), len(key)) <= _PART_MAX and (sort + key).isprintable()
    if not sane or encode_cursor((sort, key)) != text:
        raise ApiError("invalid_cursor", param="cursor")
    return sort, key


def next_link(call: Call[Any, PageQuery], next_cursor: str | None) -> dict[str, str]:
    """`Link` to the next page (RFC 8288), for answers that have no place for `next_cursor`; none on the last page."""
    if next_cursor is None:
        return {}
    return {"Link": f'<{call.url_path}?limit={call.query.limit}&cursor={next_cursor}>; rel="next"'}


def list_fields(page: Page[Any], shown: Callable[[Any], T]) -> dict[str, Any]:
    """`data`, `has_more` and `next_cursor` for a noun's own list struct: `ApiKeyList(**list_fields(page, show))`."""
    return {
        "data": [shown(item) for item in page.items],
        "has_more": page.next_after is not None,
        "next_cursor": None if page.next_after is None else encode_cursor(page.next_after),
    }
