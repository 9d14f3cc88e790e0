"""The audit trail of an account: one entry for each command it had applied, and for what the API refused it.

Uses are left out: holds and their ends are transactions, with key, request and command (`GET /billing/transactions`),
and would drown everything else. What the worker refused is read beside this (`LogStore.refusals`).
"""

from msgspec import Struct

from domain.account.api_key_use import ApiKeyUsed
from domain.account.credits import DebtRepaid, GrantExpired
from domain.account.holds import EVENTS as HOLD_EVENTS
from domain.audit import RequestsRefused
from domain.envelope import Actor
from domain.instant import Instant
from domain.message import Event
from domain.recorded import Recorded
from domain.registry import event_types
from projections.paging import instant_sort
from projections.projection import Projection

LEFT_OUT = frozenset({*HOLD_EVENTS, ApiKeyUsed, GrantExpired, DebtRepaid})
"""What metering does, and what time does."""


def audited_events() -> tuple[type[Event], ...]:
    """Everything else that can happen, of every noun."""
    return tuple(event for event in event_types().values() if event not in LEFT_OUT)


class AuditEntry(Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """What somebody did, or was refused. Every event of one command makes the same entry."""

    id: str
    account_id: str
    """Whose trail it is in."""
    at: Instant
    actor: Actor
    command_id: str
    action: str
    """The command's tag; of a refused request its route."""
    stream: str
    """To whom or what it was done."""
    code: str | None = None
    """Why it was refused; `None` if it was applied."""
    count: int = 1


def entry_id(recorded: Recorded) -> str:
    """Command and stream, in which it is unique; of what is counted, or does not say its command, its own place."""
    metadata = recorded.metadata
    if metadata.command is None or isinstance(recorded.event, RequestsRefused):
        return f"{recorded.stream}@{recorded.version}"
    return f"{metadata.command_id}@{recorded.stream}"


def entry_of(recorded: Recorded, account_id: str) -> AuditEntry:
    """The entry that the event's command has in the trail of an account."""
    event, metadata = recorded.event, recorded.metadata
    refused = event if isinstance(event, RequestsRefused) else None
    return AuditEntry(
        id=entry_id(recorded),
        account_id=account_id,
        at=recorded.at,
        actor=metadata.actor if refused is None else refused.actor,
        command_id=metadata.command_id,
        action=(metadata.command or _tag(event)) if refused is None else refused.route,
        stream=recorded.stream,
        code=None if refused is None else refused.code,
        count=1 if refused is None else refused.count,
    )


def _tag(event: Event) -> str:
    return str(type(event).__struct_config__.tag)


PROJECTION = Projection(
    collection="audit",
    version=1,
    document=AuditEntry,
    events=audited_events(),
    key=lambda recorded: entry_id(recorded) if recorded.metadata.account else None,
    evolve=lambda _entry, recorded: entry_of(recorded, recorded.metadata.account),
    owner=lambda entry: entry.account_id,
    sort=lambda entry: instant_sort(entry.at),
    begun_by=audited_events(),
    written_once=True,
    done=lambda _entry: True,
    listed_everywhere=True,
)
