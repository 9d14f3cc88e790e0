"""Files and functions stay small, names stay telling, and every folder of tests is a package."""

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parent.parent
FILE_LINES_MAX = 400
FUNCTION_LINES_MAX = 70
# Bags that grow without end, and names that hide the standard library's or say nothing about the noun.
BANNED_NAMES = {"common", "helper", "helpers", "misc", "util", "utils"}
BANNED_NAMES |= {"logging", "manager", "models", "service", "services", "types"}
IGNORED_FOLDERS = {"build", "var", "__pycache__"}


def sources(*suffixes: str) -> Iterator[Path]:
    """Our files with one of these suffixes, as paths relative to the root."""
    for path in sorted(ROOT.rglob("*")):
        relative = path.relative_to(ROOT)
        hidden = any(part.startswith(".") or part in IGNORED_FOLDERS for part in relative.parts)
        if path.suffix in suffixes and path.is_file() and not hidden:
            yield relative


def test_files_are_at_most_400_lines() -> None:
    """A file past the limit is split by sub-noun."""
    lines = {path: len((ROOT / path).read_text().splitlines()) for path in sources(".py", ".sql", ".js", ".css")}
    assert {str(path): count for path, count in lines.items() if count > FILE_LINES_MAX} == {}


def test_functions_are_at_most_70_lines() -> None:
    """A function past the limit does more than one thing. Signature and docstring count."""
    too_long = {}
    for path in sources(".py"):
        for node in ast.walk(ast.parse((ROOT / path).read_text())):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                count = (node.end_lineno or node.lineno) - node.lineno + 1
                if count > FUNCTION_LINES_MAX:
                    too_long[f"{path}:{node.lineno} {node.name}"] = count
    assert too_long == {}


def test_no_file_or_package_is_a_bag() -> None:
    """A file is named by its noun."""
    named = {part for path in sources(".py") for part in (path.stem, *path.parts[:-1])}
    assert named & BANNED_NAMES == set()


def test_every_folder_of_tests_is_a_package() -> None:
    """Without its `__init__.py`, `tests/domain` would hide `domain`."""
    folders = {path.parent for path in sources(".py") if path.parts[0] == "tests"}
    assert {str(folder) for folder in folders if not (ROOT / folder / "__init__.py").exists()} == set()
