"""Accounts as admins see them: found, suspended, resumed."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Annotated, Any, Literal, TypeAlias

from msgspec import Meta, Struct

from api.account_shown import AccountList, AccountShown, shown_accounts
from api.call import Call
from api.command_log.commands import data_of
from api.errors import ApiError, declare
from api.pagination import PageQuery, encode_cursor
from api.parts import Services
from api.plain_text import PATTERN, is_plain
from api.route import Route, needs
from domain.account.standing import ResumeAccount, SuspendAccount
from domain.message import Command
from domain.user import Role
from projections.directory import DirectoryEntry, find_accounts, list_accounts
from projections.emails import find_user_id
from projections.paging import Cursor, Page
from projections.standings import StandingView, get_standings, list_suspended

REASON_PLACE = "account.suspension"
REASON_MAX = 500
SCANNED_MAX = 500
"""Accounts that one page looks at: with filters that fit few of them it may show fewer than `limit`."""

declare(
    "own_account",
    "conflict",
    "An admin cannot suspend its own account.",
    "Let another admin do it.",
)
declare(
    "invalid_reason",
    "invalid",
    "The reason is blank, too long, or holds control characters.",
    "Send 1 to 500 characters in one line.",
)

Status: TypeAlias = Literal["active", "suspended"]


class AccountQuery(PageQuery, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which accounts; what is left out does not matter."""

    email: Annotated[str, Meta(max_length=254)] | None = None
    id: Annotated[str, Meta(max_length=100)] | None = None
    role: Role | None = None
    status: Status | None = None


class Suspension(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Why. Admins see it, nobody else; it is sealed."""

    reason: Annotated[
        str,
        Meta(
            description="1 to 500 characters, no control characters.",
            extra_json_schema={"minLength": 1, "maxLength": REASON_MAX, "pattern": PATTERN},
        ),
    ]


class _Found(Struct, frozen=True):
    entry: DirectoryEntry
    standing: StandingView | None


async def search(call: Call[None, AccountQuery]) -> AccountList:
    """By exact email address or id, or all, the newest first (suspended ones by the time of their suspension)."""
    services, query = call.services, call.query
    if query.email is not None or query.id is not None:
        found, after = await _exact(services, query), None
    else:
        walk = _suspended if query.status == "suspended" else _all
        found, after = await _walked(services, query, walk(services, query))
    return AccountList(
        data=await _shown(services, found),
        has_more=after is not None,
        next_cursor=None if after is None else encode_cursor(after),
    )


async def _exact(services: Services, query: AccountQuery) -> list[_Found]:
    account_id = query.id
    if query.email is not None:
        account_id = await find_user_id(services.documents, services.lookup.email(query.email))
        if account_id is None or query.id not in (None, account_id):
            return []
    return [each for each in await _found(services, [account_id or ""]) if _fits(each, query)]


async def _found(services: Services, account_ids: Sequence[str]) -> list[_Found]:
    """Those that are there, in the order given, and how they stand."""
    entries = await find_accounts(services.documents, services.shards, account_ids)
    standings = await get_standings(services.documents, services.shards, entries)
    return [_Found(entries[each], standings.get(each)) for each in account_ids if each in entries]


async def _shown(services: Services, found: Sequence[_Found]) -> list[AccountShown]:
    return await shown_accounts(services, [(each.entry, each.standing) for each in found], REASON_PLACE)


def _fits(found: _Found, query: AccountQuery) -> bool:
    status = "active" if found.standing is None else "suspended"
    return query.role in (None, found.entry.holder) and query.status in (None, status)


_Step: TypeAlias = Callable[[int, Cursor | None], Awaitable[Page[Any]]]


def _all(services: Services, query: AccountQuery) -> _Step:
    async def step(limit: int, after: Cursor | None) -> Page[Any]:
        return await list_accounts(services.documents, query.role, limit=limit, after=after)

    return step


def _suspended(services: Services, _query: AccountQuery) -> _Step:
    async def step(limit: int, after: Cursor | None) -> Page[Any]:
        return await list_suspended(services.documents, limit=limit, after=after)

    return step


async def _walked(services: Services, query: AccountQuery, step: _Step) -> tuple[list[_Found], Cursor | None]:
    """Accounts that fit, and where the next page begins; each step takes no more than are still wanted."""
    found: list[_Found] = []
    after, scanned = query.after(), 0
    while True:
        page = await step(query.limit - len(found), after)
        here = await _found(services, [item.account_id for item in page.items])
        found += [each for each in here if _fits(each, query)]
        after, scanned = page.next_after, scanned + len(page.items)
        if after is None or len(found) == query.limit or scanned >= SCANNED_MAX:
            return found, after


async def suspend(call: Call[Suspension, None]) -> AccountShown:
    """Stops an account; within a second every process refuses it all but a few routes."""
    services, account_id = call.services, call.path["id"]
    if account_id in (call.caller.user_id, call.caller.account_id):
        raise ApiError("own_account")
    if len(call.body.reason) > REASON_MAX or not is_plain(call.body.reason):
        raise ApiError("invalid_reason", param="reason")
    await _require(services, account_id)
    reason = await services.sealer.seal(f"account:{account_id}", REASON_PLACE, call.body.reason.encode())
    return await _changed(call, SuspendAccount(reason_sealed=reason))


async def resume(call: Call[None, None]) -> AccountShown:
    """Lets an account go on."""
    await _require(call.services, call.path["id"])
    return await _changed(call, ResumeAccount())


async def _changed(call: Call[Any, None], command: Command) -> AccountShown:
    services, account_id = call.services, call.path["id"]
    outcome = await call.draft(f"account:{account_id}").submit(command)
    assert "suspended_at" in data_of(outcome), "the answer of the account's standing"
    # Other processes see the stamp within a second; this one drops what it has cached now.
    services.identities.cache.stamped((f"account:{account_id}",))
    found = await _require(services, account_id)
    [shown] = await _shown(services, [found])
    return shown


async def _require(services: Services, account_id: str) -> _Found:
    found = await _found(services, [account_id])
    if not found:
        raise ApiError("account_not_found", param="id")
    return found[0]


_EXAMPLE = {"id": "user_00000000000000000000000000000000"}

ROUTES = (
    Route(
        method="GET",
        path="/admin/accounts",
        handler=search,
        summary="Find accounts",
        description="A page looks at no more than 500 accounts: with filters it may be short and yet not the last.",
        tag="admin",
        access=needs("accounts:read", role="admin"),
        query=AccountQuery,
        answers={200: AccountList},
        errors=("invalid_cursor",),
    ),
    Route(
        method="POST",
        path="/admin/accounts/{id}/suspend",
        handler=suspend,
        summary="Suspend an account",
        description="What is running is still settled; the first reason stays until the account is resumed.",
        tag="admin",
        access=needs("accounts:write", role="admin"),
        body=Suspension,
        answers={200: AccountShown},
        errors=("account_not_found", "own_account", "invalid_reason"),
        write=True,
        path_examples=_EXAMPLE,
        example={"reason": "Payment was charged back."},
    ),
    Route(
        method="POST",
        path="/admin/accounts/{id}/resume",
        handler=resume,
        summary="Resume an account",
        tag="admin",
        access=needs("accounts:write", role="admin"),
        answers={200: AccountShown},
        errors=("account_not_found",),
        write=True,
        path_examples=_EXAMPLE,
    ),
)
