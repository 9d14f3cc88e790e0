"""Operators' commands as processes: what they print, how they exit, and a rebuild that is killed."""

import asyncio
import base64
import contextlib
import os
import signal
import sys
from asyncio.subprocess import PIPE, Process
from dataclasses import replace

import pytest

from tests.crash.waiting import until
from tests.worker.operator.yard import MAC_KEYS, Yard
from worker.__main__ import parser


async def _start(yard: Yard, *words: str) -> Process:
    variables = {name: value for name, value in os.environ.items() if not name.startswith("FORMSTATE_")} | {
        "FORMSTATE_DATABASE_URL": yard.settings.database_url,
        "FORMSTATE_KAFKA_BOOTSTRAP_SERVERS": "127.0.0.1:1",
        "FORMSTATE_LOG_MAC_KEYS": ",".join(
            f"{name}:{base64.b64encode(key).decode()}" for name, key in MAC_KEYS.items()
        ),
    }
    return await asyncio.create_subprocess_exec(
        sys.executable, "-m", "worker", *words, env=variables, stdout=PIPE, stderr=PIPE
    )


async def _run(yard: Yard, *words: str) -> tuple[int | None, str, str]:
    process = await _start(yard, *words)
    async with asyncio.timeout(60):
        out, err = await process.communicate()
    return process.returncode, out.decode(), err.decode()


async def test_each_command_says_what_it_did(yard: Yard) -> None:
    """Exit code 0 and an answer on standard output; progress goes to standard error."""
    async with yard.working():
        await yard.fill(accounts=3, operations=10)
    for words, said in (
        (["verify"], "no difference"),
        (["rebuild", "credits"], "rebuilt credits from"),
        (["show", "user_1"], "account:user_1 at"),
        (["dead-letters", "list"], "no dead letter is open"),
        (["quarantine", "list"], "no stream is in quarantine"),
    ):
        code, out, err = await _run(yard, *words)
        assert (code, said in out) == (0, True), f"{words}: {out}{err}"


async def test_what_is_not_done_exits_with_1(yard: Yard) -> None:
    """A difference, a wrong name, nothing to do it on: the reason is on standard error, and no traceback."""
    async with yard.working():
        await yard.fill(accounts=3, operations=10)
    await yard.rows("UPDATE rm_credits SET doc = doc || '{\"balance\": 1}' WHERE key = 'user_1'")
    for words, said in (
        (["verify"], "DIFFERENCES: "),
        (["rebuild", "nothing"], "there is no read model nothing"),
        (["show", "user_x"], "nothing was ever written"),
        (["dead-letters", "retry"], "name dead letters as shard:epoch:offset"),
        (["dead-letters", "drop", "0:1:7"], "0:1:7 is no dead letter"),
        (["quarantine", "release", "account:x"], "not in quarantine"),
    ):
        code, out, err = await _run(yard, *words)
        assert (code, said in err, "Traceback" in err) == (1, True, False), f"{words}: {out}{err}"


@pytest.mark.parametrize("words", [[], ["dead-letters"], ["dead-letters", "retry", "7"], ["show"], ["unknown"]])
async def test_wrong_words_exit_with_2(yard: Yard, words: list[str]) -> None:
    """Usage is shown, nothing is done."""
    code, _, err = await _run(yard, *words)
    assert (code, "usage: python -m worker" in err) == (2, True)


@pytest.mark.parametrize(
    "words",
    [
        ["show", "user_1", "--events", "-1"],
        ["show", "user_1", "--events", "1000000"],
        ["dead-letters", "list", "--limit", "-5"],
        ["dead-letters", "list", "--limit", "0"],
        ["dead-letters", "list", "--limit", "9" * 20],
        ["dead-letters", "drop", "0:1:" + "9" * 20],
        ["deliveries", "list", "--limit", "-1"],
        ["deliveries", "list", "--limit", "many"],
        ["migrate", "--shards", "0"],
    ],
)
def test_numbers_out_of_bounds_are_wrong_words(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """No number gets as far as the database that it could not take; the refusal names what was given."""
    with pytest.raises(SystemExit) as ended:
        parser().parse_args(words)
    said = capsys.readouterr().err
    assert (ended.value.code, repr(words[-1]) in said) == (2, True), said


async def test_what_cannot_be_reached_is_named(yard: Yard) -> None:
    """Not the reason alone, but which server it was, and the setting that says where it is."""
    code, out, err = await _run(yard, "migrate")
    assert (code, "Kafka (FORMSTATE_KAFKA_BOOTSTRAP_SERVERS)" in err, "Traceback" in err) == (1, True, False), out + err
    yard.settings = replace(yard.settings, database_url="postgresql://nobody:x@127.0.0.1:1/none")
    code, out, err = await _run(yard, "verify")
    assert (code, "PostgreSQL (FORMSTATE_DATABASE_URL)" in err, "Traceback" in err) == (1, True, False), out + err


@pytest.mark.crash
async def test_a_killed_rebuild_goes_on(yard: Yard) -> None:
    """After `kill -9` at some moment the next run takes up the tables that are there, and makes all as it was."""
    async with yard.working():
        await yard.fill(accounts=20, operations=300)
        before = await yard.documents()
        for _ in range(3):
            process = await _start(yard, "rebuild")

            async def begun(process: Process = process) -> bool:
                with contextlib.suppress(Exception):
                    return bool(await yard.rows("SELECT 1 FROM rebuild_progress WHERE stream <> '' OR seq > 0"))
                return process.returncode is not None

            await until(begun, 30, "progress")
            with contextlib.suppress(ProcessLookupError):
                process.send_signal(signal.SIGKILL)
            await process.communicate()
            await yard.fill(accounts=20, operations=20)
        live = await yard.documents()
        code, out, err = await _run(yard, "rebuild")
        assert (code, "all were as before" in out) == (0, True), out + err
        assert await yard.documents() == live != before
        code, out, err = await _run(yard, "verify")
        assert code == 0, out + err
