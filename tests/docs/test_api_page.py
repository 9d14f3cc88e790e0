"""`docs/api.md` has every route, with what it needs and which errors are its own."""

import re

import pytest

from api.error_pages import errors_page
from api.route import Route, all_routes
from tests.docs.markdown import ROOT

PAGE = (ROOT / "docs" / "api.md").read_text("utf-8")
SHOWN = set(re.findall(r"^### ([A-Z]+ /\S*)$", PAGE, re.MULTILINE))
ROUTES = {f"{route.method} {route.path.replace(':path', '')}": route for route in all_routes() if not route.hidden}


def test_page_has_every_route_and_no_other() -> None:
    """A new route comes with its example; one that is gone leaves the page."""
    assert set(ROUTES) == SHOWN


@pytest.mark.parametrize("name", ROUTES)
def test_section_says_what_the_route_needs(name: str) -> None:
    """The scope, the role, the route's own errors and an example are in its section."""
    section, route = _section(name), ROUTES[name]
    assert "```sh" in section, "an example"
    assert _needs(route) in section
    errors = re.search(r"Errors of its own:\s([^.]*)\.", section)
    assert errors is not None
    assert set(re.findall(r"`(\w+)`", errors[1])) == set(route.errors)


def test_every_error_of_a_route_is_declared() -> None:
    """No code is named that the page of errors does not explain."""
    page = errors_page()
    assert {code for route in ROUTES.values() for code in route.errors if f"| `{code}` |" not in page} == set()


def _section(name: str) -> str:
    """The text below a route's heading."""
    return re.split(r"^##+ ", PAGE.partition(f"### {name}\n")[2], maxsplit=1, flags=re.MULTILINE)[0]


def _needs(route: Route) -> str:
    access = route.access
    if access.scope is None:
        return "No credentials." if access.public else "Credentials of the account"
    needed = f"Needs `{access.scope}`"
    needed += f" and the role `{access.role}`" if access.role else ""
    return needed + (f" and the level `{access.level}`" if access.level else "")
