"""An `Answer` as bytes: one JSON object, or server-sent events, one per token (OpenAI API reference, "Chat").

Written as text around encoded strings: it is a benchmark's mock and must cost next to nothing.
"""

import itertools
from collections.abc import Iterator

import msgspec

from devnet.provider.answer import Answer, Choice, Usage
from devnet.provider.prompt import TOKEN_CHARS, tokens_of

CREATED = 1_735_689_600  # 2025-01-01T00:00:00Z, for ever: the same request has the same bytes.
FINGERPRINT = "fp_formstate"
DONE = b"data: [DONE]\n\n"
_json = msgspec.json.encode
_ROLE = b'{"role":"assistant","content":"","refusal":null}'
_TAIL = b',"service_tier":"default","system_fingerprint":%b' % _json(FINGERPRINT)


class Events(msgspec.Struct, frozen=True, kw_only=True):
    """A stream in three parts. Its `count` tokens are made as they are sent: slow streams stay small."""

    opening: bytes
    tokens: Iterator[bytes]
    count: int
    closing: bytes


def completion(answer: Answer, *, with_usage: bool) -> bytes:
    """The `chat.completion` object."""
    choices = b",".join([_choice(answer, index, choice) for index, choice in enumerate(answer.choices)])
    usage = b',"usage":' + _usage(answer.usage) if with_usage else b""
    return b'%b"choices":[%b]%b%b}' % (_head(answer, b"chat.completion"), choices, usage, _TAIL)


def _head(answer: Answer, kind: bytes) -> bytes:
    return b'{"id":"%b","object":"%b","created":%d,"model":%b,' % (
        answer.id.encode(),
        kind,
        CREATED,
        _json(answer.model),
    )


def _usage(usage: Usage) -> bytes:
    return (
        b'{"prompt_tokens":%d,"completion_tokens":%d,"total_tokens":%d,'
        b'"prompt_tokens_details":{"cached_tokens":%d,"audio_tokens":0},'
        b'"completion_tokens_details":{"reasoning_tokens":%d,"audio_tokens":0,'
        b'"accepted_prediction_tokens":0,"rejected_prediction_tokens":0}}'
    ) % (
        usage.prompt_tokens,
        usage.completion_tokens,
        usage.prompt_tokens + usage.completion_tokens,
        usage.cached_tokens,
        usage.reasoning_tokens,
    )


def _choice(answer: Answer, index: int, choice: Choice) -> bytes:
    if choice.tool is None:
        said = b'"content":%b,"refusal":null,"annotations":[]' % _json(choice.text)
    else:
        call = {"name": choice.tool.name, "arguments": choice.text}
        called = _json([{"id": choice.tool.id, "type": "function", "function": call}])
        said = b'"content":null,"refusal":null,"annotations":[],"tool_calls":' + called
    logprobs = _logprobs(answer, tokens_of(choice.text)) if answer.logprobs and not choice.tool else b"null"
    return b'{"index":%d,"message":{"role":"assistant",%b},"logprobs":%b,"finish_reason":"%b"}' % (
        index,
        said,
        logprobs,
        choice.finish_reason.encode(),
    )


def _logprobs(answer: Answer, tokens: list[str]) -> bytes:
    """Invented: a token has -0.1, its alternatives (itself in capitals, dotted) each one less."""
    content = []
    for token in tokens:
        best = {"token": token, "logprob": -0.1, "bytes": list(token.encode())}
        top = [best] if answer.top_logprobs else []
        for rank in range(1, answer.top_logprobs):
            other = token.upper() + "." * (rank - 1)
            top.append({"token": other, "logprob": -0.1 - rank, "bytes": list(other.encode())})
        content.append({**best, "top_logprobs": top})
    return _json({"content": content, "refusal": None})


def events(answer: Answer, *, usage_asked: bool, with_usage: bool) -> Events:
    """The stream: roles, tokens (choices take turns), finish reasons, usage if asked, `[DONE]`.

    With usage asked, every chunk but the last has `"usage": null`.
    """
    head = b"data: " + _head(answer, b"chat.completion.chunk")
    tail = _TAIL + (b',"usage":null}\n\n' if usage_asked else b"}\n\n")
    indexed = list(enumerate(answer.choices))
    rows = [_token_events(answer, index, choice, head, tail) for index, choice in indexed]
    turns = (event for turn in itertools.zip_longest(*rows) for event in turn if event)
    count = sum([choice.tokens() for choice in answer.choices])
    opening = [_event(head, tail, index, _ROLE) for index, choice in indexed if not choice.tool]
    closing = [_event(head, tail, index, b"{}", end=choice.finish_reason) for index, choice in indexed]
    if usage_asked and with_usage:
        closing.append(b'%b"choices":[]%b,"usage":%b}\n\n' % (head, _TAIL, _usage(answer.usage)))
    tokens = rows[0] if len(rows) == 1 else turns
    return Events(opening=b"".join(opening), tokens=tokens, count=count, closing=b"".join([*closing, DONE]))


def _event(head: bytes, tail: bytes, index: int, delta: bytes, *, end: str = "") -> bytes:
    reason = _json(end) if end else b"null"
    return b'%b"choices":[{"index":%d,"delta":%b,"logprobs":null,"finish_reason":%b}]%b' % (
        head,
        index,
        delta,
        reason,
        tail,
    )


def _token_events(answer: Answer, index: int, choice: Choice, head: bytes, tail: bytes) -> Iterator[bytes]:
    start = b'%b"choices":[{"index":%d,"delta":' % (head, index)
    before, after = start + b'{"content":', b"}"
    if choice.tool is not None:
        first = {"role": "assistant", "content": None, "refusal": None, "tool_calls": [_named(choice)]}
        yield _event(head, tail, index, _json(first))
        before, after = start + b'{"tool_calls":[{"index":0,"function":{"arguments":', b"}}]}"
    with_logprobs = answer.logprobs and choice.tool is None
    end = b',"logprobs":null,"finish_reason":null}]' + tail
    text = choice.text
    for at in range(0, len(text), TOKEN_CHARS):
        token = text[at : at + TOKEN_CHARS]
        if with_logprobs:
            end = b',"logprobs":%b,"finish_reason":null}]%b' % (_logprobs(answer, [token]), tail)
        yield before + _json(token) + after + end


def _named(choice: Choice) -> dict[str, object]:
    """A call's first delta: index, id and name, with no arguments yet."""
    tool = choice.tool
    function = {"name": tool.name if tool else "", "arguments": ""}
    return {"index": 0, "id": tool.id if tool else "", "type": "function", "function": function}
