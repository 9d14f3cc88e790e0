"""From method and path to a route."""

import pytest

from api.router import Router

ROUTER = Router(
    [
        ("GET", "/things", "list"),
        ("POST", "/things", "create"),
        ("GET", "/things/mine", "mine"),
        ("GET", "/things/{id}", "show"),
        ("GET", "/things/{id}/parts/{part}", "part"),
        ("GET", "/files/{name:path}", "file"),
        ("GET", "/files/{name}/info", "info"),
    ]
)


@pytest.mark.parametrize(
    ("path", "target", "parameters"),
    [
        ("/things", "list", {}),
        ("/things/mine", "mine", {}),
        ("/things/7", "show", {"id": "7"}),
        ("/things/7/parts/x", "part", {"id": "7", "part": "x"}),
        ("/files/a", "file", {"name": "a"}),
        ("/files/a/b/c", "file", {"name": "a/b/c"}),
        ("/files/a/info", "info", {"name": "a"}),
        ("/files/a/info/b", "file", {"name": "a/info/b"}),
    ],
)
def test_finds_the_most_literal_route(path: str, target: str, parameters: dict[str, str]) -> None:
    """Literal segments win over parameters, parameters over rests."""
    match = ROUTER.find(path)
    assert match is not None
    assert match.of("GET") == (target, parameters)


@pytest.mark.parametrize(
    "path", ["/", "", "things", "/thing", "/things/", "/things/7/parts", "/things//parts/x", "/files/"]
)
def test_finds_nothing_elsewhere(path: str) -> None:
    """Empty segments and other paths have no route."""
    assert ROUTER.find(path) is None


def test_knows_the_methods_of_a_path() -> None:
    """A known path without the method is told apart from an unknown path."""
    match = ROUTER.find("/things")
    assert match is not None
    assert match.of("DELETE") is None
    assert match.methods == ["GET", "POST"]


def test_two_routes_cannot_share_an_address() -> None:
    """A second route for the same method and path stops the start."""
    with pytest.raises(RuntimeError, match=r"GET /a/\{other\}"):
        Router([("GET", "/a/{id}", 1), ("GET", "/a/{other}", 2)])
