"""The scanner of streams: bytes pass through untouched, however they arrive."""

from itertools import pairwise

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Raw

from api.gateway.sse import EVENT_BYTES_MAX, SseScanner
from api.gateway.whole import text_bytes

USAGE = b'{"prompt_tokens":7,"completion_tokens":3,"total_tokens":10}'


def event(content: str, *, end: bytes = b"\n\n", usage_null: bool = False) -> bytes:
    """One chunk with some text."""
    chunk = {"id": "c", "choices": [{"index": 0, "delta": {"content": content}, "finish_reason": None}]}
    more = {"usage": None} if usage_null else {}
    return b"data: " + msgspec.json.encode(chunk | more) + end


def usage_event(end: bytes = b"\n\n") -> bytes:
    """The chunk that has the usage and nothing else."""
    return b'data: {"id":"c","choices":[],"usage":' + USAGE + b"}" + end


def fed(scanner: SseScanner, data: bytes, cuts: list[int]) -> bytes:
    """What is sent on of `data`, arriving in pieces."""
    places = [0, *sorted({cut % (len(data) + 1) for cut in cuts}), len(data)]
    return b"".join(scanner.feed(data[a:b]) for a, b in pairwise(places)) + scanner.close()


texts = st.lists(st.text(st.characters(codec="utf-8"), min_size=1, max_size=30), max_size=12)
cuts = st.lists(st.integers(0, 10_000), max_size=40)
ends = st.sampled_from([b"\n\n", b"\r\n\r\n", b"\r\r"])
comments = st.sampled_from([b"", b": keep-alive\n\n", b"event: x\nid: 1\nretry: 5\n\n"])


@given(texts, cuts, ends, comments, st.booleans())
def test_bytes_pass_through_however_they_are_cut(
    contents: list[str], cut: list[int], end: bytes, comment: bytes, usage_asked: bool
) -> None:
    """Cut at any byte, all events but the stripped usage go on unchanged, and are counted the same."""
    chunks = b"".join(event(text, end=end) + comment for text in contents)
    scanner = SseScanner(strip_usage=not usage_asked)
    sent = fed(scanner, chunks + usage_event(end) + b"data: [DONE]" + end, cut)
    assert sent == chunks + (usage_event(end) if usage_asked else b"")
    assert scanner.done
    assert scanner.done_event.strip() == b"data: [DONE]"
    assert scanner.usage is not None
    assert bytes(scanner.usage) == USAGE
    assert scanner.delivered.chunks == len(contents)
    assert scanner.delivered.text_bytes == sum(len(text.encode()) for text in contents)


@pytest.mark.parametrize("surplus", [b"\n\n\n", b"\n\n\r\n", b"\r\r\r", b"\r\n\r\n\r\n", b"\n\n\n\n\n"])
def test_blank_lines_too_many_end_nothing(surplus: bytes) -> None:
    """A provider that prints one newline more than it should is read to its end all the same."""
    scanner = SseScanner(strip_usage=True)
    assert scanner.feed(b"data: {}" + surplus).rstrip() == b"data: {}"
    scanner.feed(b"data: [DONE]\n\n")
    assert scanner.done


@given(cuts)
def test_text_that_looks_like_the_end_is_text(cut: list[int]) -> None:
    """`[DONE]`, `"usage":{` and line ends inside a string are content."""
    data = event('data: [DONE]\n\n"usage":{"prompt_tokens":1}\r\n\r\n') + event("more")
    scanner = SseScanner(strip_usage=True)
    assert fed(scanner, data, cut) == data
    assert not scanner.done
    assert scanner.usage is None
    assert scanner.delivered.chunks == 2


@given(cuts)
def test_nothing_behind_an_error_goes_on(cut: list[int]) -> None:
    """An upstream's error event is kept back, and so is whatever follows it."""
    scanner = SseScanner(strip_usage=True)
    sent = fed(scanner, event("a") + b'data: {"error":{"message":"broken"}}\n\n' + event("b"), cut)
    assert sent == event("a")
    assert scanner.error is not None
    assert bytes(scanner.error) == b'{"message":"broken"}'


@given(st.binary(max_size=300), cuts)
def test_any_bytes_are_survived(data: bytes, cut: list[int]) -> None:
    """Whatever a provider sends raises nothing and is never sent on more than once."""
    scanner = SseScanner(strip_usage=True)
    assert len(fed(scanner, data, cut)) <= len(data) + 2


def test_an_event_without_json_breaks_the_stream() -> None:
    """What no client could read ends the stream with the events before it."""
    scanner = SseScanner(strip_usage=True)
    assert scanner.feed(event("a") + b'data: {"choices":[{"delta":\n\n') == event("a")
    assert scanner.broken


def test_an_error_without_a_frame_is_an_error() -> None:
    """`{"object": "error"}` instead of a chunk ends the stream as an error does; odd objects are chunks."""
    scanner = SseScanner(strip_usage=True)
    odd = b'data: {"object":["error"]}\n\ndata: {"object":1e999,"x":"error"}\n\n' + event("error")
    assert scanner.feed(odd + b'data: {"object":"error","message":"no","code":400}\n\ndata: [DONE]\n\n') == odd
    assert scanner.error is not None
    assert not scanner.done


@given(cuts)
def test_a_byte_order_mark_hides_nothing(cut: list[int]) -> None:
    """A mark before the first event goes on as it came, and the event behind it is read."""
    for data in (event("a") + usage_event(), b'data: {"choices":[{"index":0,"delta":{"content":"a"}}]}'):
        scanner = SseScanner(strip_usage=False)
        assert fed(scanner, b"\xef\xbb\xbf" + data, cut).startswith(b"\xef\xbb\xbf" + data)
        assert scanner.delivered.chunks == 1


def test_the_last_usage_counts() -> None:
    """A provider that tells its usage again and again means the last one."""
    scanner = SseScanner(strip_usage=True)
    both = b'data: {"choices":[{"index":0,"delta":{"content":"x"}}],"usage":{"prompt_tokens":1}}\n\n'
    assert scanner.feed(both + usage_event()) == both
    assert scanner.usage is not None
    assert bytes(scanner.usage) == USAGE


def test_a_usage_on_the_last_content_chunk_is_not_stripped() -> None:
    """A chunk with choices is passed on whatever else it tells."""
    data = b'data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}],"usage":{"prompt_tokens":1}}\n\n'
    scanner = SseScanner(strip_usage=True)
    assert scanner.feed(data) == data
    assert scanner.finished
    assert scanner.usage is not None


def test_tool_calls_are_delivered_text() -> None:
    """Names and arguments of called tools count; choices of an unknown shape count as they stand."""
    scanner = SseScanner(strip_usage=True)
    call = b'{"index":0,"function":{"name":"f","arguments":"{\\"a\\":1}"}}'
    call = b'data: {"choices":[{"index":0,"delta":{"tool_calls":[' + call + b"]}}]}\n\n"
    scanner.feed(call)
    assert (scanner.delivered.chunks, scanner.delivered.text_bytes) == (1, 8)
    scanner.feed(b'data: {"choices":[{"index":0,"delta":{"content":[{"type":"text","text":"hi"}]}}]}\n\n')
    assert scanner.delivered.chunks == 2


@pytest.mark.parametrize(
    "message",
    [
        {"content": "grüße", "refusal": "no", "reasoning_content": "so"},
        {"tool_calls": [{"function": {"name": "look_up", "arguments": '{"a":1}'}}, {"custom": {}}]},
        {"tool_calls": [{"function": {"name": 7}}]},
        {"function_call": {"name": "look_up", "arguments": '{"a":1}'}},
        {"function_call": "look_up"},
    ],
)
def test_whole_or_streamed_the_same_text_counts(message: dict[str, object]) -> None:
    """Where a provider tells no usage, it is charged by what was delivered, in either way."""
    scanner = SseScanner(strip_usage=True)
    scanner.feed(b'data: {"choices":[{"index":0,"delta":' + msgspec.json.encode(message) + b"}]}\n\n")
    assert scanner.delivered.text_bytes == text_bytes(Raw(msgspec.json.encode([{"message": message}])))


@given(cuts)
def test_memory_is_bounded_by_an_event_that_never_ends(cut: list[int]) -> None:
    """An event above the bound goes on in pieces, whole, and the stream is read on behind it."""
    long = event("x" * (EVENT_BYTES_MAX + 5_000))
    scanner = SseScanner(strip_usage=True)
    places = [0, *sorted({each * 31 % len(long) for each in cut}), EVENT_BYTES_MAX + 100, len(long)]
    places.sort()
    sent = b"".join(scanner.feed(long[a:b]) for a, b in pairwise(places))
    sent += scanner.feed(event("y") + b"data: [DONE]\n\n")
    assert sent == long + event("y")
    assert scanner.done
    assert scanner.delivered.text_bytes >= EVENT_BYTES_MAX


def test_a_last_event_without_its_blank_line_is_read() -> None:
    """A provider that closes right behind `data: [DONE]` has ended its stream all the same."""
    scanner = SseScanner(strip_usage=True)
    assert scanner.feed(event("a") + b"data: [DONE]") == event("a")
    assert scanner.close() == b""
    assert scanner.done


def test_sound_is_delivered_too() -> None:
    """Streamed sound counts, and what it says as text; without either there is nothing."""
    scanner = SseScanner(strip_usage=True)
    for audio in (b'{"data":"' + b"A" * 6_400 + b'"}', b'{"transcript":"hello"}', b"null", b"7"):
        data = b'data: {"choices":[{"index":0,"delta":{"audio":' + audio + b"}}]}\n\n"
        assert scanner.feed(data) == data
    delivered = scanner.delivered
    assert (delivered.audio_bytes, delivered.text_bytes, delivered.chunks) == (6_401, 5, 1)
