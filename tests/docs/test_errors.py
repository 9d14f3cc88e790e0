"""`docs/errors.md` is what the code declares, and the code declares all that it can answer."""

import ast
from collections.abc import Iterator
from pathlib import Path

from api.error_pages import errors_page
from api.errors import CODES
from domain import errors
from tests.docs.markdown import ROOT

REFUSALS = {"declare"} | {
    name for name, kind in vars(errors).items() if isinstance(kind, type) and issubclass(kind, Exception)
}
"""Calls whose first argument is a code: what the domain raises, and what `api` declares. `Claim` names its code."""


def test_page_has_every_declared_code() -> None:
    """A code is declared somewhere in `api`, and so it is in the list; `make docs` writes it again."""
    page = errors_page()
    assert page == (ROOT / "docs" / "errors.md").read_text("utf-8")
    written = {code for path in (ROOT / "api").rglob("*.py") for code in _codes(path)}
    assert {code for code in written if f"| `{code}` |" not in page} == set()


def test_every_refusal_of_the_domain_is_declared() -> None:
    """No refusal reaches a client without a remedy in the documentation."""
    errors_page()
    raised = {code: path for path in sorted((ROOT / "domain").rglob("*.py")) for code in _codes(path)}
    assert {code: str(path.name) for code, path in raised.items() if code not in CODES} == {}


def test_every_remedy_is_a_sentence() -> None:
    """A remedy tells its reader what to do, in plain words, and fits into a table."""
    for each in CODES.values():
        assert each.message.endswith("."), each.code
        assert each.remedy.endswith("."), each.code
        assert "|" not in each.message + each.remedy, each.code


def _codes(path: Path) -> Iterator[str]:
    """The codes that a file's refusals and claims are made with, as far as they are written out."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Name):
            continue
        first = node.args[0] if node.func.id in REFUSALS and node.args else None
        named = [each.value for each in node.keywords if each.arg == "code" and node.func.id == "Claim"]
        for value in (first, *named):
            if isinstance(value, ast.Constant) and isinstance(value.value, str):
                yield value.value
