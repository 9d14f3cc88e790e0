"""Erasing a user: `DELETE /users/me`. Nothing personal can be read afterwards, by nobody and nowhere."""

from msgspec import Struct

from api.call import Call
from api.command_log.commands import data_of
from api.errors import ApiError, declare
from api.leaving import begin_leaving, by_request, end_subscription
from api.rfc3339 import format_instant
from api.route import Route, needs
from api.routes.users import check_current_password, own_user
from domain.erasure import EraseUser

declare(
    "erasure_begun",
    "conflict",
    "The user is being erased and becomes a member of nothing any more.",
    "Nothing is left to do: the erasure goes on by itself.",
)
declare(
    "erasure_ended",
    "conflict",
    "The erasure was ended by another request.",
    "Send DELETE /users/me again, with a new `Idempotency-Key`.",
)


class Erasing(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """May be left out. A password that is sent must be the right one."""

    password: str | None = None


class ErasedUser(Struct, frozen=True, kw_only=True):
    """Who was erased, and when."""

    user_id: str
    erased_at: str


async def erase_me(call: Call[Erasing | None, None]) -> ErasedUser:
    """Deletes the data key of the user and of the user's own account, and frees the email address."""
    services, user_id = call.services, call.caller.user_id
    if call.caller.kind != "user":
        raise ApiError("login_required")
    user = await own_user(services, user_id)
    if call.body is not None and call.body.password is not None:
        await check_current_password(call, user, call.body.password, param="password")
    leaver = by_request(call)
    erasure_id = await begin_leaving(leaver)
    await end_subscription(leaver)
    # Waited for in any case: who is gone has no credentials to ask with what became of it.
    outcome = await call.draft(f"user:{user_id}").remember(EraseUser(erasure_id=erasure_id))
    # Other processes see the stamp within a second, and drop the data key within 60; this one forgets both now.
    services.identities.cache.stamped((user_id,))
    services.sealer.forget(f"user:{user_id}", f"account:{user_id}")
    return ErasedUser(user_id=user_id, erased_at=format_instant(data_of(outcome)["erased_at"]))


ROUTES = (
    Route(
        method="DELETE",
        path="/users/me",
        handler=erase_me,
        summary="Erase the caller's user",
        description=(
            "Makes email address, display name, password, addresses and kept answers unreadable everywhere, for good. "
            "Tokens and API keys end, the email address can be registered anew. Balances, transactions and the "
            "trail of what was done stay, without anything personal. Invitations that were sent to the address go on, "
            "and nobody can read it there any more. What was begun goes on by itself, even if its answer was lost. The "
            "user leaves its organizations first; one that would be left to others without an admin is 409 "
            "`last_admin`, with its `org_id`."
        ),
        tag="users",
        access=needs("users:write", fresh=True),
        body=Erasing,
        answers={200: ErasedUser},
        errors=(
            "wrong_password",
            "login_required",
            "too_many_attempts",
            "busy",
            "user_not_found",
            "no_password",
            "last_admin",
            "erasure_ended",
        ),
        write=True,
        example={"password": "correct horse battery staple"},
    ),
)
