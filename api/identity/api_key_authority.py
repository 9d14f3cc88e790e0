"""A key never exceeds whoever makes, changes or rotates it: each rule refuses one way round that."""

from collections.abc import Iterable

from api.caller import Caller
from api.errors import ApiError, declare
from api.scopes import expand
from domain.instant import Instant
from projections.api_keys import ApiKeyView

declare(
    "mode_exceeded",
    "forbidden",
    "A key of mode test cannot make a key of mode live, or let one do more.",
    "Use a live key or a login token, or ask for mode test.",
)
declare(
    "expiry_exceeded",
    "forbidden",
    "A key that expires cannot make one that outlives it.",
    "Send an expires_at no later than the key's own, or use a login token.",
)
declare(
    "limits_exceeded",
    "forbidden",
    "A key with limits of its own cannot make keys, rotate others, or change limits: they would let it exceed its own.",
    "Use a login token, or a key without limits of its own.",
)
declare(
    "project_exceeded",
    "forbidden",
    "A key that is bound to a project cannot reach keys beyond it.",
    "Use credentials that are not bound to a project, or leave project_id out.",
)
declare(
    "not_key_owner",
    "forbidden",
    "Only who made a key can have a new secret for it: the key acts in that person's name.",
    "Create a key of your own and revoke this one.",
)


def require_mode(caller: Caller, mode: str) -> None:
    """403 `mode_exceeded`."""
    if caller.mode == "test" and mode != "test":
        raise ApiError("mode_exceeded", param="mode")


def require_no_later(caller: Caller, expires_at: Instant | None) -> None:
    """403 `expiry_exceeded` where the key would outlive the caller's; a login token's own end binds nothing."""
    if caller.expires_at is not None and (expires_at is None or expires_at > caller.expires_at):
        raise ApiError("expiry_exceeded", param="expires_at")


def require_no_limits(caller: Caller) -> None:
    """403 `limits_exceeded`: with a second key, or another limit, a key would have more than its own."""
    limits = caller.limits
    own = (limits.requests_per_minute, limits.requests_per_day, limits.credit_limit)
    if any(limit is not None for limit in own):
        raise ApiError("limits_exceeded")


def require_project(caller: Caller, project_id: str | None) -> None:
    """403 `project_exceeded` for a key of another project, or of none."""
    if caller.project_id is not None and caller.project_id != project_id:
        raise ApiError("project_exceeded", param="project_id")


def require_secret_of(caller: Caller, view: ApiKeyView) -> None:
    """403 where the caller must not have a secret of this key: it would gain rights or time by it."""
    if view.created_by != caller.user_id:
        raise ApiError("not_key_owner")
    require_no_later(caller, view.expires_at)
    require_project(caller, view.project_id)
    require_reach(caller, view, view.scopes)
    if caller.key_id != view.id:
        require_no_limits(caller)


def require_reach(caller: Caller, view: ApiKeyView, scopes: Iterable[str]) -> None:
    """403 where the key, with these scopes, may do what the caller may not: it would do more of that, or for longer."""
    require_mode(caller, view.mode)
    lacking = sorted(expand(scopes) - caller.scopes)
    if lacking and caller.key_id != view.id:
        raise ApiError("scope_exceeded", f"The key has scopes that yours lack: {', '.join(lacking)}.")
