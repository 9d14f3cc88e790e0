"""Verifying one's address over HTTP: by the token that came on registration, or by another."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from api.mail.mail_pace import MAILS_MAX
from domain.instant import DAY, SECOND
from tests.api.clock import Clock
from tests.api.mailbox import Mailbox
from tests.api.running import Answer, Person, Running, application


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def app(clock: Clock, box: Mailbox) -> AsyncIterator[Running]:
    """One application for this module's tests."""
    async with application(clock=clock, mailer_url=box.url) as running:
        yield running


pytestmark = pytest.mark.asyncio(loop_scope="module")


async def token_to(box: Mailbox, person: Person) -> str:
    """The token of the next mail."""
    token: str = (await box.next_to(person.email, "email_verification"))["data"]["token"]
    return token


async def verify(app: Running, token: str) -> Answer:
    """Follows the link of a mail."""
    return await app.ask("POST", "/auth/email/verify", {"token": token})


async def is_verified(app: Running, person: Person) -> bool:
    """What the user sees."""
    verified: bool = (await app.ask("GET", "/users/me", token=person.token)).json["email_verified"]
    return verified


async def test_verify_200(app: Running, box: Mailbox) -> None:
    """By the token of the registration's mail; twice the same."""
    person = await app.register()
    assert not await is_verified(app, person)
    token = await token_to(box, person)
    for _ in range(2):
        answer = await verify(app, token)
        assert (answer.status, answer.json) == (200, {"user_id": person.id, "email_verified": True})
    assert await is_verified(app, person)


async def test_registering_over_and_over_fills_no_mailbox(app: Running, box: Mailbox) -> None:
    """Who registers somebody else's address and erases the user, again and again, has few mails sent there."""
    for _ in range(MAILS_MAX + 3):
        person = await app.register(email="victim@example.com")
        assert (await app.ask("DELETE", "/users/me", token=person.token)).status == 200
    owner = await app.register(email="Victim@example.com")
    other = await app.register()
    await token_to(box, other)  # mails are taken in order
    assert sum(mail["to"].lower() == "victim@example.com" for mail in box.mails) == MAILS_MAX
    assert (await app.ask("POST", "/users/me/email/verify", token=owner.token)).status == 202
    assert (await verify(app, await token_to(box, owner))).status == 200


async def test_a_repeated_registration_mails_once(app: Running, box: Mailbox) -> None:
    """Under one Idempotency-Key the first attempt's token is the one that works."""
    body = {"email": "twice@example.com", "password": "correct horse battery staple"}
    first, again = [await app.ask("POST", "/auth/register", body, idempotency_key="t") for _ in range(2)]
    assert first.json == again.json
    mail = await box.next_to("twice@example.com", "email_verification")
    assert (await verify(app, mail["data"]["token"])).status == 200
    other = await app.register()
    await token_to(box, other)  # mails are taken in order
    assert not any(mail["to"] == "twice@example.com" for mail in box.mails)


async def test_send_again_202(app: Running, box: Mailbox) -> None:
    """Another token; the first one works on. Three can be on their way; then it is 429."""
    person = await app.register()
    first = await token_to(box, person)
    for _ in range(2):
        answer = await app.ask("POST", "/users/me/email/verify", token=person.token)
        assert (answer.status, answer.json) == (202, {"status": "accepted"})
        assert await token_to(box, person) != first
    refused = await app.ask("POST", "/users/me/email/verify", token=person.token)
    assert (refused.status, refused.code) == (429, "too_many_mails")
    assert (await verify(app, first)).status == 200
    verified = await app.ask("POST", "/users/me/email/verify", token=person.token)
    assert (verified.status, verified.code) == (409, "email_verified")


async def test_a_token_lasts_a_day(app: Running, box: Mailbox, clock: Clock) -> None:
    """Then it is refused."""
    person = await app.register()
    token = await token_to(box, person)
    with clock.moved(DAY + SECOND):
        answer = await verify(app, token)
        assert (answer.status, answer.code) == (400, "invalid_mailed_token")


@pytest.mark.parametrize("token", ["", "nothing", "0" * 32 + "_" + "0" * 43, "0" * 32 + "_" + "0" * 42 + "\n"])
async def test_verify_400(app: Running, token: str) -> None:
    """What is no token, or nobody's."""
    answer = await verify(app, token)
    assert (answer.status, answer.code) == (400, "invalid_mailed_token")


async def test_send_again_401(app: Running) -> None:
    """To oneself only."""
    assert (await app.ask("POST", "/users/me/email/verify")).status == 401
