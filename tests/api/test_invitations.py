"""Invitations over HTTP: by mail, for one use, until they end."""

import asyncio
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from api.mail.invitation_token import InvitationToken, verify
from api.organization_shown import EMAIL_PLACE
from api.sealing import Erased, Sealer
from domain.instant import DAY
from domain.invitation import MemberInvited, address_subject
from eventstore import codec
from tests.api.clock import Clock
from tests.api.company import accept, founder, invited, joined, organization, stored, subscribe
from tests.api.mailbox import Mailbox
from tests.api.running import Running, application


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def app(box: Mailbox) -> AsyncIterator[Running]:
    """One application for this module's tests."""
    async with application(mailer_url=box.url) as running:
        yield running


pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_invite_201(app: Running, box: Mailbox) -> None:
    """The token is in the mail and nowhere else; the address, of any characters, comes back as it was given."""
    ada = await founder(app)
    org_id = await organization(app, ada, "\u202eשלום")
    email = "Zoë+\u05d0@example.com"
    answer = await app.ask("POST", f"/orgs/{org_id}/invite", {"email": email, "level": "write"}, token=ada.token)
    mail = await box.next_to(email, "invitation")
    assert (answer.status, answer.json["email"], answer.json["status"]) == (201, email, "open")
    assert "token" not in answer.json
    token = mail["data"].pop("token")
    assert mail["kind"] == "invitation"
    assert mail["data"] == {
        "org_id": org_id,
        "organization": "\u202eשלום",
        "level": "write",
        "expires_at": answer.json["expires_at"],
    }
    listed = await app.ask("GET", f"/orgs/{org_id}/invitations", token=ada.token)
    assert listed.json["data"] == [answer.json]
    for secret in (token, email, "שלום"):
        assert not any(secret.encode() in row for row in stored(app)), secret


async def test_accept_200(app: Running, box: Mailbox) -> None:
    """Whoever holds the token becomes a member; a second time it is already so, for others it is used up."""
    ada, bob, eve = await founder(app), await app.register(), await app.register()
    org_id = await organization(app, ada)
    token = await invited(app, box, ada, org_id, "someone@example.com", "write")
    first, second = await accept(app, bob, token), await accept(app, bob, token)
    assert (first.status, first.json["id"], first.json["level"]) == (200, org_id, "write")
    assert second.json == first.json
    refused = await accept(app, eve, token)
    assert (refused.status, refused.code) == (409, "invitation_closed")
    listed = (await app.ask("GET", f"/orgs/{org_id}/invitations", token=ada.token)).json["data"]
    assert [(each["status"], each["email"], each["accepted_by"]) for each in listed] == [("accepted", None, bob.id)]
    assert [each["id"] for each in (await app.ask("GET", "/orgs", token=bob.token)).json["data"]] == [org_id]


async def test_accept_twice_at_once(app: Running, box: Mailbox) -> None:
    """One invitation makes one membership, whoever is faster."""
    ada = await founder(app)
    org_id = await organization(app, ada)
    token = await invited(app, box, ada, org_id, "many@example.com", "read")
    people = [await app.register() for _ in range(5)]
    answers = await asyncio.gather(*(accept(app, person, token) for person in people for _ in range(2)))
    assert sorted({answer.status for answer in answers}) == [200, 409]
    members = (await app.ask("GET", f"/orgs/{org_id}/members", token=ada.token)).json["data"]
    assert len(members) == 2


@pytest.mark.parametrize("token", ["", "x", "inv_", "inv_" + "A" * 87, "é" * 91, "x" * 200])
async def test_accept_404(app: Running, token: str) -> None:
    """What we did not sign is no invitation."""
    person = await app.register()
    answer = await accept(app, person, token)
    assert (answer.status, answer.code) == (404, "invitation_not_found")


async def test_accept_refuses_what_was_made_up(app: Running, box: Mailbox) -> None:
    """A changed token, one of another place, or too long a text."""
    ada, bob = await founder(app), await app.register()
    org_id = await organization(app, ada)
    token = await invited(app, box, ada, org_id, "b@example.com", "admin")
    for place in (4, 30, 60, 90):
        other = "A" if token[place] != "A" else "B"
        answer = await accept(app, bob, token[:place] + other + token[place + 1 :])
        assert (answer.status, answer.code) == (404, "invitation_not_found")
    unknown = InvitationToken(org_id=org_id, invitation_id="invitation_" + "0" * 32)
    assert (await accept(app, bob, unknown.sign(app.services.lookup))).code == "invitation_not_found"
    nowhere = InvitationToken(org_id="org_" + "0" * 32, invitation_id="invitation_" + "0" * 32)
    assert (await accept(app, bob, nowhere.sign(app.services.lookup))).code == "invitation_not_found"
    assert (await accept(app, bob, "x" * 10_000)).status == 400
    assert verify(app.services.lookup, token) is not None


async def test_accept_403(app: Running, box: Mailbox) -> None:
    """A key cannot make its maker a member of something."""
    ada, bob = await founder(app), await app.register()
    token = await invited(app, box, ada, await organization(app, ada), "k@example.com", "read")
    key = (await app.key(bob))["key"]
    answer = await app.ask("POST", "/orgs/invitations/accept", {"token": token}, api_key=key)
    assert (answer.status, answer.code) == (403, "login_required")


async def test_invite_409(app: Running, box: Mailbox) -> None:
    """Not twice while one is open, in any case of letters; nor a member."""
    ada = await founder(app)
    org_id = await organization(app, ada)
    bob = await joined(app, box, ada, org_id, "read")
    path = f"/orgs/{org_id}/invite"
    first = await app.ask("POST", path, {"email": "Twice@example.com"}, token=ada.token)
    again = await app.ask("POST", path, {"email": "tWICE@EXAMPLE.com"}, token=ada.token)
    assert (again.status, again.code) == (409, "already_invited")
    assert again.json["error"]["invitation_id"] == first.json["id"]
    member = await app.ask("POST", path, {"email": bob.email.upper()}, token=ada.token)
    assert (member.status, member.code) == (409, "already_member")


@pytest.mark.parametrize(
    "body",
    [
        {"email": "x"},
        {"email": "a" * 10_000 + "@example.com"},
        {"email": "a@\u202eexample.com"},
        {"email": "a@example.com", "level": "owner"},
        {"email": "a@example.com", "expires_in_s": 59},
        {"email": "a@example.com", "expires_in_s": 2_592_001},
        {},
    ],
)
async def test_invite_400(app: Running, body: dict[str, object]) -> None:
    """What is no address, level or time is refused."""
    ada = await founder(app)
    org_id = await organization(app, ada)
    assert (await app.ask("POST", f"/orgs/{org_id}/invite", body, token=ada.token)).status == 400


async def test_repeats_have_one_effect(app: Running, box: Mailbox) -> None:
    """The same answer under one key, also after the invitation was accepted; its mail is not sent again then."""
    ada, bob = await founder(app), await app.register()
    org_id = await organization(app, ada)
    path, body = f"/orgs/{org_id}/invite", {"email": bob.email}
    first = await app.ask("POST", path, body, token=ada.token, idempotency_key="i")
    assert (await accept(app, bob, (await box.next_to(bob.email, "invitation"))["data"]["token"])).status == 200
    again = await app.ask("POST", path, body, token=ada.token, idempotency_key="i")
    assert (again.status, again.json) == (201, first.json)
    other = await invited(app, box, ada, org_id, "other@example.com", "read")
    assert other
    assert not [mail for mail in box.mails if (mail["to"], mail["kind"]) == (bob.email, "invitation")]


async def test_revoke_200(app: Running, box: Mailbox) -> None:
    """The token no longer works, the address is forgotten and can be invited again."""
    ada, bob = await founder(app), await app.register()
    org_id = await organization(app, ada)
    token = await invited(app, box, ada, org_id, bob.email, "read")
    [view] = (await app.ask("GET", f"/orgs/{org_id}/invitations", token=ada.token)).json["data"]
    path = f"/orgs/{org_id}/invitations/{view['id']}"
    for _ in range(2):
        revoked = await app.ask("DELETE", path, token=ada.token)
        assert (revoked.status, revoked.json["status"], revoked.json["email"]) == (200, "revoked", None)
    assert (await accept(app, bob, token)).code == "invitation_closed"
    assert (await app.ask("POST", f"{path}/send", token=ada.token)).code == "invitation_closed"
    assert await invited(app, box, ada, org_id, bob.email, "read") != token
    missing = f"/orgs/{org_id}/invitations/invitation_{'0' * 32}"
    assert (await app.ask("DELETE", missing, token=ada.token)).code == "invitation_not_found"


async def test_send_again_200(app: Running, box: Mailbox) -> None:
    """With the same token, so that either mail serves."""
    ada = await founder(app)
    org_id = await organization(app, ada)
    token = await invited(app, box, ada, org_id, "lost@example.com", "read")
    [view] = (await app.ask("GET", f"/orgs/{org_id}/invitations", token=ada.token)).json["data"]
    sent = await app.ask("POST", f"/orgs/{org_id}/invitations/{view['id']}/send", token=ada.token)
    assert (sent.status, sent.json) == (200, view)
    assert (await box.next_to("lost@example.com", "invitation"))["data"]["token"] == token


async def test_seats(app: Running, box: Mailbox) -> None:
    """Those of the organization's own plan once it has one, until then those of who created it."""
    ada = await founder(app)
    org_id = await organization(app, ada)
    token = await invited(app, box, ada, org_id, "first@example.com", "read")
    await subscribe(app, org_id, "pro")
    refused = await app.ask("POST", f"/orgs/{org_id}/invite", {"email": "n@example.com"}, token=ada.token)
    assert (refused.status, refused.code, refused.json["error"]["limit"]) == (409, "seats_used_up", 1)
    bob = await app.register()
    refused = await accept(app, bob, token)
    assert (refused.status, refused.code) == (409, "seats_used_up")


async def test_an_invitation_expires(box: Mailbox) -> None:
    """Its mail is not sent again either; the address can be invited anew."""
    clock = Clock()
    async with application(mailer_url=box.url, clock=clock) as app:
        ada = await founder(app)
        org_id = await organization(app, ada)
        token = await invited(app, box, ada, org_id, "late@example.com", "read")
        clock.ahead = 8 * DAY
        token_of_ada = await again(app, ada.email)
        bob = await app.register()
        assert (await accept(app, bob, token)).code == "invitation_expired"
        [view] = (await app.ask("GET", f"/orgs/{org_id}/invitations", token=token_of_ada)).json["data"]
        assert (view["status"], view["email"]) == ("expired", None)
        path = f"/orgs/{org_id}/invitations/{view['id']}/send"
        assert (await app.ask("POST", path, token=token_of_ada)).code == "invitation_expired"
        body = {"email": "late@example.com"}
        assert (await app.ask("POST", f"/orgs/{org_id}/invite", body, token=token_of_ada)).status == 201


async def again(app: Running, email: str) -> str:
    """A fresh login token."""
    answer = await app.ask("POST", "/auth/login", {"email": email, "password": "correct horse battery staple"})
    token: str = answer.json["token"]
    return token


async def test_who_is_erased_can_be_read_in_no_invitation(app: Running, box: Mailbox) -> None:
    """Neither from what is stored nor through the API; what was mailed still works, for whoever holds it."""
    ada, bob, eve = await founder(app), await app.register(), await app.register()
    orgs = [await organization(app, ada) for _ in range(2)]
    tokens = [await invited(app, box, ada, org_id, bob.email, "read") for org_id in orgs]
    other = await invited(app, box, ada, orgs[0], "other-than-bob@example.com", "read")
    open_ones = (await app.ask("GET", f"/orgs/{orgs[0]}/invitations", token=ada.token)).json["data"]
    shown = next(each for each in open_ones if each["email"] == bob.email)
    assert (await app.ask("DELETE", "/users/me", token=bob.token)).status == 200
    for org_id in orgs:
        listed = (await app.ask("GET", f"/orgs/{org_id}/invitations", token=ada.token)).json["data"]
        assert bob.email not in [each["email"] for each in listed]
    sealer = Sealer(app.store, app.services.sealer._master_keys)
    sealed = await sealed_addresses(app, sealer, orgs)
    assert [email for email in sealed if email is not None] == ["other-than-bob@example.com"]
    assert len(sealed) == 3
    path = f"/orgs/{orgs[0]}/invitations/{shown['id']}"
    assert (await app.ask("POST", f"{path}/send", token=ada.token)).code == "invited_erased"
    assert (await app.ask("DELETE", path, token=ada.token)).json["status"] == "revoked"
    assert (await app.ask("POST", f"/orgs/{orgs[0]}/invite", {"email": bob.email}, token=ada.token)).status == 201
    assert (await accept(app, eve, tokens[1])).status == 200
    assert (await accept(app, eve, other)).status == 200


async def sealed_addresses(app: Running, sealer: Sealer, orgs: list[str]) -> list[str | None]:
    """The invited addresses of the log, as far as anybody can still open them."""
    found: list[str | None] = []
    for event in [codec.recorded(each) for log in app.store._log.values() for each in log]:
        if isinstance(event.event, MemberInvited) and event.entity_id in orgs:
            subject = address_subject(event.entity_id, event.event.invitation_id)
            try:
                found.append((await sealer.open(subject, EMAIL_PLACE, event.event.email_sealed)).decode())
            except Erased:
                found.append(None)
    return found
