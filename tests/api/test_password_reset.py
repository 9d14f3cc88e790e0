"""Forgotten passwords over HTTP: a mail for whoever is known, the same answer for everybody, one reset for a token."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from api.mail.mailed_tokens import new_token
from domain.instant import HOUR, SECOND
from domain.mailed_tokens import OPEN_MAX
from tests.api.clock import Clock
from tests.api.mailbox import Mailbox
from tests.api.running import PASSWORD, Answer, Person, Running, application

NEW = "a longer and better one"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def app(clock: Clock, box: Mailbox) -> AsyncIterator[Running]:
    """One application for this module's tests."""
    async with application(clock=clock, mailer_url=box.url) as running:
        yield running


pytestmark = pytest.mark.asyncio(loop_scope="module")


async def forgot(app: Running, email: str) -> Answer:
    """Asks for a mail."""
    return await app.ask("POST", "/auth/password/forgot", {"email": email})


async def mailed(app: Running, box: Mailbox, person: Person) -> str:
    """The token of a fresh mail."""
    assert (await forgot(app, person.email)).status == 202
    token: str = (await box.next_to(person.email, "password_reset"))["data"]["token"]
    return token


async def reset(app: Running, token: str, password: str = NEW, **words: Any) -> Answer:
    """Resets the password."""
    return await app.ask("POST", "/auth/password/reset", {"token": token, "password": password}, **words)


async def test_reset_200(app: Running, box: Mailbox) -> None:
    """The new password logs in and the old one does not; every older login token ends; API keys go on."""
    person = await app.register()
    key = await app.key(person)
    assert (await app.ask("GET", "/users/me", token=person.token)).status == 200
    answer = await reset(app, await mailed(app, box, person))
    assert (answer.status, answer.json["user_id"]) == (200, person.id)
    assert (await app.ask("GET", "/users/me", token=person.token)).code == "invalid_token"
    me = await app.ask("GET", "/users/me", token=answer.json["token"])
    assert (me.status, me.json["email_verified"]) == (200, True)
    assert (await app.ask("GET", "/users/me", api_key=key["key"])).status == 200
    statuses = [
        (await app.ask("POST", "/auth/login", {"email": person.email, "password": password})).status
        for password in (PASSWORD, NEW)
    ]
    assert statuses == [401, 200]


async def test_a_token_works_once(app: Running, box: Mailbox) -> None:
    """Nor does any other that was on its way; repeated under its Idempotency-Key it answers the same."""
    person = await app.register()
    first, second = await mailed(app, box, person), await mailed(app, box, person)
    answer = await reset(app, first, idempotency_key="r")
    again = await reset(app, first, idempotency_key="r")
    assert (answer.status, again.json) == (200, answer.json)
    for token in (first, second):
        refused = await reset(app, token)
        assert (refused.status, refused.code) == (400, "invalid_mailed_token")
    other = await reset(app, first, "another password", idempotency_key="r")
    assert (other.status, other.code) == (422, "idempotency_key_reused")


async def test_a_token_lasts_an_hour(app: Running, box: Mailbox, clock: Clock) -> None:
    """Then it is refused."""
    person = await app.register()
    token = await mailed(app, box, person)
    with clock.moved(HOUR + SECOND):
        assert (await reset(app, token)).code == "invalid_mailed_token"


async def test_forgot_tells_nothing(app: Running, box: Mailbox) -> None:
    """Known, unknown and malformed addresses have the same answer; nobody has been looked up when it is given."""
    person = await app.register()
    answers = [await forgot(app, email) for email in (person.email, "nobody@example.com", "no address", "")]
    assert {(answer.status, str(answer.json)) for answer in answers} == {(202, str(answers[0].json))}
    assert (await box.next_to(person.email, "password_reset"))["data"]["token"]
    assert not any(mail["to"] != person.email and mail["kind"] == "password_reset" for mail in box.mails)


async def test_forgot_does_the_same_before_it_answers(app: Running, box: Mailbox) -> None:
    """Known or unknown: no document is read and no command is sent on the way to the answer."""
    person = await app.register()
    held: list[Any] = []
    errands = app.services.errands
    add, errands.add = errands.add, lambda *errand: held.append(errand)  # type: ignore[method-assign]
    try:
        records = sum(len(records) for records in app.log.records)
        for email in (person.email, "stranger@example.com"):
            assert (await forgot(app, email)).status == 202
        assert sum(len(records) for records in app.log.records) == records
        assert len(held) == 2
    finally:
        errands.add = add  # type: ignore[method-assign]
    for name, errand in held:
        errands.add(name, errand)
    assert await box.next_to(person.email, "password_reset")


async def test_a_mailbox_is_not_flooded(app: Running, box: Mailbox) -> None:
    """So many mails are on their way at a time, from wherever they are asked for; the answer is the same."""
    person = await app.register()
    for _ in range(OPEN_MAX):
        await mailed(app, box, person)
    assert (await forgot(app, person.email)).status == 202
    sentinel = await app.register()
    for _ in range(OPEN_MAX):
        await mailed(app, box, sentinel)  # errands are taken in order
    assert not any(mail["to"] == person.email and mail["kind"] == "password_reset" for mail in box.mails)


async def test_forgot_429(app: Running) -> None:
    """Asked for again and again from one place it is refused, known or not; from elsewhere it is not."""
    for email in ((await app.register()).email, "unknown@example.com"):
        answers = [await forgot(app, email) for _ in range(6)]
        assert [answer.status for answer in answers] == [202] * 5 + [429]
        assert int(answers[-1].headers["retry-after"]) >= 1


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({}, "invalid_request"),
        ({"token": "", "password": NEW}, "invalid_mailed_token"),
        ({"token": "x" * 101, "password": NEW}, "invalid_request"),
        ({"token": "é" * 76, "password": NEW}, "invalid_mailed_token"),
        ({"token": "0" * 32 + "_" + "0" * 43, "password": NEW}, "invalid_mailed_token"),
        ({"token": "0" * 32 + "_" + "0" * 43, "password": "short"}, "invalid_password"),
        ({"token": "0" * 32 + "_" + "0" * 43, "password": NEW, "email": "a@b.c"}, "invalid_request"),
    ],
)
async def test_reset_400(app: Running, body: dict[str, Any], code: str) -> None:
    """What is no token, or no password."""
    answer = await app.ask("POST", "/auth/password/reset", body)
    assert (answer.status, answer.code) == (400, code)


async def test_another_users_token_and_one_for_something_else(app: Running, box: Mailbox) -> None:
    """The right user with a wrong secret, and the token that verifies the address."""
    person = await app.register()
    verification = (await box.next_to(person.email, "email_verification"))["data"]["token"]
    made_up = new_token(app.services, person.id, "password_reset").text
    for token in (verification, made_up):
        answer = await reset(app, token)
        assert (answer.status, answer.code) == (400, "invalid_mailed_token")
    assert (await app.ask("POST", "/auth/login", {"email": person.email, "password": PASSWORD})).status == 200


async def test_reset_429(app: Running) -> None:
    """Each try costs a derivation, so tries are throttled; a login is not held up by that."""
    person = await app.register()
    tries = [await reset(app, new_token(app.services, person.id, "password_reset").text) for _ in range(6)]
    assert [answer.status for answer in tries] == [400] * 5 + [429]
    assert (await app.ask("POST", "/auth/login", {"email": person.email, "password": PASSWORD})).status == 200


async def test_who_is_locked_out_comes_in_by_a_reset(app: Running, box: Mailbox) -> None:
    """A guesser at the same address can make a login wait, and wait again; the mail's token needs no login."""
    person = await app.register()
    wrong = {"email": person.email, "password": "wrong password"}
    answers = [await app.ask("POST", "/auth/login", wrong) for _ in range(6)]
    assert answers[-1].status == 429
    answer = await reset(app, await mailed(app, box, person))
    assert answer.status == 200
    assert (await app.ask("GET", "/users/me", token=answer.json["token"])).status == 200


async def test_an_erased_user_has_no_token(app: Running, box: Mailbox) -> None:
    """What was in the mail is worth nothing."""
    person = await app.register()
    token = await mailed(app, box, person)
    erased = await app.ask("DELETE", "/users/me", {"password": PASSWORD}, token=person.token)
    assert erased.status == 200, erased
    assert (await reset(app, token)).code == "invalid_mailed_token"
    assert (await forgot(app, person.email)).status == 202


async def test_no_token_is_written(app: Running, box: Mailbox) -> None:
    """Neither a record nor an event nor a document holds it: only its HMAC."""
    person = await app.register()
    token = await mailed(app, box, person)
    written = repr(app.log.records) + repr(app.store.__dict__) + repr(app.services.documents.__dict__)
    assert token not in written
    assert token.rpartition("_")[2] not in written
