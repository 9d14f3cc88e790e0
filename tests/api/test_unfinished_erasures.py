"""An erasure whose process was killed goes on: every step that a request may not have taken is taken."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
import structlog

from api.errors import ApiError
from api.leaving import Leaver, forget_invited
from api.unfinished_erasures import UnfinishedErasures
from domain.erasure import BeginErasure
from domain.instant import DAY, HOUR, MINUTE, SECOND, Instant
from domain.invitation import ForgetInvited
from domain.message import Command
from eventstore.clock import system_clock
from projections.erasures import ErasureView, list_erasures
from projections.memberships import list_memberships
from tests.api.billing.paying import Shop, shop_open
from tests.api.company import founder, invited, joined, organization
from tests.api.mailbox import Mailbox
from tests.api.running import PASSWORD, Person, Running, application


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def app(box: Mailbox) -> AsyncIterator[Running]:
    """One application for this module's tests."""
    async with application(mailer_url=box.url) as running:
        yield running


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shop() -> AsyncIterator[Shop]:
    """One whose customers pay."""
    async with shop_open() as opened:
        yield opened


pytestmark = pytest.mark.asyncio(loop_scope="module")


async def begin(app: Running, person: Person) -> None:
    """What a request does before its process is killed."""
    await app.command(f"user:{person.id}", BeginErasure(user_id=person.id, erasure_id=f"erasure_{person.id}"))


async def go_on(app: Running, left_alone: int = 0) -> None:
    """What every process does now and then."""
    await UnfinishedErasures(app.services, left_alone=left_alone).step()


async def unfinished(app: Running, person: Person) -> ErasureView | None:
    """The person's erasure, until it is over."""
    page = await list_erasures(app.services.documents, limit=100)
    return next((view for view in page.items if view.user_id == person.id), None)


async def test_it_is_ended_in_all_its_steps(app: Running, box: Mailbox) -> None:
    """Organizations are left, the invited address is unreadable, the user is gone, and it is not looked at again."""
    ada, bob = await founder(app), await app.register()
    org_id = await organization(app, ada)
    cyd = await joined(app, box, ada, org_id, "write")
    await invited(app, box, ada, org_id, bob.email, "read")
    for person in (bob, cyd):
        await begin(app, person)
        assert await unfinished(app, person) is not None
    await go_on(app)
    for person in (bob, cyd):
        assert (await app.ask("GET", "/users/me", token=person.token)).status == 401
        login = await app.ask("POST", "/auth/login", {"email": person.email, "password": PASSWORD})
        assert login.code == "invalid_credentials"
        assert (await list_memberships(app.services.documents, person.id, limit=10)).items == []
        assert await unfinished(app, person) is None
    listed = (await app.ask("GET", f"/orgs/{org_id}/invitations", token=ada.token)).json["data"]
    assert [each["email"] for each in listed] == [None, None]


async def test_it_is_its_requests_alone_for_a_while(app: Running) -> None:
    """Nobody interferes with a request that is on its way."""
    person = await app.register()
    await begin(app, person)
    await go_on(app, left_alone=DAY)
    assert (await app.ask("GET", "/users/me", token=person.token)).status == 200
    await go_on(app)
    assert await unfinished(app, person) is None


async def test_a_last_admin_is_kept(app: Running, box: Mailbox) -> None:
    """As its own request would have kept it: it hands over first, and may join organizations meanwhile."""
    ada = await founder(app)
    org_id = await organization(app, ada)
    await joined(app, box, ada, org_id, "write")
    await begin(app, ada)
    assert (await app.ask("POST", "/orgs", {"name": "Barred"}, token=ada.token)).code == "erasure_begun"
    await go_on(app)
    assert (await app.ask("POST", "/orgs", {"name": "Free"}, token=ada.token)).status == 201
    assert await unfinished(app, ada) is None


@pytest.mark.parametrize("killed", [True, False])
async def test_the_provider_is_told_when_it_is_back(shop: Shop, killed: Any) -> None:
    """Whether the process was killed before, or asked in vain: who is gone is billed no more."""
    person = await shop.app.register()
    session = await shop.bought(person, plan="pro")
    shop.stripe.outage = "down"
    if killed:
        await begin(shop.app, person)
    else:
        assert (await shop.app.ask("DELETE", "/users/me", token=person.token)).status == 200
    for outage, status in (("down", "active"), ("none", "canceled")):
        shop.stripe.outage = outage  # type: ignore[assignment]
        await go_on(shop.app)
        assert (await shop.app.ask("GET", "/users/me", token=person.token)).status == 401
        assert shop.stripe.find(session["subscription"], "subscription")["status"] == status
        found = await unfinished(shop.app, person)
        assert (found is not None and found.erased) == (outage == "down")


async def test_a_provider_that_stays_away_is_asked_ever_more_rarely(monkeypatch: pytest.MonkeyPatch) -> None:
    """A dozen times in the first two hours, and every quarter of an hour from then on; until it is back."""
    later: list[Instant] = [0]
    asked: list[Instant] = []

    async def away(_account_id: str) -> None:
        asked.append(later[0])
        raise ApiError("billing_unavailable")

    async with application(clock=lambda: system_clock() + later[0]) as app:
        person = await app.register()
        monkeypatch.setattr(app.services.billing, "end_subscriptions", away)
        assert (await app.ask("DELETE", "/users/me", token=person.token)).status == 200
        asked.clear()
        erasures = UnfinishedErasures(app.services, left_alone=0)
        for later[0] in range(0, 4 * HOUR, 15 * SECOND):
            await erasures.step()
        assert [at // SECOND for at in asked[:4]] == [0, 15, 45, 105]
        assert 10 <= sum(at < 2 * HOUR for at in asked) <= 15
        assert 7 <= sum(at >= 2 * HOUR for at in asked) <= 9
        monkeypatch.undo()
        later[0] += 15 * MINUTE
        await erasures.step()
        assert await unfinished(app, person) is None


async def test_who_comes_second_says_nothing(app: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another process has ended it after this one has read that it is open: nothing waits, and no line says so."""
    person = await app.register()
    await begin(app, person)
    end = app.services.billing.end_subscriptions

    async def overtaken(account_id: str) -> None:
        monkeypatch.setattr(app.services.billing, "end_subscriptions", end)
        await go_on(app)
        await end(account_id)

    monkeypatch.setattr(app.services.billing, "end_subscriptions", overtaken)
    with structlog.testing.capture_logs() as logged:
        await go_on(app)
    assert await unfinished(app, person) is None
    assert [line["event"] for line in logged if line["event"].startswith("erasure")] == ["erasure_gone_on_with"]


async def test_who_has_the_address_next_stays_invited(
    app: Running, box: Mailbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While the provider of somebody gone is away, nothing is taken from another who has registered the address."""

    async def away(_account_id: str) -> None:
        raise ApiError("billing_unavailable")

    ada, bob = await founder(app), await app.register()
    org_id = await organization(app, ada)
    monkeypatch.setattr(app.services.billing, "end_subscriptions", away)
    assert (await app.ask("DELETE", "/users/me", token=bob.token)).status == 200
    await app.register(email=bob.email)
    await invited(app, box, ada, org_id, bob.email, "read")
    await go_on(app)
    listed = (await app.ask("GET", f"/orgs/{org_id}/invitations", token=ada.token)).json["data"]
    assert [each["email"] for each in listed] == [bob.email]
    monkeypatch.undo()
    await go_on(app)
    assert await unfinished(app, bob) is None


async def test_one_that_breaks_holds_up_no_other(app: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not even with a bug of ours."""
    first, second = await app.register(), await app.register()

    async def broken(account_id: str) -> None:
        if account_id == first.id:
            raise RuntimeError("a bug")

    for person in (first, second):
        await begin(app, person)
    monkeypatch.setattr(app.services.billing, "end_subscriptions", broken)
    await go_on(app)
    assert await unfinished(app, first) is not None
    assert await unfinished(app, second) is None
    monkeypatch.undo()
    await go_on(app)
    assert await unfinished(app, first) is None


async def test_two_processes_end_it_at_once(app: Running) -> None:
    """Each step can be taken twice."""
    person = await app.register()
    await begin(app, person)
    await asyncio.gather(go_on(app), go_on(app))
    await go_on(app)
    assert await unfinished(app, person) is None
    assert (await app.ask("GET", "/users/me", token=person.token)).status == 401
    await app.register(email=person.email)


async def test_invitations_that_stay_listed_are_passed(
    app: Running, box: Mailbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Old logs have some that no event ends: looking for them has an end all the same."""
    ada, asked = await founder(app), []
    for name in ("One", "Two"):
        await invited(app, box, ada, await organization(app, ada, name), "old@example.com", "read")

    async def nothing(stream: str, command: Command) -> Any:
        assert isinstance(command, ForgetInvited)
        asked.append(stream)
        assert len(asked) < 3, "it goes round"

    monkeypatch.setattr("api.leaving.PAGE", 1)
    leaver = Leaver(services=app.services, user_id=ada.id, send=nothing)
    await forget_invited(leaver, app.services.lookup.email("old@example.com"))
    assert len(set(asked)) == len(asked) == 2
