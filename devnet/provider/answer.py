"""What the model says to a request: decided here entirely, before a byte is sent.

Texts are slices of one fixed prose, chosen by the digest of model, tools and messages.
"""

import hashlib

import msgspec

from devnet.provider.chat_request import ChatRequest, NamedChoice
from devnet.provider.errors import ProviderError
from devnet.provider.options import ProviderOptions
from devnet.provider.prompt import TOKEN_CHARS, Prompt, count
from devnet.provider.schema import minimal_json

_WORDS = (
    "the log remembers every change and each reader folds it into a view that can be thrown away while "
    "commands arrive in order are decided once recorded as events and answered with what was written so "
    "nothing is lost when a process stops another takes its place and continues from the same position"
)
_PROSE_WORDS = 4_096
COMPLETION_TOKENS_MAX = 65_536


def _prose() -> str:
    """Sentences of nine words, picked by a hash: the same on every machine."""
    vocabulary = _WORDS.split()
    words = []
    for i in range(_PROSE_WORDS):
        word = vocabulary[hashlib.blake2b(i.to_bytes(4), digest_size=2).digest()[0] % len(vocabulary)]
        first, last = i % 9 == 0, i % 9 == 8  # noqa: PLR2004 - nine words to a sentence
        words.append((word.capitalize() if first else word) + ("." if last else ""))
    return " ".join(words) + " "


PROSE = _prose()


class ToolChoice(msgspec.Struct, frozen=True, kw_only=True):
    """The function that is called; its arguments are the choice's text."""

    id: str
    name: str


class Choice(msgspec.Struct, frozen=True, kw_only=True):
    """One of the `n` answers: its text (or a tool's arguments), and why it ends."""

    text: str
    finish_reason: str
    tool: ToolChoice | None = None

    def tokens(self) -> int:
        """Completion tokens: those of the text, and one for naming a tool."""
        return count(self.text) + (self.tool is not None)


class Usage(msgspec.Struct, frozen=True, kw_only=True):
    """OpenAI's usage; `completion_tokens` include the reasoning."""

    prompt_tokens: int
    completion_tokens: int
    cached_tokens: int
    reasoning_tokens: int


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """A whole completion. `id` is `chatcmpl-` and the prompt's digest: the same request has the same id."""

    id: str
    model: str
    choices: list[Choice]
    usage: Usage
    logprobs: bool
    top_logprobs: int


def composed(
    request: ChatRequest, prompt: Prompt, options: ProviderOptions, *, room: int, cached_tokens: int
) -> Answer:
    """The answer, each choice of at most `room` tokens; raises 400 for unusable tools and schemas."""
    n = request.n or 1
    if n * min(room, options.completion_tokens) > COMPLETION_TOKENS_MAX:
        raise ProviderError(400, "invalid_value", f"More than {COMPLETION_TOKENS_MAX} tokens in all.", "n")
    reasoning = min(options.reasoning_tokens, room)
    choices = [
        _choice(request, prompt.digest, index, options.completion_tokens, room - reasoning) for index in range(n)
    ]
    usage = Usage(
        prompt_tokens=prompt.tokens,
        completion_tokens=sum([choice.tokens() for choice in choices]) + reasoning * len(choices),
        cached_tokens=cached_tokens,
        reasoning_tokens=reasoning * len(choices),
    )
    return Answer(
        id=f"chatcmpl-{prompt.digest}",
        model=request.model,
        choices=choices,
        usage=usage,
        logprobs=bool(request.logprobs),
        top_logprobs=request.top_logprobs or 0,
    )


def room_for(request: ChatRequest, prompt_tokens: int, context: int) -> int:
    """Tokens that one choice may have; raises OpenAI's 400 `context_length_exceeded`."""
    wanted = request.max_output()
    if prompt_tokens >= context:
        detail = f"your messages resulted in {prompt_tokens} tokens. Please reduce the length of the messages."
    elif wanted is not None and prompt_tokens + wanted > context:
        detail = (
            f"you requested {prompt_tokens + wanted} tokens ({prompt_tokens} in the messages, {wanted} in "
            "the completion). Please reduce the length of the messages or completion."
        )
    else:
        return context - prompt_tokens if wanted is None else wanted
    message = f"This model's maximum context length is {context} tokens. However, {detail}"
    raise ProviderError(400, "context_length_exceeded", message, "messages")


def _choice(request: ChatRequest, digest: str, index: int, length: int, room: int) -> Choice:
    if request.tools and request.tool_choice not in {None, "none", "auto"}:
        return _tool_call(request, digest, index, room)
    wanted = request.response_format
    if wanted is not None and wanted.type == "json_schema" and wanted.json_schema is not None:
        text, cut = minimal_json(wanted.json_schema.schema), room
    elif wanted is not None and wanted.type == "json_object":
        reply = {"reply": _text(digest, index, max(length - 4, 1))}
        text, cut = msgspec.json.encode(reply).decode(), room
    else:
        text, cut = _text(digest, index, min(length, room)), min(length, room)
        return _stopped(request, text, "length" if length > room else "stop")
    return _stopped(request, text[: cut * TOKEN_CHARS], "length" if count(text) > cut else "stop")


def _stopped(request: ChatRequest, text: str, reason: str) -> Choice:
    """Cut before the first stop sequence."""
    stops = [request.stop] if isinstance(request.stop, str) else request.stop or ()
    found = [at for at in [text.find(stop) for stop in stops if stop] if at >= 0]
    if found:
        return Choice(text=text[: min(found)], finish_reason="stop")
    return Choice(text=text, finish_reason=reason)


def _text(digest: str, index: int, length: int) -> str:
    """`length` tokens of prose that only this prompt and choice begin with."""
    size = length * TOKEN_CHARS
    start = (int(digest[:8], 16) + index * 1_009) % len(PROSE)
    text = f"Reply {digest[:8]}-{index}: {PROSE[start:]}"
    if size > len(text):
        text += PROSE * ((size - len(text)) // len(PROSE) + 1)
    return text[:size]


def _tool_call(request: ChatRequest, digest: str, index: int, room: int) -> Choice:
    """A call of the forced function, or of the first. A named one ends with `stop`, as at OpenAI."""
    forced = request.tool_choice
    name = forced.function.name if isinstance(forced, NamedChoice) else None
    tools = request.tools or []
    tool = next((tool.function for tool in tools if name in {None, tool.function.name}), None)
    if tool is None:
        message = f"Tool choice '{name}' not found in 'tools' parameter."
        raise ProviderError(400, "invalid_value", message, "tool_choice")
    arguments = minimal_json(tool.parameters or {})
    fits = count(arguments) < room
    done = "stop" if name else "tool_calls"
    return Choice(
        text=arguments if fits else arguments[: (room - 1) * TOKEN_CHARS],
        finish_reason=done if fits else "length",
        tool=ToolChoice(id=f"call_{digest[:20]}{index:04x}", name=tool.name),
    )
