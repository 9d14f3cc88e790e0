"""Every route against every kind of caller: what they meet is the table of `docs/access.md`, cell by cell.

A route without a row fails. `python -m tests.api.test_access_matrix` prints the table as it is; look at each line
before you put it into the document.
"""

import asyncio
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

import pytest
import pytest_asyncio
from msgspec import Struct

from api.errors import CODES
from api.identity.issuers import Issuers
from api.route import Route, all_routes
from api.scopes import INCLUDED
from devnet.issuer import DevIssuer, running
from tests.api.access_world import Headers, World, world
from tests.api.clock import Clock
from tests.api.identity_provider import issuers_of
from tests.api.running import Running, application
from tests.docs.markdown import table_of

COLUMNS = (
    *("none", "bad", "user", "developer", "admin", "key read", "key write", "key admin"),
    *("org read", "org write", "org admin", "org key", "other org"),
    *("project", "other project", "bound token", "suspended"),
)
ACCESS = frozenset(
    {
        *("missing_credentials", "invalid_token", "invalid_api_key", "account_suspended", "login_required"),
        *("missing_scope", "missing_role", "missing_level", "project_bound", "key_bound", "not_key_owner"),
        *("organization_person_required", "organization_not_found", "project_not_found", "api_key_not_found"),
    }
)
"""Refusals that are about who asks. Any other answer means that the caller was let in."""
LET_IN = "yes"
ROUTES = {f"{route.method} {route.path}": route for route in all_routes()}


class Stage(Struct, kw_only=True):
    """A running application, and the world that routes which change nothing share."""

    app: Running
    clock: Clock
    provider: DevIssuer
    binding: DevIssuer
    shared: World

    async def world_for(self, route: Route) -> World:
        """A new one for a route that may change what the next caller meets."""
        return self.shared if route.method == "GET" else await world(self.app, self.clock, self.provider, self.binding)


@asynccontextmanager
async def staged() -> AsyncIterator[Stage]:
    """An application that takes tokens of two providers too; those of one are bound to projects."""
    clock = Clock()
    async with running() as provider, running() as binding:
        issuers = Issuers({**issuers_of(provider), **issuers_of(binding, name="binding", project="create")})
        async with application(clock=clock, issuers=issuers) as app:
            shared = await world(app, clock, provider, binding)
            yield Stage(app=app, clock=clock, provider=provider, binding=binding, shared=shared)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stage() -> AsyncIterator[Stage]:
    """One for all routes."""
    async with staged() as opened:
        yield opened


def rows() -> dict[str, dict[str, str]]:
    """The table: cells by route and column."""
    table = table_of("docs/access.md", "## Every route")
    return {row[0].strip("`"): dict(zip(("scope", *COLUMNS), row[1:], strict=True)) for row in table}


def test_every_route_has_a_row() -> None:
    """A new route is in the table before it is in a release."""
    assert list(rows()) == sorted(ROUTES)


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("name", sorted(ROUTES))
async def test_callers_meet_what_the_table_says(stage: Stage, name: str) -> None:
    """Each kind of caller, and a key of each scope alone."""
    route, row = ROUTES[name], rows().get(name)
    assert row is not None, f"{name} has no row in docs/access.md"
    assert row["scope"] == (f"`{route.access.scope}`" if route.access.scope else "")
    there = await stage.world_for(route)
    found = await met(stage.app, route, there)
    assert found == {column: row[column] for column in COLUMNS}
    for scope in INCLUDED:
        cell = await _met_by(stage.app, route, there, there.scoped[scope])
        suffices = route.access.scope is None or route.access.scope in (scope, *INCLUDED[scope])
        assert cell == (_by_scope(route, row, scope) if suffices else "403"), scope


def _by_scope(route: Route, row: Mapping[str, str], scope: str) -> str:
    """A key with one scope that suffices fares as a service key, but for a role that only such scopes bring along."""
    privileged = scope == "admin" or scope not in {*INCLUDED["read"], *INCLUDED["write"], "read", "write"}
    return "403" if route.access.role == "admin" and not privileged else row["key admin"]


async def met(app: Running, route: Route, there: World) -> dict[str, str]:
    """What the callers of each column meet; several of one column must meet the same."""
    found: dict[str, str] = {}
    for column in COLUMNS:
        cells = {await _met_by(app, route, there, headers) for headers in there.callers[column]}
        found[column] = " or ".join(sorted(cells))
    return found


async def _met_by(app: Running, route: Route, there: World, headers: Headers) -> str:
    places = next((each for start, each in there.places.items() if route.path.startswith(start)), {})
    path = route.path.replace(":path}", "}")
    for parameter, value in (dict(route.path_examples) | dict(places)).items():
        path = path.replace(f"{{{parameter}}}", value)
    answer = await app.ask(route.method, path, _body(route), headers=headers)
    assert answer.status != 500, (path, answer)
    code = answer.code if answer.status >= 400 and answer.json and "error" in answer.json else ""
    assert not code or code in CODES, code
    return str(answer.status) if code in ACCESS else LET_IN


def _body(route: Route) -> object:
    return dict(route.example) if route.example is not None else None


async def printed() -> None:
    """Writes the table as the routes are."""
    sys.stdout.write(f"| route | scope | {' | '.join(COLUMNS)} |\n|---|---|{'---|' * len(COLUMNS)}\n")
    async with staged() as stage:
        for name in sorted(ROUTES):
            route = ROUTES[name]
            found = await met(stage.app, route, await stage.world_for(route))
            scope = f"`{route.access.scope}`" if route.access.scope else ""
            sys.stdout.write(f"| `{name}` | {scope} | {' | '.join(found[column] for column in COLUMNS)} |\n")


if __name__ == "__main__":
    asyncio.run(printed())
