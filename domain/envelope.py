"""What travels through Kafka: a command with who asked, when, until when, and under which idempotent id."""

from msgspec import Struct

from domain.instant import Instant
from domain.message import Command


class Actor(Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """Who asked. `origin` is the sealed address and user agent; only the author's data key opens it."""

    kind: str
    """`user`, `key`, `anonymous`, or `system` (sweeper, operator)."""
    id: str
    key_id: str | None = None
    origin: str | None = None


class Header(Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """Everything about a command but its body; readable even where the body's type is not known yet."""

    id: str
    """The command id, a UUID. With an `Idempotency-Key` it is derived, so that a repeat carries the same."""
    attempt: str
    """Random for each try: tells apart two tries under one command id."""
    stream: str
    account: str
    """The acting account: whose money and limits it is about."""
    actor: Actor
    issued_at: Instant
    deadline: Instant | None = None
    """Applied later than this, the command is refused `deadline_passed`."""
    trace: str | None = None
    """W3C `traceparent` of the request."""
    fingerprint: str | None = None
    """HMAC of the HTTP request; another one under the same id is refused."""


class Envelope(Struct, frozen=True, kw_only=True, gc=False):
    """A header and the command itself."""

    header: Header
    body: Command
