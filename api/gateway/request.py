"""The body of a chat completion as far as metering must understand it; everything else passes through untouched.

OpenAI API reference, "Create chat completion". Fields that are unknown here belong to the provider.
"""

from typing import Annotated, Any

import msgspec
from msgspec import Meta, Raw, Struct

from api.errors import ApiError, declare
from api.gateway.extras import KNOWN, TIER, WEB_SEARCH, Extras, extras_of, folded
from api.json_door import check_json

DEPTH_MAX = 64
"""Levels of objects and arrays. Schemas of tools are the deepest that people send; they need about twenty."""
TEXT_PARTS = ("text", "refusal")
"""Not a set: a client's `type` may be anything, also what has no hash."""
METERED = frozenset({"model", "messages", "stream", "stream_options", "max_tokens", "max_completion_tokens", "n"})
_READ = {folded(name): name for name in (*METERED, TIER, WEB_SEARCH, "tools", "modalities")} | {folded("n_cmpl"): "n"}
"""A name that only some server takes for one of these would tell it something else than us, as llama.cpp `n_cmpl`."""
AUDIO = "audio"
AUDIO_DATA = "data:audio/"
AUDIO_DATA_CHARS = len(AUDIO_DATA)

declare(
    "missing_required_parameter",
    "invalid",
    "A parameter that every chat completion needs is missing.",
    "`param` names it; add it, as in OpenAI's reference.",
)
declare(
    "invalid_type",
    "invalid",
    "A parameter of the chat completion has the wrong type.",
    "`param` names it and the message the type; compare with OpenAI's reference.",
)
declare(
    "invalid_value",
    "invalid",
    "A parameter of the chat completion is out of range.",
    "`param` names it and the message the range; send a value within it.",
)

Tokens = Annotated[int, Meta(ge=1, le=10_000_000)]


class ChatMessage(Struct, frozen=True, kw_only=True):
    """One message; whatever else it has goes to the provider as it is."""

    role: str
    content: str | list[dict[str, Any]] | None = None
    audio: Any = None
    """Sound of an earlier answer, by its id."""


class ChatBody(Struct, frozen=True, kw_only=True):
    """What the gateway reads; every other field goes to the provider as it is."""

    model: Annotated[str, Meta(min_length=1, max_length=256)]
    messages: Annotated[list[ChatMessage], Meta(min_length=1)]
    stream: bool | None = None
    stream_options: dict[str, Any] | None = None
    max_tokens: Tokens | None = None
    max_completion_tokens: Tokens | None = None
    n: Annotated[int, Meta(ge=1, le=128)] | None = None
    service_tier: Annotated[str, Meta(max_length=64)] | None = None


class ChatRequest(Struct, frozen=True, kw_only=True):
    """A valid request: its fields as the client wrote them, and what metering needs of them."""

    fields: dict[str, Raw]
    """The top level, each name once: a second `max_tokens` cannot tell the provider something else than us."""
    model: str
    stream: bool
    usage_asked: bool
    """The client itself asked for the usage chunk of a stream."""
    stream_options: dict[str, Any]
    max_tokens: int | None
    """The client's own bound on the tokens of one choice."""
    n: int
    size: int
    """Bytes of the whole body: more than can become prompt tokens, as no token is shorter than a byte."""
    media: int
    """How many images, sounds and files there are, whose tokens cannot be told from their bytes."""
    audio: bool
    """Sound is sent or asked for: the model must have prices for it."""
    prompt_bytes: int
    """Bytes of the fields that become prompt tokens, but for images; names we do not know may well."""
    extras: Extras
    """What is charged beside tokens, or may be."""

    def forget_fields(self) -> None:
        """Lets go of what the client wrote: a provider has begun to answer, and nobody is asked again."""
        self.fields.clear()
        self.stream_options.clear()

    def upstream_body(self, model: str, max_tokens: int | None, standard_tier: str | None = None) -> bytes:
        """The body for a deployment that calls the model `model`; `max_tokens` is added where the hold asks for it.

        Streams always ask for the usage, which is what a request is billed by. Who asks for no tier of service gets
        `standard_tier` where the model has several: what a provider chooses by itself may have another price.
        """
        fields: dict[str, Any] = self.fields
        tier = None if self.extras.tier is not None else standard_tier
        if model != self.model or max_tokens is not None or tier or (self.stream and not self.usage_asked):
            fields = dict(fields)
            if tier:
                fields[TIER] = tier
            fields["model"] = model
            if max_tokens is not None:
                fields["max_tokens"] = max_tokens
            if self.stream and not self.usage_asked:
                fields["stream_options"] = {**self.stream_options, "include_usage": True}
        return _encoder.encode(fields)


_encoder = msgspec.json.Encoder()
_fields_decoder = msgspec.json.Decoder(ChatBody)
_raw_decoder = msgspec.json.Decoder(dict[str, Raw])
_any_decoder = msgspec.json.Decoder()


def decode_request(body: bytes) -> ChatRequest:
    """The request in `body`. `ApiError` 400 in OpenAI's words for anything that is none."""
    try:
        if not body.isascii():
            body.decode()
        fields = _raw_decoder.decode(body)
        chat = _fields_decoder.decode(body)
        value = _any_decoder.decode(body)  # what is skipped above is read here, so that nothing strange passes
    except msgspec.ValidationError as error:
        raise _refusal(str(error)) from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        check_json(body)  # says it as every route does
        raise ApiError("invalid_json", "The body could not be read as JSON.") from error
    _refuse_strange(body, fields, value)
    options = chat.stream_options or {}
    media = [part for message in chat.messages for part in _media(message)]
    extras = extras_of(value, chat.service_tier)
    referred = sum(message.audio is not None for message in chat.messages)
    return ChatRequest(
        fields=fields,
        model=chat.model,
        stream=bool(chat.stream),
        usage_asked=options.get("include_usage") is True,
        stream_options=options,
        max_tokens=None if extras.unbounded else max(chat.max_tokens or 0, chat.max_completion_tokens or 0) or None,
        n=chat.n or 1,
        size=len(body),
        media=len(media) + referred,
        audio=referred > 0 or any(map(_is_audio, media)) or AUDIO in _strings(value.get("modalities")),
        prompt_bytes=_prompt_bytes(fields) - sum(map(_image_bytes, media)),
        extras=extras,
    )


def _prompt_bytes(fields: dict[str, Raw]) -> int:
    return sum(memoryview(value).nbytes for name, value in fields.items() if name not in METERED or name == "messages")


def _media(message: ChatMessage) -> list[dict[str, Any]]:
    content = message.content
    return [part for part in content if part.get("type") not in TEXT_PARTS] if isinstance(content, list) else []


def _strings(values: Any) -> list[str]:
    return [value for value in values if isinstance(value, str)] if isinstance(values, list) else []


def _is_audio(part: dict[str, Any]) -> bool:
    """Also sound that is sent as an image or a file is: some providers look at its type alone."""
    kind, file = part.get("type"), part.get("file")
    data = file.get("file_data") if isinstance(file, dict) else None
    sources = (_url(part), data if isinstance(data, str) else "")
    named = isinstance(kind, str) and AUDIO in kind
    return named or any(source[:AUDIO_DATA_CHARS].casefold() == AUDIO_DATA for source in sources)


def _image_bytes(part: dict[str, Any]) -> int:
    """Of an image's address, which may hold the image itself: no tokens by the letter, at most so many bytes."""
    return len(_url(part))


def _url(part: dict[str, Any]) -> str:
    image = part.get("image_url")
    url = image.get("url") if isinstance(image, dict) else image
    return url if isinstance(url, str) else ""


def _refuse_strange(body: bytes, fields: dict[str, Raw], value: Any) -> None:
    """What is valid JSON, and yet would mean one thing to us and another to some provider."""
    for name in fields:
        if name not in KNOWN and folded(name) in _READ:
            message = f"Unknown parameter: '{name}'. Did you mean '{_READ[folded(name)]}'?"
            raise ApiError("invalid_value", message, param=name)
    if body.count(b"{") + body.count(b"[") > DEPTH_MAX and _depth(value) > DEPTH_MAX:
        raise ApiError("invalid_json", f"The body is nested more than {DEPTH_MAX} levels deep.")
    if b"\\u0000" in body and _has_nul(value):
        raise ApiError("invalid_request", "A string holds a NUL character.")


def _depth(value: Any) -> int:
    """How many containers lie inside each other, found level by level so that no input exhausts the stack."""
    depth, level = 0, [value]
    while level:
        below: list[Any] = []
        for each in level:
            if type(each) is dict:
                below.extend(each.values())
            elif type(each) is list:
                below.extend(each)
        depth += any(type(each) is dict or type(each) is list for each in level)
        level = below
    return depth


def _has_nul(value: Any) -> bool:
    waiting = [value]
    while waiting:
        each = waiting.pop()
        if type(each) is str:
            if "\0" in each:
                return True
        elif type(each) is dict:
            waiting.extend(each)
            waiting.extend(each.values())
        elif type(each) is list:
            waiting.extend(each)
    return False


def _refusal(reason: str) -> ApiError:
    """What msgspec has found, in OpenAI's words, with the parameter's path."""
    what, _, place = reason.partition(" - at `$")
    param = place.rstrip("`").lstrip(".").replace("[...]", "") or None
    if what.startswith("Object missing required field `"):
        name = what.split("`")[1]
        param = f"{param}.{name}" if param else name
        return ApiError("missing_required_parameter", f"Missing required parameter: '{param}'.", param=param)
    if "`object`, got" in what and param is None:
        return ApiError("invalid_json", "The body must be a JSON object.")
    if what in ("Number out of range", "Integer value out of range"):
        return ApiError("invalid_request", "A number of the body is too large.", param=param)
    code = "invalid_type" if ", got " in what else "invalid_value"
    return ApiError(code, f"Invalid value for '{param or 'body'}': {what}.", param=param)
