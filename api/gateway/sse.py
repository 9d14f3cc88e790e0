"""Watches a stream of server-sent events go by: counts what is delivered, finds the usage, an error and the end.

Bytes pass through as they are (WHATWG HTML, "Server-sent events"; OpenAI API reference, "Streaming"). An event is held
back until it is complete, for no client can use a part of one; never more than `EVENT_BYTES_MAX`.
"""

import msgspec
from msgspec import Raw, Struct

from api.gateway.chunk import Chunk, LooseChunk, decode_chunk, decode_loose_chunk, is_error, sound_size
from api.gateway.usage import given

EVENT_BYTES_MAX = 256 * 1024
"""A longer event is passed on in pieces, unread."""
DONE = b"[DONE]"
BOM = b"\xef\xbb\xbf"
"""May stand before the first event, and means nothing."""


class Delivered(Struct, kw_only=True):
    """What went by so far."""

    chunks: int = 0
    """That had text, refusals, reasoning or tool calls in them."""
    text_bytes: int = 0
    audio_bytes: int = 0


class SseScanner:
    """Feed it what arrives, send on what it answers.

    `done` turns true at `data: [DONE]`, which is kept in `done_event` and not sent on: the cost goes before it.
    `error` is an upstream's error, `broken` an event that is no JSON; neither is sent on, and nothing behind them is.
    With `strip_usage` the chunk that has the usage and nothing else is not sent on, as its client did not ask for it.
    """

    def __init__(self, *, strip_usage: bool) -> None:
        self._strip_usage = strip_usage
        self._rest = b""
        self._overflowing = False
        self._begun = False
        self.done = False
        self.done_event = b""
        self.usage: Raw | None = None
        self.chunks_at_usage = 0
        """How much was delivered when it was told."""
        self.tier: Raw | None = None
        """In which tier of service it is answered, as last told."""
        self.error: Raw | None = None
        self.broken = False
        self.finished = False
        """Some choice has told its `finish_reason`."""
        self.delivered = Delivered()

    @property
    def ended(self) -> bool:
        """Nothing more will be sent on."""
        return self.done or self.broken or self.error is not None

    def feed(self, data: bytes) -> bytes:
        """The bytes that can go on to the client now."""
        if self.ended:
            return b""
        buffered = self._rest + data if self._rest else data
        if self._overflowing:
            return self._pass_overflow(buffered)
        end = _last_boundary(buffered)
        self._rest = buffered[end:]
        complete = buffered[:end]
        sent = self._events(complete) if complete else b""
        if len(self._rest) > EVENT_BYTES_MAX and not self.ended:
            self._overflowing = True
            sent += self._pass_overflow(self._rest)
        return sent

    def close(self) -> bytes:
        """At the upstream's end: a last event that lacks its blank line is read all the same."""
        rest, self._rest = self._rest, b""
        if self.ended or not rest.strip() or self._overflowing:
            return b"" if self.ended else rest
        if not rest.removeprefix(BOM).lstrip().startswith(b"data:"):
            return b""
        return self._events(rest + b"\n\n")

    def _pass_overflow(self, buffered: bytes) -> bytes:
        """The middle of an event that is too long: all but what may be the first half of its blank line."""
        end, length = _first_boundary(buffered)
        if end < 0:
            keep = min(2, len(buffered))
            passed, self._rest = buffered[:-keep], buffered[-keep:]
            self.delivered.text_bytes += len(passed)
            return passed
        self._overflowing = False
        self._rest = b""
        self.delivered.chunks += 1
        self.delivered.text_bytes += end
        return buffered[: end + length] + self.feed(buffered[end + length :])

    def _events(self, complete: bytes) -> bytes:
        """Reads whole events; answers those that are sent on, which mostly are all of them, uncopied."""
        pieces: list[bytes] | None = None
        start, size = 0, len(complete)
        while start < size:
            end, length = _first_boundary(complete, start)
            if end < 0:  # a blank line too many: its last newline ends no event of its own
                end, length = size, 0
            event_end = end + length
            if not self._event(complete[start:end]):
                pieces = [complete[:start]] if pieces is None else pieces
                if self.done:
                    self.done_event = complete[start:event_end]
                if self.ended:
                    return b"".join(pieces)
            elif pieces is not None:
                pieces.append(complete[start:event_end])
            start = event_end
        return complete if pieces is None else b"".join(pieces)

    def _event(self, event: bytes) -> bool:
        """Reads one event, without its blank line; answers whether it is sent on."""
        if not self._begun:
            self._begun = True
            event = event.removeprefix(BOM)
        if event.startswith(b"data:") and b"\n" not in event and b"\r" not in event:
            data = event[5:].strip()
        else:
            data = _data_of(event)
            if not data:
                return True
        if data == DONE:
            self.done = True
            return False
        try:
            chunk = decode_chunk(data)
        except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError):
            return self._strange(data)
        return self._chunk(chunk, data)

    def _chunk(self, chunk: Chunk, data: bytes) -> bool:
        text = 0
        for choice in chunk.choices or ():
            if choice.delta is not None:
                text += choice.delta.size()
                if choice.delta.audio:
                    text += self._sound(choice.delta.audio)
            if choice.finish_reason is not None:
                self.finished = True
        if text:
            self._count(text)
        return self._told(chunk, data)

    def _sound(self, sound: Raw) -> int:
        """Counts the sound; answers the bytes of what it says."""
        if not given(sound):
            return 0
        audio, said = sound_size(sound)
        self.delivered.audio_bytes += audio
        return said

    def _strange(self, data: bytes) -> bool:
        """Choices of another shape count as they stand; what is no JSON would break every client, so it ends here."""
        try:
            chunk = decode_loose_chunk(data)
        except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError):
            self.broken = True
            return False
        if chunk.choices:
            self._count(len(data))
        return self._told(chunk, data)

    def _told(self, chunk: Chunk | LooseChunk, data: bytes) -> bool:
        """Error and usage; answers whether the event is sent on."""
        if given(chunk.error):
            self.error = chunk.error
            return False
        if not chunk.choices and is_error(data):
            self.error = Raw(data)
            return False
        if chunk.service_tier:
            self.tier = chunk.service_tier
        if not given(chunk.usage):
            return True
        self.usage, self.chunks_at_usage = chunk.usage, self.delivered.chunks
        return bool(chunk.choices) or not self._strip_usage

    def _count(self, text_bytes: int) -> None:
        self.delivered.chunks += 1
        self.delivered.text_bytes += text_bytes


def _data_of(event: bytes) -> bytes:
    """The data of an event of several lines: comments and other fields are left out."""
    lines = event.replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n")
    return b"\n".join([line[5:].strip() for line in lines if line.startswith(b"data:")])


def _last_boundary(data: bytes) -> int:
    """Where the last complete event ends, its blank line included; 0 if none does."""
    end = data.rfind(b"\n\n") + 2
    if end == 1:
        end = 0
    if b"\r" in data:
        end = max(end, data.rfind(b"\n\r\n") + 3 if b"\n\r\n" in data else 0)
        end = max(end, data.rfind(b"\r\r") + 2 if b"\r\r" in data else 0)
    return end


def _first_boundary(data: bytes, start: int = 0) -> tuple[int, int]:
    """Where the first event's lines end, and how long the blank line behind them is; (-1, 0) if there is none."""
    at, length = data.find(b"\n\n", start), 2
    if data.find(b"\r", start) >= 0:
        for mark in (b"\n\r\n", b"\r\r"):
            found = data.find(mark, start)
            if found >= 0 and (at < 0 or found < at):
                at, length = found, len(mark)
    return (at, length) if at >= 0 else (-1, 0)
