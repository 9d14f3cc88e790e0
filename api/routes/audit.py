"""The audit trail: `GET /audit`."""

from typing import Annotated, Literal, TypeAlias

from msgspec import Meta, Struct, field

from api.call import Call
from api.errors import ApiError
from api.origin import open_origin
from api.pagination import PageQuery, encode_cursor
from api.parts import Services
from api.rfc3339 import format_instant, parse_instant
from api.route import Route, needs
from domain.instant import Instant
from projections.audit import AuditEntry
from projections.audit_trail import before, is_place, trail
from projections.paging import Cursor

SCANNED_MAX = 2_000
"""Entries that one page looks at: with filters that fit few of them it may show fewer than `limit`."""

Moment: TypeAlias = Annotated[str, Meta(description="RFC 3339.", extra_json_schema={"format": "date-time"})]
Word: TypeAlias = Annotated[str, Meta(max_length=200)]
Outcome: TypeAlias = Literal["applied", "refused"]


class AuditQuery(PageQuery, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which entries. `from` is included, `to` is not; `actor` is the id of a user or a key."""

    from_: Moment | None = field(name="from", default=None)
    to: Moment | None = None
    actor: Word | None = None
    action: Word | None = None
    outcome: Outcome | None = None


class AuditActor(Struct, frozen=True, kw_only=True):
    """Who: a user, a user through a key, or the system. `id` is the user's."""

    kind: str
    id: str
    key_id: str | None


class AuditShown(Struct, frozen=True, kw_only=True):
    """What somebody did, or was refused.

    `action` is the command, or the route of requests that were refused at the door: those are counted by minute.
    `address` and `user_agent` are null for what the system or somebody else's admin did, and once a user was erased.
    """

    id: str
    at: str
    actor: AuditActor
    address: str | None
    user_agent: str | None
    action: str
    subject: str | None
    """To whom or what it was done, such as `account:user_ab3c…`; null for what was refused."""
    outcome: Outcome
    code: str | None
    count: int
    command_id: str


class AuditList(Struct, frozen=True, kw_only=True):
    """A page of the trail, newest first."""

    object: Literal["list"] = "list"
    data: list[AuditShown]
    has_more: bool
    next_cursor: str | None


async def list_all(call: Call[None, AuditQuery]) -> AuditList:
    """What was done and refused in the account, and by whom."""
    services, query = call.services, call.query
    if call.caller.level not in (None, "admin"):
        message = "An organization's trail is for its admins."
        raise ApiError("missing_level", message, required_level="admin")
    start, after = _bounds(query)
    found: list[AuditEntry] = []
    last: Cursor | None = None
    scanned = 0
    async for placed in trail(services.documents, services.store, call.caller.account_id, after):
        if placed.entry.at < start:
            last = None
            break
        if len(found) == query.limit or scanned == SCANNED_MAX:
            break
        last, scanned = placed.place, scanned + 1
        if _fits(placed.entry, query):
            found.append(placed.entry)
    else:
        last = None
    return AuditList(
        data=[await entry_shown(services, entry) for entry in found],
        has_more=last is not None,
        next_cursor=None if last is None else encode_cursor(last),
    )


def _bounds(query: AuditQuery) -> tuple[Instant, Cursor | None]:
    """The oldest instant that is wanted, and the place to begin behind. 400 `invalid_period`, `invalid_cursor`."""
    start = 0 if query.from_ is None else parse_instant(query.from_, name="from", code="invalid_period")
    after = query.after()
    if after is not None and not is_place(after):
        raise ApiError("invalid_cursor", param="cursor")
    if query.to is not None:
        end = parse_instant(query.to, name="to", code="invalid_period")
        if start >= end:
            raise ApiError("invalid_period", "from must lie before to.", param="from")
        after = before(end) if after is None else min(after, before(end))
    return start, after


def _fits(entry: AuditEntry, query: AuditQuery) -> bool:
    outcome = "applied" if entry.code is None else "refused"
    return (
        query.outcome in (None, outcome)
        and query.action in (None, entry.action)
        and query.actor in (None, entry.actor.id, entry.actor.key_id)
    )


async def entry_shown(services: Services, entry: AuditEntry) -> AuditShown:
    """The entry as its account sees it, with what is sealed opened as far as it can be."""
    actor = entry.actor
    origin = await open_origin(services, actor, entry.stream)
    return AuditShown(
        id=entry.id,
        at=format_instant(entry.at),
        actor=AuditActor(kind=actor.kind, id=actor.id, key_id=actor.key_id),
        address=origin.address,
        user_agent=origin.user_agent,
        action=entry.action,
        subject=entry.stream or None,
        outcome="applied" if entry.code is None else "refused",
        code=entry.code,
        count=entry.count,
        command_id=entry.command_id,
    )


ROUTES = (
    Route(
        method="GET",
        path="/audit",
        handler=list_all,
        summary="List the audit trail",
        description=(
            "Who did what, through which key, from where, and what was refused, the newest first. A page looks at no "
            "more than 2,000 entries: with filters it may be short and yet not the last."
        ),
        tag="audit",
        access=needs("audit:read"),
        query=AuditQuery,
        answers={200: AuditList},
        errors=("invalid_cursor", "invalid_period", "missing_level"),
    ),
)
