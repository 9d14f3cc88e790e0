"""One chunk of a stream, as far as metering reads it (OpenAI API reference, "The chat completion chunk object")."""

from typing import Any

import msgspec
from msgspec import Raw, Struct

from api.gateway.usage import ABSENT, given


class Delta(Struct, frozen=True, kw_only=True):
    """What a chunk adds; `tool_calls` and other parts are measured as they stand."""

    content: str | None = None
    refusal: str | None = None
    reasoning_content: str | None = None
    reasoning: str | None = None
    tool_calls: Raw = ABSENT
    function_call: Raw = ABSENT
    audio: Raw = ABSENT

    def size(self) -> int:
        """Bytes of text in it."""
        size = 0
        for text in (self.content, self.refusal, self.reasoning_content, self.reasoning):
            if text:
                size += len(text) if text.isascii() else len(text.encode())
        if given(self.tool_calls):
            size += arguments_size(self.tool_calls)
        if given(self.function_call):
            size += function_size(self.function_call)
        return size


class Sound(Struct, frozen=True, kw_only=True):
    """Sound that is answered: base64, and what it says."""

    data: str | None = None
    transcript: str | None = None


class _Function(Struct, frozen=True, kw_only=True):
    name: str | None = None
    arguments: str | None = None

    def size(self) -> int:
        """Bytes of text in it."""
        return len((self.name or "").encode()) + len((self.arguments or "").encode())


class _ToolCall(Struct, frozen=True, kw_only=True):
    function: _Function | None = None


class StreamChoice(Struct, frozen=True, kw_only=True):
    """One choice of a chunk."""

    delta: Delta | None = None
    finish_reason: str | None = None


class Chunk(Struct, frozen=True, kw_only=True):
    """One `chat.completion.chunk`, or an error in its place."""

    choices: list[StreamChoice] | None = None
    usage: Raw = ABSENT
    error: Raw = ABSENT
    service_tier: Raw = ABSENT


class _Object(Struct, frozen=True, kw_only=True):
    object: Any = None


class LooseChunk(Struct, frozen=True, kw_only=True):
    """A chunk whose choices have a shape that is not OpenAI's."""

    choices: Any = None
    usage: Raw = ABSENT
    error: Raw = ABSENT
    service_tier: Raw = ABSENT


_sounds = msgspec.json.Decoder(Sound)
decode_chunk = msgspec.json.Decoder(Chunk).decode
decode_loose_chunk = msgspec.json.Decoder(LooseChunk).decode
_objects = msgspec.json.Decoder(_Object)
_functions = msgspec.json.Decoder(_Function)
_calls = msgspec.json.Decoder(list[_ToolCall])


def function_size(function: Raw) -> int:
    """Bytes of name and arguments of a called function; of all of it where it has another shape."""
    try:
        return _functions.decode(function).size()
    except (msgspec.MsgspecError, RecursionError):
        return memoryview(function).nbytes


def arguments_size(calls: Raw) -> int:
    """Bytes of names and arguments in a list of tool calls; of the whole list where it has another shape."""
    try:
        found = _calls.decode(calls)
    except (msgspec.MsgspecError, RecursionError):
        return memoryview(calls).nbytes
    return sum(call.function.size() for call in found if call.function is not None)


def is_error(data: bytes) -> bool:
    """Whether an event is an error that stands without `error`: `{"object": "error", "message": …}`, as vLLM has it."""
    try:
        return b'"error"' in data and _objects.decode(data).object == "error"
    except (msgspec.MsgspecError, RecursionError):
        return False


def sound_size(sound: Raw) -> tuple[int, int]:
    """Bytes of sound and of text in it; all of it as sound where it has another shape."""
    try:
        found = _sounds.decode(sound)
    except (msgspec.MsgspecError, RecursionError):
        return memoryview(sound).nbytes, 0
    return len(found.data or ""), len((found.transcript or "").encode())
