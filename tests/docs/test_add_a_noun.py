"""The steps of CONTRIBUTING.md, followed in a copy of the repository."""

import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import aiohttp
import pytest

from devnet.child import kill_tree
from tests.docs.markdown import ROOT, blocks_of
from tests.docs.running import start_devnet

FILES = {block.file: block.text + "\n" for block in blocks_of("CONTRIBUTING.md") if block.file is not None}
COPIED = ("api", "devnet", "domain", "eventstore", "projections", "telemetry", "worker", "tests", "pyproject.toml")


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A copy with the new noun's files in it, and nothing else changed."""
    folder = tmp_path_factory.mktemp("checkout")
    for name in COPIED:
        if (ROOT / name).is_file():
            shutil.copy(ROOT / name, folder / name)
        else:
            shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name, text in FILES.items():
        assert not (folder / name).exists(), f"{name} is there already: choose another example"
        (folder / name).write_text(text, "utf-8")
    yield folder
    shutil.rmtree(folder)


def test_steps_name_every_file() -> None:
    """One file a layer, by the same name, and their tests."""
    roots = {str(Path(name).parent) for name in FILES}
    assert roots == {"domain", "projections", "api/routes", "tests/domain", "tests/api"}


async def test_new_noun_is_served(checkout: Path) -> None:
    """A devnet with the noun's files alone boots: a note is written and listed, and the OpenAPI document has it."""
    demo, child = start_devnet(checkout, checkout)
    try:
        token = re.search(r"^ {10}token (\S+)$", demo.printout, re.MULTILINE)
        assert token is not None
        headers = {"Authorization": f"Bearer {token[1]}"}
        async with aiohttp.ClientSession(demo.url, headers=headers) as http:
            async with http.post("/notes", json={"text": "Remember the milk."}) as written:
                assert written.status == 201
                note = await written.json()
            async with http.get("/notes") as listed:
                assert (await listed.json())["data"] == [note]
            async with http.get("/openapi.json") as document:
                assert {"get", "post"} <= set((await document.json())["paths"]["/notes"])
    finally:
        kill_tree(child)


def test_new_noun_passes_its_own_tests(checkout: Path) -> None:
    """Golden files are written, and the tests of the noun pass, those over HTTP too."""
    assert _run(checkout, "-m", "tests.domain.golden") == [
        "events/note.written.v1.json",
        "commands/note.write.json",
    ]
    tests = ("tests/domain/test_notes.py", "tests/api/test_notes.py", "tests/domain/golden")
    assert " passed" in _run(checkout, "-m", "pytest", "-q", "--no-header", *tests)[-1]


def test_new_noun_is_in_our_style(checkout: Path) -> None:
    """What is shown as an example is formatted and without complaint."""
    for words in (("check", "--no-cache"), ("format", "--check", "--no-cache")):
        _run(checkout, "-m", "ruff", *words, *FILES)


def _run(checkout: Path, *words: str) -> list[str]:
    """Runs a Python module there; answers its lines, or fails with them."""
    done = subprocess.run(
        [sys.executable, *words], cwd=checkout, capture_output=True, text=True, check=False, timeout=120
    )
    if done.returncode:
        pytest.fail(f"{' '.join(words)} failed:\n{done.stdout}{done.stderr}", pytrace=False)
    return done.stdout.strip().splitlines()
