"""The request of `POST /v1/chat/completions` as OpenAI documents it, and its refusals.

Parameters without effect are typed too, so that a wrong type is a 400. Unknown ones are ignored.
"""

import re
from typing import Annotated, Any, Literal, Never

import msgspec
from msgspec import Meta

from devnet.provider.errors import ProviderError

Text = Annotated[str, Meta(max_length=64)]
Positive = Annotated[int, Meta(ge=1)]
Penalty = Annotated[float, Meta(ge=-2, le=2)]


class _Part(msgspec.Struct, frozen=True, kw_only=True):
    """Fields unknown here are ignored: clients add parameters faster than servers learn them."""


class Part(_Part, frozen=True, kw_only=True):
    """One content part; only text is read, anything else counts as an image does."""

    type: str
    text: str = ""
    refusal: str = ""


class FunctionCall(_Part, frozen=True, kw_only=True):
    """The function and the JSON text of its arguments that an earlier answer chose."""

    name: str
    arguments: str


class ToolCall(_Part, frozen=True, kw_only=True):
    """A call that an earlier answer made."""

    id: str
    type: str = "function"
    function: FunctionCall | None = None


class Message(_Part, frozen=True, kw_only=True):
    """One message of the conversation."""

    role: Literal["system", "developer", "user", "assistant", "tool", "function"]
    content: str | list[Part] | None = None
    name: str | None = None
    tool_calls: list[ToolCall] | None = None
    tool_call_id: str | None = None
    refusal: str | None = None

    def text(self) -> str:
        """All text of the content, parts joined."""
        content = self.content
        if isinstance(content, str):
            return content
        return "".join([part.text or part.refusal for part in content or ()])


class Function(_Part, frozen=True, kw_only=True):
    """A function that may be called; `parameters` is a JSON schema."""

    name: Text
    description: str | None = None
    parameters: dict[str, Any] | None = None
    strict: bool | None = None


class Tool(_Part, frozen=True, kw_only=True):
    """A tool on offer; only functions exist."""

    type: Literal["function"]
    function: Function


class NamedFunction(_Part, frozen=True, kw_only=True):
    """The name inside a named choice."""

    name: str


class NamedChoice(_Part, frozen=True, kw_only=True):
    """`tool_choice` that forces one function."""

    type: Literal["function"]
    function: NamedFunction


class JsonSchema(_Part, frozen=True, kw_only=True):
    """The schema an answer must satisfy."""

    name: Text
    schema: dict[str, Any] = {}
    description: str | None = None
    strict: bool | None = None


class ResponseFormat(_Part, frozen=True, kw_only=True):
    """Free text, any JSON object, or JSON of a schema."""

    type: Literal["text", "json_object", "json_schema"]
    json_schema: JsonSchema | None = None


class StreamOptions(_Part, frozen=True, kw_only=True):
    """Whether a last chunk tells the usage."""

    include_usage: bool | None = None
    include_obfuscation: bool | None = None


class ChatRequest(_Part, frozen=True, kw_only=True):
    """The body. Absent and null mean the same, as in OpenAI's API."""

    model: str
    messages: Annotated[list[Message], Meta(min_length=1)]
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    max_tokens: Positive | None = None
    max_completion_tokens: Positive | None = None
    n: Annotated[int, Meta(ge=1, le=128)] | None = None
    stop: str | Annotated[list[str], Meta(max_length=4)] | None = None
    tools: Annotated[list[Tool], Meta(max_length=128)] | None = None
    tool_choice: Literal["none", "auto", "required"] | NamedChoice | None = None
    parallel_tool_calls: bool | None = None
    response_format: ResponseFormat | None = None
    logprobs: bool | None = None
    top_logprobs: Annotated[int, Meta(ge=0, le=20)] | None = None
    seed: int | None = None
    temperature: Annotated[float, Meta(ge=0, le=2)] | None = None
    top_p: Annotated[float, Meta(ge=0, le=1)] | None = None
    presence_penalty: Penalty | None = None
    frequency_penalty: Penalty | None = None
    logit_bias: dict[str, float] | None = None
    user: str | None = None
    metadata: dict[str, str] | None = None
    store: bool | None = None

    def max_output(self) -> int | None:
        """The bound on completion tokens, under its new or its old name."""
        return self.max_completion_tokens or self.max_tokens

    def last_user_text(self) -> str:
        """The text of the last message by the user; the only place where directives count."""
        return next((m.text() for m in reversed(self.messages) if m.role == "user"), "")


_DECODER = msgspec.json.Decoder(ChatRequest)
_MISSING = re.compile(r"missing required field `(\w+)`(?: - at `\$\.?(.*)`)?")
_WHERE = re.compile(r"(.*) - at `\$\.?(.*)`")


def decoded(body: bytes) -> ChatRequest:
    """The request in `body`; raises `ProviderError` 400 in OpenAI's words."""
    try:
        request = _DECODER.decode(body)
    except msgspec.ValidationError as refused:
        _refuse(str(refused))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as broken:
        message = f"We could not parse the JSON body of your request: {broken}"
        raise ProviderError(400, None, message) from broken
    _check_combinations(request)
    return request


def _refuse(reason: str) -> Never:
    missing = _MISSING.search(reason)
    if missing:
        name, inside = missing.groups()
        param = f"{inside}.{name}" if inside else name
        raise ProviderError(400, "missing_required_parameter", f"Missing required parameter: '{param}'.", param)
    where = _WHERE.fullmatch(reason)
    what, param = where.groups() if where else (reason, "")
    code = "invalid_type" if ", got " in what else "invalid_value"
    raise ProviderError(400, code, f"Invalid value for '{param or 'body'}': {what}.", param or None)


def _check_combinations(request: ChatRequest) -> None:
    if request.max_tokens is not None and request.max_completion_tokens is not None:
        message = "Setting 'max_tokens' and 'max_completion_tokens' at the same time is not supported."
        raise ProviderError(400, "invalid_parameter_combination", message, "max_tokens")
    if request.top_logprobs is not None and not request.logprobs:
        raise ProviderError(400, "invalid_value", "'top_logprobs' needs 'logprobs' to be true.", "top_logprobs")
    if request.stream_options is not None and not request.stream:
        message = "The 'stream_options' parameter is only allowed when 'stream' is enabled."
        raise ProviderError(400, "invalid_value", message, "stream_options")
    wanted = request.response_format
    if wanted and wanted.type == "json_schema" and wanted.json_schema is None:
        name = "response_format.json_schema"
        raise ProviderError(400, "missing_required_parameter", f"Missing required parameter: '{name}'.", name)
    if request.tool_choice is not None and request.tool_choice not in {"none", "auto"} and not request.tools:
        message = "'tool_choice' is only allowed when 'tools' are specified."
        raise ProviderError(400, "invalid_value", message, "tool_choice")
