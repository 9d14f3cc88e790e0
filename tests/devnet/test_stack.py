"""`python -m devnet.stack` as a process: what it prints, what it starts again, what it leaves behind."""

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from msgspec import Struct

from devnet.child import descendants, is_running, kill_tree, wait_until
from devnet.printout import Printout
from devnet.scratch import scratch_folder
from devnet.stack import main
from devnet.supervisor import KeepingFailed, keep_until
from tests.crash.waiting import until

pytestmark = pytest.mark.crash

UP_S = 60.0


class Started(Struct, frozen=True, kw_only=True):
    """A stack that runs, where its folder is, and what it said on the first line of standard output."""

    process: subprocess.Popen[bytes]
    folder: Path
    log: Path
    first_line: str

    @property
    def said(self) -> Any:
        """The first line's JSON."""
        return json.loads(self.first_line)


def _spawn(folder: Path, *words: str) -> subprocess.Popen[bytes]:
    """Everything that it makes for a moment is below `folder`."""
    with (folder / "log").open("wb") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "devnet.stack", *words],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=log,
            env=os.environ | {"TMPDIR": str(folder)},
        )


@pytest.fixture(scope="module")
def stack() -> Iterator[Started]:
    """One stack for all tests of this file; the last of them ends it."""
    with scratch_folder("test") as folder:
        processes = ("--api", "2", "--worker", "2", "--no-limits")
        people = ("--jwt", "ada:admin", "--issuer", "otto:developer", "ida:admin")
        process = _spawn(folder, "--json", "--port", "0", *processes, *people)
        assert process.stdout is not None
        line = process.stdout.readline().decode()
        assert line, (folder / "log").read_text("utf-8")[-2_000:]
        yield Started(process=process, folder=folder, log=folder / "log", first_line=line)
        kill_tree(process)
        process.stdout.close()


def _session(credential: str) -> aiohttp.ClientSession:
    return aiohttp.ClientSession(headers={"Authorization": f"Bearer {credential}"})


async def _chat(url: str, key: str) -> int:
    body = {"model": "fs-basic", "messages": [{"role": "user", "content": "Hello"}], "max_tokens": 8}
    try:
        async with _session(key) as http, http.post(f"{url}/v1/chat/completions", json=body) as response:
            return response.status
    except aiohttp.ClientError:
        return 0


def _command(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


async def test_the_first_line_tells_all_that_a_program_needs(stack: Started) -> None:
    """All promised members, a process for each name, and models with the basic one first."""
    said = stack.said
    assert set(said) == set(Printout.__struct_fields__) - {"stripe_url"}, "there with --stripe alone"
    assert said["mode"] == "production"
    assert len(said["urls"]) == 2
    ours = {"provider", "issuer", "worker-1", "worker-2", "api-1", "api-2"}
    assert set(said["pids"]) == {"postgres", "kafka"} | ours
    assert all(is_running(pid) for pid in said["pids"].values())
    assert said["models"][0] == "fs-basic"


async def test_each_api_answers_and_charges(stack: Started) -> None:
    """One key works on both, and a token that was asked for has its role."""
    said = stack.said
    assert [await _chat(url, said["api_key"]) for url in said["urls"]] == [200, 200]
    async with _session(said["tokens"]["ada"]) as http, http.get(f"{said['urls'][1]}/users/me") as response:
        assert (await response.json())["role"] == "admin"


async def test_mails_are_printed(stack: Started) -> None:
    """What goes to an address can be tried out here as on devnet: the token of an invitation is in the log."""
    said = stack.said
    async with _session(said["user_token"]) as http:
        async with http.post(f"{said['urls'][0]}/orgs", json={"name": "Analytical Engines"}) as response:
            org = (await response.json())["id"]
        invited = {"email": "charles@example.com", "level": "write"}
        async with http.post(f"{said['urls'][1]}/orgs/{org}/invite", json=invited) as response:
            assert response.status == 201, await response.text()

    async def printed() -> bool:
        lines = stack.log.read_text("utf-8").splitlines()
        mails = [json.loads(line)["mail"] for line in lines if line.startswith('{"mail"')]
        return any(mail["to"] == invited["email"] and mail["data"]["token"] for mail in mails)

    await until(printed, 10, "the mail of the invitation")


async def _me(url: str, token: str) -> Any:
    async with _session(token) as http, http.get(f"{url}/users/me") as response:
        return await response.json() | {"status": response.status}


async def test_first_sight_of_an_identity_on_both_apis_at_once_is_one_user(stack: Started) -> None:
    """Through a real Kafka and PostgreSQL; the role is capped, and a rotation needs no restart."""
    said = stack.said
    asked = [_me(url, said["tokens"]["ida"]) for url in said["urls"] for _ in range(10)]
    seen = await asyncio.gather(*asked)
    assert {each["status"] for each in seen} == {200}
    assert len({each["id"] for each in seen}) == 1
    assert {each["role"] for each in seen} == {"developer"}
    async with aiohttp.ClientSession(said["issuer_url"]) as issuer:
        await issuer.post("/rotate")
        async with issuer.post("/token", json={"sub": "ida", "role": "user"}) as response:
            token = (await response.json())["token"]

    async def known() -> bool:
        return all([(await _me(url, token))["status"] == 200 for url in said["urls"]])

    await until(known, 10, "the new key on both APIs")
    assert {(await _me(url, token))["role"] for url in said["urls"]} == {"user"}


@pytest.mark.parametrize("name", ["api-1", "worker-1", "provider"])
async def test_a_killed_process_is_started_again(stack: Started, name: str) -> None:
    """`kill -9` of any: another takes its place by itself, and both APIs answer as before."""
    said = stack.said
    killed = said["pids"][name]
    command = _command(killed)
    before = sum(_command(pid) == command for pid in descendants(stack.process.pid))
    os.kill(killed, signal.SIGKILL)

    async def replaced() -> bool:
        pids = [pid for pid in descendants(stack.process.pid) if pid != killed and _command(pid) == command]
        return len(pids) == before

    async def answers() -> bool:
        return [await _chat(url, said["api_key"]) for url in said["urls"]] == [200, 200]

    await until(replaced, 15, f"{name} in the place of {killed}")
    await until(answers, 30, f"both APIs after {name} was killed")


async def test_interrupted_it_leaves_nothing_behind(stack: Started) -> None:
    """After SIGINT the exit code is 0, no process runs, and the folder is gone."""
    below = descendants(stack.process.pid)
    assert list(stack.folder.glob("form-state-stack-*"))
    stack.process.send_signal(signal.SIGINT)
    assert await asyncio.to_thread(stack.process.wait, 40) == 0
    assert not [pid for pid in below if is_running(pid)]
    assert not list(stack.folder.glob("form-state-*"))


@pytest.mark.parametrize(("signals", "codes"), [([signal.SIGINT], {0}), ([signal.SIGINT, signal.SIGTERM], {130, 143})])
async def test_interrupted_while_it_starts(signals: list[signal.Signals], codes: set[int]) -> None:
    """The same with servers half started: it waits for none of them. A second signal ends it by force."""
    with scratch_folder("test") as folder:
        process = _spawn(folder, "--json", "--port", "0")
        try:
            assert await asyncio.to_thread(wait_until, lambda: _starts(folder), UP_S)
            below = descendants(process.pid)
            for number in signals:
                process.send_signal(number)
            assert await asyncio.to_thread(process.wait, 15) in codes
            assert await asyncio.to_thread(wait_until, lambda: not any(is_running(pid) for pid in below), 5)
            assert not list(folder.glob("form-state-*"))
            assert process.stdout is not None
            assert process.stdout.read() == b""
        finally:
            kill_tree(process)
            if process.stdout is not None:
                process.stdout.close()


def _starts(folder: Path) -> bool:
    return any(folder.glob("form-state-stack-*/kafka/kafka.log"))


def test_a_taken_port_is_told_before_anything_starts(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A stranger's server is neither waited for nor given demo data: exit code 1, and which port it is."""
    port, said = 0, capsys.readouterr()
    for _ in range(20):
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]
            monkeypatch.setattr(sys, "argv", ["stack", "--json", "--port", str(port - 1), "--api", "2"])
            assert main() == 1
        said = capsys.readouterr()
        if f"port {port - 1}:" not in said.err:  # else somebody else's test has the port below: another pair
            break
    assert f"cannot listen on 127.0.0.1 port {port}" in said.err
    assert said.out == ""


async def test_what_cannot_be_kept_running_is_an_error() -> None:
    """A keeper that fails ends the others and is told, whereas a stop is no error."""

    async def fails() -> None:
        raise OSError("no memory")

    async def lasts() -> None:
        await asyncio.Event().wait()

    stopping = asyncio.Event()
    with pytest.raises(KeepingFailed, match="no memory"):
        await keep_until(stopping, [lasts(), fails()])
    stopping.set()
    await keep_until(stopping, [lasts()])
