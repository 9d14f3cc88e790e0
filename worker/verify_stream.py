"""One stream as `verify` walks it: the chain of macs, versions without gaps, the fold, its snapshot and its head."""

from typing import Any

import asyncpg
from msgspec import Struct

from domain.account.account import Account
from domain.recorded import Recorded
from domain.registry import aggregates
from eventstore import codec
from eventstore.records import StoredEvent, StreamHead
from worker.findings import Findings
from worker.log_rows import recorded
from worker.verify_kept import KeptRows
from worker.verify_money import AccountLedger


class CommandTrace(Struct, frozen=True, kw_only=True):
    """Events in a row that one command has caused; `due` are those that time alone has, noticed by that command."""

    command_id: str
    stream: str
    version: int
    due: bool


class StreamWalk:
    """Takes a stream's events in order. Every difference goes to `findings`; nothing stops the walk."""

    def __init__(self, stream: str, head: StreamHead | None, macs: codec.MacChain, findings: Findings) -> None:
        self.stream = stream
        self.traces: list[CommandTrace] = []
        """What was caused by which command since they were last taken away."""
        self._head = head
        self._macs = macs
        self._findings = findings
        self._aggregate = aggregates().get(stream.partition(":")[0])
        self._state: Any = self._aggregate.initial() if self._aggregate else None
        self._foldable = self._aggregate is not None
        self._ledger = AccountLedger(stream, findings) if isinstance(self._state, Account) else None
        self._version = 0
        self._at = 0
        self._mac = b""
        self._command = ""
        self._due_for_now = False
        self._due: list[Any] = []
        if self._aggregate is None:
            self._wrong("state", "this release knows no such category")
        if head is None:
            self._wrong("head", "there is none")

    def take(self, row: asyncpg.Record) -> Recorded | None:
        """The next event, for the read models; `None` if it cannot be decoded."""
        stored = StoredEvent(**row)
        if stored.version != self._version + 1:
            self._wrong("version", f"{stored.version} follows {self._version}")
        if stored.at < self._at:
            self._wrong("time", f"version {stored.version} happened before the one before it")
        if not self._macs.verify(self._mac, stored):
            self._wrong("mac", f"version {stored.version} {self._macs.why_not(stored.mac)}")
        self._version, self._at, self._mac = stored.version, stored.at, stored.mac
        try:
            event = recorded(row)
        except Exception as error:  # noqa: BLE001  # whatever it is, it is a finding
            self._wrong("event", f"version {stored.version} cannot be decoded: {type(error).__name__}")
            self._foldable = False
            return None
        self._trace(event)
        if self._foldable:
            self._fold(event)
        return event

    def _trace(self, event: Recorded) -> None:
        """Notes the command, and whether the event is one that was due anyway before anything was decided."""
        command_id = event.metadata.command_id
        if command_id != self._command:
            self._command, self._due_for_now, self._due = command_id, True, []
        before = self.traces[-1] if self.traces else None
        due = self._due_for_now and self._is_due(event)
        self._due_for_now = due
        if before is None or (before.command_id, before.stream, before.due) != (command_id, self.stream, due):
            self.traces.append(CommandTrace(command_id=command_id, stream=self.stream, version=event.version, due=due))

    def _is_due(self, event: Recorded) -> bool:
        if not self._foldable or self._aggregate is None:
            return False
        self._due = self._due or list(self._aggregate.due(self._state, event.at))
        return bool(self._due) and self._due.pop(0) == event.event

    def _fold(self, event: Recorded) -> None:
        assert self._aggregate is not None
        try:
            if self._ledger is not None:
                self._ledger.before(self._state, event)
            self._state = self._aggregate.evolve(self._state, event.event)
            if self._ledger is not None:
                self._ledger.after(self._state, event)
        except Exception as error:  # noqa: BLE001  # the same
            self._foldable = False
            if self._head is None or not self._head.quarantined:
                self._wrong("state", f"version {event.version} cannot be folded: {type(error).__name__}")
            return
        if self._head is not None and self._head.snapshot is not None and event.version == self._head.snapshot_at:
            self._check_snapshot(self._head, self._head.snapshot)

    def _check_snapshot(self, head: StreamHead, snapshot: bytes) -> None:
        assert self._aggregate is not None
        if head.snapshot_version != self._aggregate.state_version:
            return
        try:
            same = codec.decode_state(self._aggregate, snapshot) == (self._at, self._state)
        except Exception as error:  # noqa: BLE001  # the same
            self._wrong("snapshot", f"cannot be decoded: {type(error).__name__}")
            return
        if not same:
            self._wrong("snapshot", f"is not the state at version {head.snapshot_at}")

    def end(self, kept: KeptRows) -> None:
        """The stream is over: its head must say so. `kept` is told which rows beside the log must be there."""
        head = self._head
        if head is None:
            return
        if (head.version, head.mac) != (self._version, self._mac):
            self._wrong("head", f"says version {head.version}, the log ends at {self._version}")
        if head.snapshot is not None and head.snapshot_at > self._version:
            self._wrong("snapshot", f"is of version {head.snapshot_at}, the log ends at {self._version}")
        if head.quarantined:
            self._findings.note("quarantined streams")
        if not self._foldable or self._aggregate is None:
            return
        if not head.quarantined and head.due_at != self._aggregate.next_due(self._state):
            self._wrong("head", f"is due at {head.due_at}, the state at {self._aggregate.next_due(self._state)}")
        if not head.quarantined:
            kept.prove(self.stream, self._state)
        if self._ledger is not None:
            self._ledger.end(self._state)

    def _wrong(self, kind: str, what: str) -> None:
        self._findings.add(kind, self.stream, what)
