"""An account's audit trail, put together of what was applied, what others did to it, and what was refused."""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from heapq import merge
from typing import TypeAlias

import msgspec
from msgspec import Struct, structs

from domain.account.credits import AddCredits
from domain.account.subscription import ConfirmSubscription
from domain.envelope import Actor
from domain.instant import Instant
from domain.invitation import AcceptInvitation
from eventstore.records import Refusal
from eventstore.store import LogStore
from projections import audit, audit_received
from projections.audit import AuditEntry
from projections.documents import DocumentReader
from projections.paging import Cursor, instant_sort
from projections.projection import Projection

AT_MAX: Instant = 2**63 - 1
STEP = 100
"""Rows of each source that are read at once."""

BY_OPERATORS = frozenset(str(command.__struct_config__.tag) for command in (AddCredits, ConfirmSubscription))
"""Commands of the account that they are for, which somebody else sends: the payment side, and admins."""
BY_INVITED = str(AcceptInvitation.__struct_config__.tag)
"""A command of the organization, whose sender is no member of it where it was refused."""

_decode_actor = msgspec.json.Decoder(Actor).decode

Step: TypeAlias = Callable[[Cursor | None], Awaitable[Sequence["Placed"]]]


class Placed(Struct, frozen=True):
    """An entry and its place in the trail, the newest first."""

    place: Cursor
    entry: AuditEntry


async def trail(
    documents: DocumentReader, store: LogStore, account_id: str, after: Cursor | None
) -> AsyncIterator[Placed]:
    """All entries behind `after`, the newest first; memory stays bounded, for the sources are read step by step."""
    sources = (
        _documents(documents, audit.PROJECTION, account_id),
        _documents(documents, audit_received.PROJECTION, account_id, others=True),
        _refusals(store, account_id),
    )
    while True:
        batches = [await source(after) for source in sources]
        # Beyond the end of the shortest source that has more, a later batch may still come in between.
        ends = [batch[-1].place for batch in batches if len(batch) == STEP]
        end = max(ends, default=None)
        for placed in merge(*batches, key=lambda each: each.place, reverse=True):
            if end is None or placed.place >= end:
                yield _as_seen(placed, account_id)
        if end is None:
            return
        after = end


def _documents(
    documents: DocumentReader, projection: Projection[AuditEntry], account_id: str, *, others: bool = False
) -> Step:
    async def step(after: Cursor | None) -> list[Placed]:
        rows = await documents.page_everywhere(projection.collection, account_id, limit=STEP, after=after)
        entries = [projection.decode(row.doc) for row in rows]
        if others:
            entries = [_without_place(entry) for entry in entries]
        return [Placed((row.sort, row.key), entry) for row, entry in zip(rows, entries, strict=True)]

    return step


def _refusals(store: LogStore, account_id: str) -> Step:
    async def step(after: Cursor | None) -> list[Placed]:
        behind = None if after is None else (int(after[0]), after[1])
        found = await store.refusals(account_id, limit=STEP, after=behind)
        return [Placed((instant_sort(each.at), each.command_id), _entry(each)) for each in found]

    return step


def _as_seen(placed: Placed, account_id: str) -> Placed:
    entry = placed.entry
    stranger = entry.action in BY_OPERATORS or (entry.action == BY_INVITED and entry.code is not None)
    if not stranger or entry.actor.id == account_id:
        return placed
    return Placed(placed.place, _without_place(entry))


def _without_place(entry: AuditEntry) -> AuditEntry:
    """Where somebody else was when acting on the account is not the account's business."""
    actor = entry.actor
    return structs.replace(entry, actor=structs.replace(actor, origin=None)) if actor.id else entry


def _entry(refusal: Refusal) -> AuditEntry:
    return AuditEntry(
        id=f"{refusal.command_id}/{refusal.attempt}",
        account_id=refusal.account,
        at=refusal.at,
        actor=_decode_actor(refusal.actor),
        command_id=refusal.command_id,
        action=refusal.command,
        stream="",
        code=refusal.code,
    )


def before(at: Instant) -> Cursor:
    """The place behind which everything older than `at` lies."""
    return instant_sort(at), ""


def is_place(cursor: Cursor) -> bool:
    """Whether a cursor names a place in a trail, so that every source can be asked for what lies behind it."""
    sort = cursor[0]
    return sort.isascii() and sort.isdigit() and int(sort) <= AT_MAX
