"""The rows of the store, as structs. Their bytes are opaque here; `codec` reads and writes them."""

from typing import Literal, TypeAlias

from msgspec import Raw, Struct, field

from domain.instant import DAY, Instant

Status: TypeAlias = Literal["applied", "rejected", "failed", "quarantined"]

SECRET_KEPT: Instant = DAY
"""How long an outcome keeps its secret."""


class ShardHead(Struct, frozen=True, kw_only=True):
    """Who owns a shard, and how far its log has been applied."""

    shard: int
    owner: str | None
    epoch: int
    """Raised by every claim; the fence of every commit (I3)."""
    next_offset: int
    seq: int
    """Events of this shard so far: gap-free and commit-ordered, because it is given under this row's lock."""
    last_digest: bytes
    """`digest` of the record at `next_offset` - 1; empty before the first. Tells a recreated topic."""
    stopped: str | None = None
    """Why nothing may be applied: the log and the store do not fit each other. `adopt-log` clears it."""
    adopt_until: int = 0
    """Records before this offset are applied whatever their deadline: an operator has adopted them."""


class Lease(Struct, frozen=True, kw_only=True):
    """One worker's right to write a shard, until another claim raises the epoch."""

    shard: int
    epoch: int


class StoredEvent(Struct, frozen=True, kw_only=True, gc=False):
    """One row of the log. `mac` chains it to the event before it in its stream."""

    shard: int
    stream: str
    version: int
    seq: int
    at: Instant
    type: str
    schema_version: int
    payload: bytes
    metadata: bytes
    mac: bytes


class StreamHead(Struct, frozen=True, kw_only=True, gc=False):
    """Where a stream ends, and perhaps a snapshot of its state at `snapshot_at`."""

    shard: int
    stream: str
    version: int
    mac: bytes
    due_at: Instant | None = None
    """When the stream next changes by itself; the sweeper wakes it then."""
    snapshot: bytes | None = None
    snapshot_at: int = 0
    """The stream version that the snapshot is the state of."""
    snapshot_version: int = 0
    """The aggregate's `state_version` that wrote it."""
    quarantined: bool = False


class StoredStream(Struct, frozen=True, kw_only=True):
    """A head and the events after its snapshot, in order."""

    head: StreamHead
    events: list[StoredEvent]


class Outcome(Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """What became of a command. `applied` and `rejected` are final, but see `curable`."""

    shard: int
    command_id: str
    status: Status
    attempt: str
    """The attempt that won: the one that was applied, or refused last."""
    stream: str
    at: Instant
    fingerprint: str | None = None
    data: Raw = field(default_factory=lambda: Raw(b"{}"))
    """The answer's data, a JSON object; of a refusal its code, kind, message and detail."""
    secret: str | None = None
    """A sealed secret shown once; purged after 24 hours."""
    refused: tuple[str, ...] = ()
    """Attempts that met a curable refusal: a record carrying one of them is a duplicate, never decided again."""
    curable: bool = False
    """A refusal that time or money may cure: another attempt is decided anew."""

    def settles(self, attempt: str) -> bool:
        """Tells whether this is the answer to `attempt`; if not, that attempt is still to be decided."""
        return not self.curable or attempt == self.attempt or attempt in self.refused


class Refusal(Struct, frozen=True, kw_only=True, gc=False):
    """An attempt at a command that was refused, for the audit trail of its acting account; never changed again."""

    shard: int
    command_id: str
    attempt: str
    account: str
    at: Instant
    command: str
    """The command's tag."""
    code: str
    actor: bytes
    """JSON of `domain.envelope.Actor`."""
    mac: bytes
    """Of this row alone. That one is missing shows by its outcome, and by the number in exported heads."""


class ClaimRow(Struct, frozen=True, kw_only=True):
    """A unique value, the stream that holds it, and who took it: only that attempt's own refusal frees it again."""

    kind: str
    value: str
    shard: int
    stream: str
    command_id: str
    """The command's id and attempt."""


class DeadLetter(Struct, frozen=True, kw_only=True):
    """A record that could not be applied, kept for the operator."""

    shard: int
    offset: int
    reason: Literal["undecodable", "failed", "quarantined"]
    detail: str
    """The error's type and place; never a value from the record."""
    record: bytes
    at: Instant
    command_id: str | None = None
    stream: str | None = None
    state: Literal["open", "retried", "dropped", "released"] = "open"
    epoch: int = 0
    """Its shard's when it was first written, as the store fills it in; a recreated log has the same offsets again."""

    @property
    def place(self) -> tuple[int, int, int]:
        """What names it; in this order the letters of a shard were in its logs."""
        return self.shard, self.epoch, self.offset


class Progress(Struct, frozen=True, kw_only=True):
    """How far a batch brings one shard."""

    shard: int
    next_offset: int
    seq: int
    last_digest: bytes


class Batch(Struct, kw_only=True):
    """Everything that one round writes; it is committed together or not at all."""

    events: list[StoredEvent] = field(default_factory=list)
    heads: list[tuple[int, StreamHead]] = field(default_factory=list)
    """The version that the stream must have now, and its new head."""
    outcomes: list[Outcome] = field(default_factory=list)
    refusals: list[Refusal] = field(default_factory=list)
    claims_freed: list[ClaimRow] = field(default_factory=list)
    claims_released: list[ClaimRow] = field(default_factory=list)
    """Given up by the streams that hold them, whoever took them."""
    keys_erased: list[str] = field(default_factory=list)
    """Subjects whose data keys go, and that can never be given one again."""
    dead_letters: list[DeadLetter] = field(default_factory=list)
    progress: list[Progress] = field(default_factory=list)


class DataKey(Struct, frozen=True, kw_only=True):
    """A data key, wrapped by the master key that `master_id` names; it lives outside the log so it can be erased."""

    subject: str
    """`user:{id}` or `account:{id}`."""
    master_id: str
    wrapped: bytes


class KeptAnswer(Struct, frozen=True, kw_only=True):
    """An answer kept, sealed, for a repeat of its `Idempotency-Key`."""

    shard: int
    command_id: str
    attempt: str
    sealed: bytes
    expires_at: Instant
