"""Signing in with an identity provider's token, over HTTP: who one is, what one may, and what nobody may."""

import asyncio
from collections.abc import AsyncIterator, Mapping

import pytest
import pytest_asyncio

from api.app import create_app
from api.command_log.bus import Ack, BusUnavailable, CommandBus
from api.command_log.commands import Commands
from api.errors import ApiError
from api.identity.identities import CREDENTIAL_SIZE_MAX
from api.identity.issuers import Issuers
from devnet.issuer import TokenRequest, running
from tests.api.identity_provider import Site, elsewhere, issuers_of, names, site
from tests.api.serving import raw_request, served
from tests.shard_log import read_shard


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def there() -> AsyncIterator[Site]:
    """One for this module's tests."""
    async with site() as running_site:
        yield running_site


pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_a_token_works_as_it_is(there: Site) -> None:
    """The first one makes a user with an account; the next one is the same user, with neither address nor password."""
    subject = names()
    first = await there.me(there.server.token(subject, email="ada@example.com"))
    assert first.status == 200
    user = first.json
    assert user | {"created_at": ""} == {
        "id": user["id"],
        "account_id": user["id"],
        "email": None,
        "email_verified": False,
        "display_name": None,
        "role": "user",
        "identity": {"issuer": there.server.url, "subject": subject, "claims": {"email": "ada@example.com"}},
        "plan": "free",
        "created_at": "",
    }
    again = (await there.me(there.server.token(subject, jti="another"))).json
    assert again.pop("identity") == user.pop("identity") | {"claims": {"jti": "another"}}
    assert again == user
    assert (await there.me(there.server.token(names()))).json["id"] != user["id"]


async def test_a_name_to_begin_with(there: Site) -> None:
    """The `name` claim, whatever its characters; one that cannot be a name here is none. The user's change stays."""
    subject, name = names(), "\u202eעדה\u202c 👩‍🔬 e\u0301"
    assert (await there.me(there.server.token(subject, name=name))).json["display_name"] == name
    changed = await there.app.ask("PATCH", "/users/me", {"display_name": None}, token=there.server.token(subject))
    assert changed.json["display_name"] is None
    assert (await there.me(there.server.token(subject, name="Another"))).json["display_name"] is None
    unusable: list[object] = ["", "x" * 201, "a\nb", 7, ["Ada"], None]
    for each in unusable:
        answer = await there.me(there.server.token(names(), name=each))
        assert (answer.status, answer.json["display_name"]) == (200, None)


async def test_what_can_be_done_with_it(there: Site) -> None:
    """Keys, names and reads; but nothing that takes a password or an address."""
    app, token = there.app, there.server.token(names())
    key = await app.ask("POST", "/api-keys", {"name": "a key"}, token=token)
    assert key.status == 201
    by_key = await app.ask("GET", "/users/me", api_key=key.json["key"])
    assert (by_key.status, by_key.json["identity"]["claims"]) == (200, None)
    named = await app.ask("PATCH", "/users/me", {"display_name": "Ada"}, token=token)
    assert (named.status, named.json["display_name"]) == (200, "Ada")
    assert (await app.ask("GET", "/billing/credits", token=token)).status == 200
    trail = await app.ask("GET", "/audit", token=token)
    assert "user.link_identity" in {each["action"] for each in trail.json["data"]}
    exported = await app.ask("GET", "/users/me/export", token=token)
    assert (exported.status, exported.json["user"]["identity"]["issuer"]) == (200, there.server.url)
    change = {"current_password": "correct horse battery staple", "new_password": "a longer and better one"}
    answer = await app.ask("POST", "/users/me/password", change, token=token)
    assert (answer.status, answer.code) == (409, "no_password")


async def test_a_known_address_is_not_that_user(there: Site) -> None:
    """Whatever a provider says of somebody's address, it opens nobody's account, and shuts nobody out."""
    person = await there.app.register()
    token = there.server.token(names(), email=person.email, email_verified=True, preferred_username=person.id)
    mine = await there.me(token)
    assert mine.status == 200
    assert mine.json["id"] != person.id
    assert (await there.me(there.server.token(person.id))).json["id"] != person.id
    login = {"email": person.email, "password": "correct horse battery staple"}
    assert (await there.app.ask("POST", "/auth/login", login)).json["user_id"] == person.id


async def test_one_subject_of_two_providers_is_two_users(there: Site) -> None:
    """A subject means something at its own provider alone."""
    subject = names()
    async with running() as second:
        here = elsewhere(there, Issuers({**there.issuers, **issuers_of(second)}))
        await here.start()
        try:
            found = [
                await here.authenticate(f"Bearer {server.token(subject)}", None, address="", user_agent="")
                for server in (there.server, second, there.server)
            ]
        finally:
            await here.stop()
    assert found[0].user_id == found[2].user_id != found[1].user_id


async def test_other_claims_are_kept(there: Site) -> None:
    """Whoever handles the request can read them, from the cache as well."""
    token = there.server.token(names(), groups=["a"], name="Ada \u05d0", nested={"deep": [1, None, 1.5]})
    for _ in range(2):
        caller = await there.app.services.identities.authenticate(f"Bearer {token}", None, address="", user_agent="")
        assert caller.claims == {"groups": ["a"], "name": "Ada \u05d0", "nested": {"deep": [1, None, 1.5]}}
        assert (caller.kind, caller.key_id, caller.expires_at, caller.project_id) == ("user", None, None, None)


async def test_first_sight_on_two_processes_at_once_is_one_user(there: Site) -> None:
    """Twenty requests on each of two: one user, linked by one event."""
    token, other = there.server.token(names()), elsewhere(there)
    await other.start()
    try:
        callers = await asyncio.gather(
            *[
                each.authenticate(f"Bearer {token}", None, address="", user_agent="")
                for each in (there.app.services.identities, other)
                for _ in range(20)
            ]
        )
    finally:
        await other.stop()
    assert len({caller.user_id for caller in callers}) == 1
    assert await happened(there, callers[0].user_id) == ["user.identity_linked"]


async def happened(there: Site, user_id: str) -> list[str]:
    """The types of the user's events."""
    stream, store = f"user:{user_id}", there.app.store
    shard = there.app.services.commands.shard(stream)
    return [each.type async for each in read_shard(store, shard) if each.stream == stream]


async def test_the_role_is_the_tokens_and_never_above_the_issuers(there: Site) -> None:
    """Whoever is an admin at the provider is none here, and can make no key that is."""
    subject = names()
    for role, acts in (("user", "user"), ("developer", "developer"), ("admin", "developer")):
        assert (await there.me(there.server.token(names(), role=role))).json["role"] == acts
    asked = {"name": "k", "scopes": ["admin"]}
    refused = await there.app.ask("POST", "/api-keys", asked, token=there.server.token(subject, role="admin"))
    assert (refused.status, refused.code) == (403, "scope_exceeded")


async def test_who_loses_rights_loses_them_everywhere(there: Site) -> None:
    """A newer token with a lower role demotes the user's keys too; an older one does not bring it back."""
    identities = there.app.services.identities
    subject, now = names(), int(there.app.services.clock() // 1_000_000)
    before = there.server.token(subject, role="developer", iat=now - 2)
    made = await there.app.ask("POST", "/api-keys", {"name": "k"}, token=before)
    caller = await identities.authenticate(None, made.json["key"], address="", user_agent="")
    assert caller.role == "developer"
    after = await identities.authenticate(
        f"Bearer {there.server.token(subject, role='user', iat=now - 1)}", None, address="", user_agent=""
    )
    assert after.role == "user"
    async with asyncio.timeout(1):
        while (await identities.authenticate(None, made.json["key"], address="", user_agent="")).role != "user":
            await asyncio.sleep(0.005)
    for text in (before, there.server.token(subject, role="developer", iat=now - 1)):
        again = await identities.authenticate(f"Bearer {text}", None, address="", user_agent="")
        assert again.role == "user"
    raised = there.server.token(subject, role="developer", iat=now)
    assert (await identities.authenticate(f"Bearer {raised}", None, address="", user_agent="")).role == "developer"


async def test_an_issuer_that_may_give_less_gives_less_at_once(there: Site) -> None:
    """An operator who lowers `max_role`, or takes the issuer away, reaches the keys of its users as well."""
    token = there.server.token(names(), role="developer")
    key = (await there.app.ask("POST", "/api-keys", {"name": "k"}, token=token)).json["key"]
    lower = elsewhere(there, issuers_of(there.server, max_role="user"))
    gone = elsewhere(there, Issuers({}))
    for each in (lower, gone):
        await each.stamps.poll()
    assert (await lower.authenticate(None, key, address="", user_agent="")).role == "user"
    for headers in ((None, key), (f"Bearer {token}", None)):
        with pytest.raises(ApiError) as refused:
            await gone.authenticate(*headers, address="", user_agent="")
        assert refused.value.status == 401


async def test_a_key_taken_back_ends_its_tokens(there: Site) -> None:
    """Within a refresh, also those that were verified before."""
    token = there.server.token(names())
    assert (await there.me(token)).status == 200
    there.server.keys.rotate(keep=False)
    fresh = there.server.token(names())
    async with asyncio.timeout(10):
        while (await there.me(fresh)).status != 200:
            await asyncio.sleep(0.05)
    answer = await there.me(token)
    assert (answer.status, answer.code) == (401, "invalid_token")


async def test_sizes(there: Site) -> None:
    """A large token of a real provider is taken, one beyond the bound is refused unseen, and one of 100 kB too."""
    large = there.server.token(names(), groups=["x" * 36] * 200)
    assert 4_096 < len(large) <= CREDENTIAL_SIZE_MAX
    assert (await there.me(large)).status == 200
    for size in (CREDENTIAL_SIZE_MAX, 100_000):
        answer = await there.me(there.server.token(names(), padding="x" * size))
        assert (answer.status, answer.code) == (401, "invalid_token")


async def test_a_token_of_100_kb_is_refused_by_the_server(there: Site) -> None:
    """Unparsed, by the bound on headers; other requests go on."""
    async with served(create_app(there.app.services)) as url:
        token = there.server.token(names(), padding="x" * 100_000)
        head = f"GET /users/me HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n\r\n"
        answer = await raw_request(url, head.encode())
        assert (answer.status, answer.error["code"]) == (431, "headers_too_large")
        token = there.server.token(names(), padding="x" * 15_000)
        head = f"GET /users/me HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n\r\n"
        assert (await raw_request(url, head.encode())).status == 401
        assert (await there.me(there.server.token(names()))).status == 200


class Cable:
    """The way to the log, which can be cut."""

    def __init__(self, bus: CommandBus) -> None:
        self._bus = bus
        self.cut = False

    async def send(self, shard: int, key: bytes, value: bytes) -> Ack:
        """See `CommandBus`."""
        if self.cut:
            raise BusUnavailable("cut")
        return await self._bus.send(shard, key, value)

    async def ends(self) -> Mapping[int, int]:
        """See `CommandBus`."""
        return await self._bus.ends()


async def test_first_sight_while_the_log_is_away(there: Site) -> None:
    """503 within a bound, nothing half done; who is known already goes on, and the new one once it is back."""
    known, new = there.server.token(names()), there.server.token(names())
    assert (await there.me(known)).status == 200
    services, cable = there.app.services, Cable(there.app.log)
    commands = Commands(cable, services.commands.poller, services.commands.lag, services.shards)
    here = elsewhere(there, commands=commands)
    await here.start()
    try:
        cable.cut = True
        assert (await here.authenticate(f"Bearer {known}", None, address="", user_agent="")).role == "user"
        with pytest.raises(ApiError) as refused:
            await here.authenticate(f"Bearer {new}", None, address="", user_agent="")
        assert (refused.value.status, refused.value.code) == (503, "auth_unavailable")
        assert refused.value.headers["Retry-After"] == "1"
        cable.cut = False
        assert (await here.authenticate(f"Bearer {new}", None, address="", user_agent="")).role == "user"
    finally:
        await here.stop()


async def test_hostile_tokens_are_401(there: Site) -> None:
    """Each with the challenge of RFC 6750, and never a 500."""
    good = there.server.token(names())
    head, body, signature = good.split(".")
    now = int(there.app.services.clock() // 1_000_000)
    for text in (
        there.server.token(names(), exp=now - 31),
        there.server.token(names(), nbf=now + 60),
        there.server.token(names(), aud="other"),
        there.server.token(names(), iss="https://evil.example"),
        there.server.token(names(), role="root"),
        there.server.token(names(), project_id=None),
        there.server.token(""),
        there.server.keys.current.sign(there.server.claims(TokenRequest(sub=names())), {"kid": "unknown"}),
        f"{head}.{body}.{signature[:-2]}AA",
        f"{head}.{body}.",
        "eyJhbGciOiJub25lIn0.e30.",
    ):
        answer = await there.me(text)
        assert (answer.status, answer.code) == (401, "invalid_token"), text
        assert answer.headers["www-authenticate"] == 'Bearer error="invalid_token"'
    expired = await there.me(there.server.token(names(), exp=now - 31))
    assert "expired" in expired.json["error"]["message"]


async def test_an_erased_user_does_not_come_back(there: Site) -> None:
    """The token goes on being good at its provider; here it opens nothing, and nothing is made anew."""
    subject = names()
    assert (await there.app.ask("DELETE", "/users/me", {}, token=there.server.token(subject))).status == 200
    for _ in range(2):
        answer = await there.me(there.server.token(subject, jti=names()))
        assert (answer.status, answer.code) == (401, "user_erased")
        assert answer.headers["www-authenticate"] == 'Bearer error="invalid_token"'


async def test_nothing_personal_is_in_the_log(there: Site) -> None:
    """Neither issuer nor subject nor a claim is in record, event or document (I8)."""
    subject = names()
    token = there.server.token(subject, email="ida@example.com", name="Ida Personal")
    user_id = (await there.me(token)).json["id"]
    app = there.app
    written = repr(app.log.records) + repr(app.store.__dict__) + repr(app.services.documents.__dict__)
    assert user_id in written
    for personal in (subject, there.server.url, "ida@example.com", "Ida Personal", token):
        assert personal not in written
