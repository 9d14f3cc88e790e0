"""Mails reach the operator's mailer, signed, tried a few times, and never hold up who asked for them."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
import pytest

from api.errors import ApiError
from api.mail.mailer import NoMailer, PrintedMailer, WebhookMailer, signature
from telemetry.metrics import REGISTRY
from tests.api.mailbox import SECRET, mailbox


@asynccontextmanager
async def mailer(url: str, *, tries: int = 3, queued_max: int = 9) -> AsyncIterator[WebhookMailer]:
    """A running mailer without pauses between tries."""
    async with aiohttp.ClientSession() as http:
        running = WebhookMailer(url, {"a": SECRET}, http, waits_s=[0.0] * (tries - 1), queued_max=queued_max)
        running.start()
        yield running
        await running.stop()


def given_up(kind: str) -> float:
    """How many mails of the kind were given up."""
    return REGISTRY.get_sample_value("formstate_mails_total", {"kind": kind, "result": "failed"}) or 0.0


async def test_a_mail_arrives_signed() -> None:
    """With kind, address and data as they were given, whatever their characters; the mailbox checks the signature."""
    async with mailbox() as box, mailer(box.url) as running:
        data = {"token": "t", "organization": "\u202eשלום \U0001f600"}
        delivery = await running.send("invitation", "é@example.com", data)
        mail = await box.next_to("é@example.com")
    assert (mail["id"], mail["kind"], mail["data"]) == (delivery, "invitation", data)
    assert mail["created_at"].endswith("Z")


async def test_a_mailer_in_trouble_is_tried_again() -> None:
    """Until it takes the mail; each try names the same delivery."""
    async with mailbox() as box, mailer(box.url) as running:
        box.answers = iter([500, 429])
        delivery = await running.send("k", "a@example.com", {})
        await box.next_to("a@example.com")
    assert box.tries == [delivery] * 3


@pytest.mark.parametrize(("answers", "tries"), [([500] * 9, 3), ([400], 1), ([302], 1), ([404], 1)])
async def test_tries_have_an_end(answers: list[int], tries: int) -> None:
    """What is refused for good is not tried again, a redirect is not followed, and it is counted."""
    kind = f"kind {answers[0]}"
    async with mailbox() as box, mailer(box.url) as running:
        box.answers = iter(answers)
        await running.send(kind, "a@example.com", {})
    assert (len(box.tries), box.mails, given_up(kind)) == (tries, [], 1.0)


async def test_nobody_there_holds_up_nobody() -> None:
    """`send` returns at once; the mails are given up after their tries."""
    async with mailer("http://127.0.0.1:9/none") as running:
        await running.send("nobody", "a@example.com", {})
    assert given_up("nobody") == 1.0


async def test_mails_that_wait_for_their_next_try_hold_up_no_other() -> None:
    """A mailer that was away for a while gets new mails at once, while older ones pause for a minute."""
    async with mailbox() as box, aiohttp.ClientSession() as http:
        running = WebhookMailer(box.url, {"a": SECRET}, http, waits_s=[60.0], drain_s=0.0)
        running.start()
        box.answers = iter([503] * 20)
        for number in range(20):
            await running.send("older", f"{number}@example.com", {})
        await running.send("newer", "new@example.com", {})
        await box.next_to("new@example.com")
        await running.stop()
    assert given_up("older") == 20


async def test_waiting_mails_are_bounded() -> None:
    """Past the bound a mail is refused, not forgotten; none was begun here, so none is delivered."""
    async with aiohttp.ClientSession() as http:
        idle = WebhookMailer("http://127.0.0.1:9/none", {"a": SECRET}, http, queued_max=2)
        await idle.send("k", "a@example.com", {})
        await idle.send("k", "a@example.com", {})
        with pytest.raises(ApiError) as caught:
            await idle.send("k", "a@example.com", {})
    assert (caught.value.status, caught.value.code) == (503, "mailer_busy")


async def test_without_a_mailer_it_is_refused() -> None:
    """Before anything was done, and again when it comes to it."""
    with pytest.raises(ApiError, match="mailer_not_configured"):
        NoMailer().check()
    with pytest.raises(ApiError, match="mailer_not_configured"):
        await NoMailer().send("k", "a@example.com", {})


async def test_devnet_prints(capsys: pytest.CaptureFixture[str]) -> None:
    """One line of JSON for each mail."""
    delivery = await PrintedMailer().send("k", "a@example.com", {"token": "t"})
    [line] = capsys.readouterr().err.splitlines()
    printed = json.loads(line)["mail"]
    assert (printed["id"], printed["to"], printed["data"]) == (delivery, "a@example.com", {"token": "t"})


def test_every_secret_signs() -> None:
    """So that a receiver who knows either goes on working while they are rotated."""
    signed = signature([b"a", b"b"], 7, b"{}")
    assert signed.startswith("t=7,v1=")
    assert signed.count("v1=") == 2
    assert signature([b"a"], 7, b"{}") != signature([b"a"], 8, b"{}")


async def test_the_end_waits_for_no_mailer() -> None:
    """A process that ends gives up what its mailer does not take, and says so."""
    release = asyncio.Event()

    async def never(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await release.wait()
        writer.close()

    server = await asyncio.start_server(never, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with aiohttp.ClientSession() as http:
        hanging = WebhookMailer(f"http://127.0.0.1:{port}/", {"a": SECRET}, http, drain_s=0.05)
        hanging.start()
        await hanging.send("hanging", "a@example.com", {})
        await hanging.stop()
    assert given_up("hanging") == 1.0
    release.set()
    server.close()
    await server.wait_closed()
