"""From bytes to the structs of a route: decoders are built once, refusals name the field."""

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any
from urllib.parse import parse_qsl

import msgspec

from api.allowed_values import allowed_values
from api.errors import ApiError
from api.json_door import check_json, check_text
from api.route import Route

QUERY_BYTES_MAX = 8 * 1024
PATH_VALUE_MAX = 512
IDEMPOTENCY_KEY_MAX = 255
_FIELDS_MAX = 64
_PATH_VALUE = re.compile(r"[!-~]*", re.ASCII)
_PLACE = re.compile(r" - at (`key` in )?`\$\.?(.*)`$")
_MISSING = re.compile(r"missing required field `(.+?)`|unknown field `(.+?)`")

_UNQUOTED = re.compile(r"Expected `str( \| null)?`, got `(int|float)`")
"""An amount, most of all: as a number it could have become a float on its way."""
_JSON = b"application/json"
SINGLE = {
    b"authorization": "Authorization",
    b"x-api-key": "X-API-Key",
    b"idempotency-key": "Idempotency-Key",
    b"content-type": "Content-Type",
    b"x-organization": "X-Organization",
}


def body_decoder(route: Route) -> Callable[[bytes], Any]:
    """Decodes a route's body: 400 `invalid_json` or `invalid_request` with `param`. A DELETE may have none (`None`)."""
    shape = route.body
    if shape is None or route.raw:
        return _nothing
    if not shape.__struct_config__.forbid_unknown_fields:
        raise TypeError(f"{shape.__name__} must be defined with forbid_unknown_fields=True")
    decode = msgspec.json.Decoder(shape).decode

    def decode_body(body: bytes) -> Any:
        if not body and route.method == "DELETE":
            return None
        if not body and route.body_optional:
            return shape()
        if not body:
            raise ApiError("invalid_json", "This route needs a JSON body.")
        check_json(body)
        try:
            return decode(body)
        except msgspec.ValidationError as error:
            raise _invalid(error, "invalid_request", shape) from None
        except (msgspec.DecodeError, RecursionError) as error:
            raise ApiError("invalid_json", f"The body is not valid JSON: {error}.") from None

    return decode_body


def _nothing(_body: bytes) -> None:
    return None


def query_decoder(route: Route) -> Callable[[bytes], Any]:
    """Decodes a route's query string: 400 `invalid_parameter`. Without a struct the query is not looked at."""
    shape = route.query
    if shape is None:
        return _nothing
    if not shape.__struct_config__.forbid_unknown_fields:
        raise TypeError(f"{shape.__name__} must be defined with forbid_unknown_fields=True")

    def decode_query(query: bytes) -> Any:
        values = _query_values(query) if query else {}
        try:
            return msgspec.convert(values, shape, strict=False)
        except msgspec.ValidationError as error:
            raise _invalid(error, "invalid_parameter", shape) from None

    return decode_query


def _query_values(query: bytes) -> dict[str, str]:
    if len(query) > QUERY_BYTES_MAX:
        raise ApiError("invalid_parameter", "The query string is too long.")
    try:
        pairs = parse_qsl(query.decode("ascii"), keep_blank_values=True, errors="strict", max_num_fields=_FIELDS_MAX)
    except ValueError:
        raise ApiError("invalid_parameter", "The query string is not percent-encoded UTF-8.") from None
    values: dict[str, str] = {}
    for name, value in pairs:
        shown = name[:64]
        if name in values:
            raise ApiError("invalid_parameter", f"The parameter {shown} is given twice.", param=shown)
        _clean(name, shown)
        _clean(value, shown)
        values[name] = value
    return values


def _clean(text: str, name: str) -> None:
    try:
        check_text(text, name)
    except ApiError as error:
        raise ApiError("invalid_parameter", error.message, param=name) from None


def check_path(values: Mapping[str, str]) -> None:
    """Path parameters are short and visible ASCII; what else they may be, their noun knows."""
    for name, value in values.items():
        if len(value) > PATH_VALUE_MAX:
            raise ApiError("invalid_parameter", f"{name} is too long.", param=name)
        if _PATH_VALUE.fullmatch(value) is None:
            raise ApiError("invalid_parameter", f"{name} holds characters that no id has.", param=name)


def check_media(content_type: bytes | None) -> None:
    """415 unless it is JSON (RFC 9110, 8.3); a `charset`, if given, is UTF-8."""
    if content_type == _JSON:
        return
    media, _, parameters = (content_type or b"").lower().partition(b";")
    charset = parameters.partition(b"charset=")[2].split(b";")[0].strip(b' "')
    if media.strip() != _JSON or charset not in (b"", b"utf-8"):
        raise ApiError("unsupported_media_type")


def check_encoding(content_encoding: bytes | None) -> None:
    """415 for a compressed body (RFC 9110, 15.5.16): it would be taken for what it is not."""
    if content_encoding is not None and content_encoding.strip().lower() not in (b"", b"identity"):
        message = "Compressed bodies are not taken; send it without Content-Encoding."
        raise ApiError("unsupported_media_type", message, headers={"Accept-Encoding": "identity"})


def check_single(headers: Iterable[tuple[bytes, bytes]]) -> None:
    """400 where a header that says who asks, or for what, is given twice: which of them counts is anybody's guess."""
    seen: set[bytes] = set()
    for name, _ in headers:
        if name in seen:
            shown = SINGLE[name]
            raise ApiError("invalid_header", f"{shown} is given twice.", param=shown)
        if name in SINGLE:
            seen.add(name)


def prefers_async(headers: Iterable[tuple[bytes, bytes]]) -> bool:
    """Whether `Prefer` (RFC 7240), in one field or several, asks for `respond-async`."""
    return any(
        preference.partition(b";")[0].strip().lower() == b"respond-async"
        for name, value in headers
        if name == b"prefer"
        for preference in value.split(b",")
    )


def idempotency_key(value: bytes | None) -> str | None:
    """The key of a write, if one is given: 1 to 255 visible ASCII characters."""
    if value is None:
        return None
    if not 0 < len(value) <= IDEMPOTENCY_KEY_MAX or not all(0x21 <= byte <= 0x7E for byte in value):  # noqa: PLR2004
        raise ApiError(
            "invalid_header",
            f"Idempotency-Key must be 1 to {IDEMPOTENCY_KEY_MAX} visible ASCII characters.",
            param="Idempotency-Key",
        )
    return value.decode("ascii")


def _invalid(error: msgspec.ValidationError, code: str, shape: type) -> ApiError:
    """The message names the place as a JSON path, what may stand there, and never a value of the client's."""
    text = str(error)
    place = _PLACE.search(text)
    message = _PLACE.sub("", text)
    field = _MISSING.search(message)
    param = place[2] if place is not None else ""
    if place is not None and message.startswith("Invalid enum value"):
        message = f"Expected one of {', '.join(allowed_values(shape, f'.{param}', of_keys=bool(place[1])))}"
    if field is not None:
        name = field[1] or field[2]
        param = f"{param}.{name}" if param else name
    if _UNQUOTED.fullmatch(message):
        message += "; write it in quotes"
    return ApiError(code, f"{message}.", param=param[:128] or None)
