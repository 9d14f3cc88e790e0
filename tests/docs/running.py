"""Runs a document's examples, in order and in one shell, as its reader would."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
from msgspec import Struct

from devnet.child import kill_tree, spawn, wait_until
from tests.docs.markdown import ROOT, Example

SHOWN_URL = "http://127.0.0.1:8000"
UP_S = 90.0
RUN_S = 120.0
_BOUNDARY = "=== example "
_PRELUDE = """\
set -eu -o pipefail
curl() { command curl --silent --show-error --max-time 20 "$@"; }
python() { "$PYTHON" "$@"; }
python3() { "$PYTHON" "$@"; }
"""
"""The progress bar that a reader sees is left out, and everything is bounded. The Python is the tests' own."""


class Demo(Struct, frozen=True, kw_only=True):
    """A devnet that runs, and what it printed for a person."""

    url: str
    printout: str

    def filled_in(self, text: str) -> str:
        """A reader's part: the address and the credentials that were printed, in place of those that are shown."""
        for name, value in self._values().items():
            text = text.replace(name, value)
        return text

    def left_out(self, text: str) -> str:
        """The other way round: the address as the documents show it."""
        return text.replace(self.url, SHOWN_URL)

    def _values(self) -> dict[str, str]:
        def printed(pattern: str) -> str:
            found = re.search(pattern, self.printout, re.MULTILINE)
            assert found is not None, f"devnet printed no {pattern}:\n{self.printout}"
            return found[1]

        return {
            SHOWN_URL: self.url,
            "<API key>": printed(r"^  API key (\S+)$"),
            "<admin token>": printed(r"^  admin +token (\S+)$"),
        }


def start_devnet(folder: Path, root: Path = ROOT) -> tuple[Demo, "subprocess.Popen[bytes]"]:
    """Starts the devnet of a checkout as a process of its own, on a free port; the caller stops it."""
    log = folder / "devnet.log"
    child = spawn([sys.executable, "-m", "devnet", "--port", "0"], log=log, cwd=root)

    def said() -> str:
        return log.read_text("utf-8") if log.exists() else ""

    if not wait_until(lambda: "Ctrl-C stops everything." in said() or child.poll() is not None, UP_S):
        kill_tree(child)
    lines = [line for line in said().splitlines() if not line.startswith("{")]
    url = re.search(r"is up: (http://127\.0\.0\.1:\d+)", "\n".join(lines))
    assert url is not None, f"devnet did not come up:\n{said()}"
    return Demo(url=url[1], printout="\n".join(lines)), child


def outputs(demo: Demo, examples: Sequence[Example], folder: Path) -> list[str]:
    """What each example prints on standard output. Fails, naming the example, when one of them does."""
    shell = shutil.which("bash")
    if shell is None or shutil.which("curl") is None:
        if os.environ.get("CI") == "true":
            pytest.fail("CI must run the examples: bash and curl are needed", pytrace=False)
        pytest.skip("NOT TESTED: bash and curl are needed to run the examples")
    run = subprocess.run(
        [shell, "-c", _script(demo, examples)],
        cwd=folder,
        env=os.environ | {"PYTHON": sys.executable},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=RUN_S,
        check=False,
    )
    parts = run.stdout.split(_BOUNDARY)[1:]
    printed = [demo.left_out(part.partition("\n")[2]).strip() for part in parts]
    if run.returncode:
        place = examples[len(parts) - 1].block.place
        pytest.fail(f"{place} ends with {run.returncode}:\n{printed[-1]}\n{run.stderr}", pytrace=False)
    return printed


def _script(demo: Demo, examples: Sequence[Example]) -> str:
    parts = [_PRELUDE]
    for number, example in enumerate(examples):
        parts.append(f"printf '\\n{_BOUNDARY}%s\\n' {number}")
        text = demo.filled_in(example.block.text)
        parts.append(text if example.block.language == "sh" else f"python - <<'PROGRAM'\n{text}\nPROGRAM")
    return "\n".join(parts) + "\n"
