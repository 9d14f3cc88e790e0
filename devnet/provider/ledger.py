"""What the provider was asked and how each request ended: the upstream's side of a test."""

import hashlib
import time
from collections import deque
from typing import Any, Literal

import msgspec

End = Literal["open", "completed", "refused", "failed", "client_cancelled"]
INTEREST = (
    b"accept",
    b"content-length",
    b"content-type",
    b"idempotency-key",
    b"traceparent",
    b"user-agent",
    b"x-request-id",
)


class Entry:
    """One request. Times are seconds of `time.monotonic`; the wall clock's is `started_at` (Unix seconds)."""

    __slots__ = (
        "completion_id",
        "ended",
        "ended_s",
        "fail",
        "first_byte_s",
        "headers",
        "model",
        "number",
        "started_at",
        "started_s",
        "status",
        "stream",
        "tokens_sent",
    )

    def __init__(self, number: int, headers: list[tuple[bytes, bytes]]) -> None:
        self.number = number
        self.headers = headers
        self.completion_id = ""
        self.model = ""
        self.stream = False
        self.fail = "none"
        self.status = 0
        self.tokens_sent = 0
        self.ended: End = "open"
        self.started_s = time.monotonic()
        self.started_at = time.time()
        self.first_byte_s: float | None = None
        self.ended_s: float | None = None

    def view(self) -> dict[str, Any]:
        """As JSON. Of `Authorization` only the SHA-256 of the header's whole value is shown."""
        shown: dict[str, Any] = {name: getattr(self, name) for name in self.__slots__ if name != "headers"}
        headers = {key.decode("latin-1"): value.decode("latin-1") for key, value in self.headers if key in INTEREST}
        secret = next((value for key, value in self.headers if key == b"authorization"), None)
        shown["authorization_sha256"] = hashlib.sha256(secret).hexdigest() if secret is not None else None
        return {**shown, "headers": headers}


class Counts(msgspec.Struct, kw_only=True):
    """Totals since the start or the last reset. `started` = `open` + the four ways to end."""

    started: int = 0
    open: int = 0
    open_streams: int = 0
    completed: int = 0
    refused: int = 0
    failed: int = 0
    client_cancelled: int = 0
    tokens_sent: int = 0
    prompt_tokens: int = 0


class Ledger:
    """Counts of all requests, and a log of the last `size_max` in order of arrival."""

    def __init__(self, size_max: int) -> None:
        self.counts = Counts()
        self._log: deque[Entry] = deque(maxlen=size_max)
        self._number = 0

    def opened(self, headers: list[tuple[bytes, bytes]]) -> Entry:
        """A request has arrived."""
        self._number += 1
        entry = Entry(self._number, headers)
        self._log.append(entry)
        self.counts.started += 1
        self.counts.open += 1
        return entry

    def streaming(self, entry: Entry) -> None:
        """The request turns out to ask for a stream."""
        entry.stream = True
        self.counts.open_streams += 1

    def sent(self, entry: Entry, tokens: int) -> None:
        """So many more tokens were handed to the network."""
        entry.tokens_sent += tokens
        self.counts.tokens_sent += tokens

    def closed(self, entry: Entry, end: End) -> None:
        """The request has ended; only the first end counts."""
        if entry.ended != "open":
            return
        entry.ended = end
        entry.ended_s = time.monotonic()
        counts = self.counts
        counts.open -= 1
        counts.open_streams -= entry.stream
        setattr(counts, end, getattr(counts, end) + 1)

    def reset(self) -> None:
        """Forget what has ended; open requests stay counted."""
        still_open = [entry for entry in self._log if entry.ended == "open"]
        streams = self.counts.open_streams
        self.counts = Counts(started=self.counts.open, open=self.counts.open, open_streams=streams)
        self._log.clear()
        self._log.extend(still_open)

    def view(self, limit: int) -> dict[str, Any]:
        """Counts, `now_s` on the clock of the entries, and the last `limit` entries, oldest first."""
        log = list(self._log)[-limit:] if limit else []
        counts = msgspec.structs.asdict(self.counts)
        finished = self.counts.started - self.counts.open
        now = {"now_s": time.monotonic(), "finished": finished}
        return {**counts, **now, "log": [entry.view() for entry in log]}
