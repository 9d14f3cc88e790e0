"""Routes are data: routing, enforcement and `/openapi.json` all come from these tables."""

import importlib
import pkgutil
from collections.abc import Awaitable, Callable, Mapping
from functools import cache
from typing import Any, Literal, TypeAlias

from msgspec import Struct

import api.routes
from domain.member import Level
from domain.user import Role

Method: TypeAlias = Literal["GET", "POST", "PUT", "PATCH", "DELETE"]
Fresh: TypeAlias = bool | Callable[[Any], bool]
BODY_BYTES_MAX = 64 * 1024
"""What a JSON route takes unless it says otherwise."""


class Access(Struct, frozen=True, kw_only=True):
    """Who may call a route. Private by default: only `PUBLIC` and `ANYONE` open one."""

    scope: str | None = None
    role: Role | None = None
    public: bool = False
    """Credentials are not even looked at."""
    optional: bool = False
    """Credentials are checked where there are any; without, the caller is anonymous."""
    while_suspended: bool = False
    """Open to a suspended account as well: what its owner must still see."""

    project: bool = False
    """Open to credentials that are bound to a project: what it answers and does is of that project alone."""
    of_person: bool = False
    """About the person alone: open to its token, whatever project that is bound to."""
    level: Level | None = None
    """What a member must be in the organization that the path names, so that the route may be called."""
    fresh: Fresh = False
    """What changed of authority until now is heard of first: what is done here outlasts it, so that nobody may do it in
    the moment between an end elsewhere and the news of it. Or tells of which bodies that is true."""


PUBLIC = Access(public=True)
ANYONE = Access(optional=True, project=True)


def needs(
    scope: str,
    *,
    role: Role | None = None,
    while_suspended: bool = False,
    project: bool = False,
    of_person: bool = False,
    level: Level | None = None,
    fresh: Fresh = False,
) -> Access:
    """Access for callers that have the scope (and, if given, the role, or the level in the path's organization)."""
    return Access(
        scope=scope,
        role=role,
        while_suspended=while_suspended,
        project=project,
        of_person=of_person,
        level=level,
        fresh=fresh,
    )


def needs_fresh(access: Access, body: Any) -> bool:
    """True where what the body asks for outlasts the authority by which it is asked."""
    return access.fresh(body) if callable(access.fresh) else access.fresh


class Stream(Struct, frozen=True, kw_only=True):
    """An answer that is no JSON of ours: its media type, and optionally a struct that describes it."""

    media_type: str
    schema: type[Struct] | None = None
    description: str = ""


Answers: TypeAlias = Mapping[int, type[Struct] | str | tuple[type[Struct] | str | Stream, ...] | Stream]
"""By status: a struct (JSON), a media type, or several of these."""


class Route(Struct, frozen=True, kw_only=True):
    """One operation. `path` has parameters as `{id}`, or `{name:path}` at the end for one that may hold slashes."""

    method: Method
    path: str
    handler: Callable[[Any], Awaitable[Any]]
    """`async def handler(call: Call[Body, Query]) -> Struct | Reply`; a `raw` one may answer an ASGI app."""
    summary: str
    description: str = ""
    tag: str
    access: Access
    feature: str | None = None
    """What the caller's plan must have; 402 `feature_not_in_plan` else."""
    body: type[Struct] | None = None
    """Decoded into `call.body`; for a `raw` route it only describes the body. Must forbid unknown fields."""
    body_optional: bool = False
    """Without a body all of its fields are at their defaults."""
    query: type[Struct] | None = None
    """Decoded into `call.query`, from strings; every field needs a default or is required."""
    answers: Answers
    """The first status of the 200s is the one a plain struct is answered with."""
    errors: tuple[str, ...] = ()
    """Declared codes beyond those that the endpoint itself answers."""
    write: bool = False
    """Sends commands: accepts `Idempotency-Key` and `Prefer: respond-async`, may answer 202."""
    shown_once: bool = False
    """Its answer shows what no later one does: without an `Idempotency-Key` the client waits for it in any case."""
    raw: bool = False
    """Takes the body's bytes as they are, and may answer an ASGI app (a Starlette `Response`) itself."""
    early: bool = False
    """Works before the store and the log can be reached (`call.services` is not there yet)."""
    unlimited: bool = False
    """No rate limit counts its requests: what operators and their tools ask all the time. Its answers tell of the
    address's limit like all others."""
    paying: bool = False
    """Counts by the client's address: who has used up the plan's requests may still buy more."""
    claim: bool = False
    """What it refuses is a claim about money: it is in the audit trail before it is answered."""
    hidden: bool = False
    """Left out of `/openapi.json`: aliases and pages."""
    body_bytes_max: int = BODY_BYTES_MAX
    path_examples: Mapping[str, str] = {}  # msgspec copies the default
    example: Mapping[str, Any] | None = None
    """A body that works, for the documentation."""
    request_headers: tuple[str, ...] = ()
    """Names of headers that it needs, documented in `openapi_headers.ROUTE_HEADERS`."""
    response_headers: tuple[str, ...] = ()
    """Names of headers that successful answers carry, documented in `openapi_headers.HEADERS`."""

    @property
    def status(self) -> int:
        """The status of a plain answer."""
        return next(status for status in self.answers if 200 <= status < 300)  # noqa: PLR2004  # the range of successes


@cache
def all_routes() -> tuple[Route, ...]:
    """The routes of every module in `api.routes`, in alphabetical order of the modules."""
    found: list[Route] = []
    for module in sorted(each.name for each in pkgutil.iter_modules(api.routes.__path__, "api.routes.")):
        found.extend(getattr(importlib.import_module(module), "ROUTES", ()))
    return tuple(found)
