"""The broker's own jars, fetched from Maven's central repository by `jgo`, once, and compared with what is expected."""

import contextlib
import hashlib
import importlib.util
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

from devnet.scratch import ServerUnavailableError, cache_folder, exclusive

VERSION = "4.3.1"
# Resolved one by one: the broker beside a logging binding would get an older kafka-clients, and fail.
_BROKER = f"org.apache.kafka:kafka_2.13:{VERSION}"
_LOGGING = "org.apache.logging.log4j:log4j-slf4j-impl:2.25.4"
_EXPECTED = Path(__file__).with_name("kafka_jars.sha256")
"""As `sha256sum` prints it. `python -m devnet.kafka_jars > devnet/kafka_jars.sha256` writes it for another version."""
_FETCH_TIMEOUT_S = 600
PAUSES_S = (2.0, 8.0)
"""Before the second and the third try."""

# A process of its own: jgo warns, prints, and keeps 20 MB of parsed XML that nobody needs afterwards.
_RESOLVE = """
import json, pathlib, sys, warnings
warnings.simplefilter("ignore")
import jgo
cache, broker, logging = pathlib.Path(sys.argv[1]), *sys.argv[2:]
jars = list(jgo.build(broker, cache_dir=cache).all_jars)
jars += [jar for jar in jgo.build(logging, cache_dir=cache).all_jars if "slf4j-impl" in jar.name]
print(json.dumps([str(jar) for jar in jars]))
"""


def jars() -> list[str]:
    """The broker's class path, fetched the first time (45 MB, told on standard error); other processes wait for it.

    ServerUnavailableError, which says what to do, when it cannot be had or is not what is expected.
    """
    cache = cache_folder()
    listing = cache / f"kafka-{VERSION}.json"
    with exclusive(cache):
        with contextlib.suppress(OSError, ValueError):
            known = [str(jar) for jar in json.loads(listing.read_text("utf-8"))]
            if {Path(jar).name for jar in known} == _expected().keys() and all(Path(jar).is_file() for jar in known):
                return known
        if importlib.util.find_spec("jgo") is None:
            raise ServerUnavailableError("Kafka is missing: install the extra `stack` (make venv)")
        print(f"Fetching Apache Kafka {VERSION} (45 MB, once) …", file=sys.stderr, flush=True)
        found = fetched(cache)
        unfinished = listing.with_suffix(".part")
        unfinished.write_text(json.dumps(found), "utf-8")
        unfinished.replace(listing)
        return found


def fetched(cache: Path) -> list[str]:
    """The jars of the cache's folder, tried three times. What is not as expected is thrown away before the next try."""
    problem = ""
    for attempt, pause_s in enumerate((0.0, *PAUSES_S)):
        if pause_s:
            print(f"{problem}; trying again in {pause_s:.0f} s …", file=sys.stderr, flush=True)
            time.sleep(pause_s)
        # A file that is broken in the user's own repository would be taken from there each time.
        own_repository = {"M2_REPO": str(cache / "maven")} if attempt else {}
        try:
            found = _resolve(cache / "jars", own_repository)
        except _NotFetchedError as error:
            problem = str(error)
        else:
            problem = _difference(found)
            if not problem:
                shutil.rmtree(cache / "maven", ignore_errors=True)
                return found
        for folder in ("jars", "maven"):
            shutil.rmtree(cache / folder, ignore_errors=True)
    raise ServerUnavailableError(
        f"{problem}. It comes from Maven's central repository (repo.maven.apache.org), which this machine must be able"
        f" to reach once; or name a broker that runs already in FORMSTATE_TEST_KAFKA"
    )


class _NotFetchedError(Exception):
    """One try that brought nothing; says why."""


def _resolve(folder: Path, variables: Mapping[str, str]) -> list[str]:
    argv = [sys.executable, "-c", _RESOLVE, str(folder), _BROKER, _LOGGING]
    try:
        done = subprocess.run(
            argv,
            capture_output=True,
            text=True,
            timeout=_FETCH_TIMEOUT_S,
            stdin=subprocess.DEVNULL,
            env=os.environ | dict(variables),
            check=True,
        )
    except subprocess.TimeoutExpired as error:
        raise _NotFetchedError(f"Kafka's jars did not arrive within {_FETCH_TIMEOUT_S} s") from error
    except subprocess.CalledProcessError as error:
        reason = (error.stderr or "").strip().rpartition("\n")[2]
        raise _NotFetchedError(f"Kafka's jars could not be fetched: {reason}") from error
    return [str(jar) for jar in json.loads(done.stdout.strip().rpartition("\n")[2])]


def _difference(found: list[str]) -> str:
    """In which way the jars are not those that are expected; empty when they are."""
    expected = _expected()
    have = {Path(jar).name: _digest(jar) for jar in found}
    if missing := sorted(expected.keys() - have.keys()):
        return f"Of Kafka's jars {', '.join(missing)} did not come"
    if wrong := sorted(name for name, digest in have.items() if expected.get(name) != digest):
        return f"Of Kafka's jars {', '.join(wrong)} are not what they should be (SHA-256)"
    return ""


def _expected() -> dict[str, str]:
    """SHA-256 by name."""
    lines = [line.split() for line in _EXPECTED.read_text("utf-8").splitlines()]
    return {name: digest for digest, name in lines}


def _digest(jar: str) -> str:
    with Path(jar).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


if __name__ == "__main__":
    print("\n".join(sorted(f"{_digest(jar)}  {Path(jar).name}" for jar in _resolve(cache_folder() / "jars", {}))))
