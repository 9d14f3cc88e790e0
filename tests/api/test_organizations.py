"""Organizations over HTTP: made, listed, renamed; who sees one and who does not."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from api.plans import SHIPPED, load_plans
from api.routes.organizations import MEMBERSHIPS_MAX
from tests.api.company import founder, joined, organization, subscribe
from tests.api.mailbox import Mailbox
from tests.api.running import Running, application

NAMES = [
    "Analytical Engines",
    "\u202eevil\u202c \u200fשלום\u200e",
    "e\u0301 is not \u00e9",
    "👩‍👩‍👧 & 中文 \ufeff",
    "x" * 100,
]
"""Kept to the byte, whatever their direction or form."""
NO_NAMES: list[object] = [
    *["", " ", "\u3000", "x" * 101, "x" * 10_000, "a\nb", "a\x00b", "a\x85b", "\ud800"],
    None,
    1,
    [],
]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def app(box: Mailbox) -> AsyncIterator[Running]:
    """One application for this module's tests."""
    async with application(mailer_url=box.url) as running:
        yield running


pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest.mark.parametrize("name", NAMES)
async def test_create_201(app: Running, name: str) -> None:
    """Its creator is its admin; the name comes back as it was given, once under one key."""
    ada = await founder(app)
    made = await app.ask("POST", "/orgs", {"name": name}, token=ada.token, idempotency_key="o")
    assert (made.status, made.json["name"], made.json["level"]) == (201, name, "admin")
    assert made.json["account_id"] == made.json["id"]
    again = await app.ask("POST", "/orgs", {"name": name}, token=ada.token, idempotency_key="o")
    assert (again.status, again.json) == (201, made.json)
    listed = await app.ask("GET", "/orgs", token=ada.token)
    assert (listed.status, listed.json["data"]) == (200, [made.json])
    assert (await app.ask("GET", f"/orgs/{made.json['id']}", token=ada.token)).json == made.json


@pytest.mark.parametrize("name", NO_NAMES)
async def test_create_400(app: Running, name: object) -> None:
    """What is no name, or too long, is refused."""
    ada = await founder(app)
    answer = await app.ask("POST", "/orgs", {"name": name}, token=ada.token)
    assert (answer.status, (await app.ask("GET", "/orgs", token=ada.token)).json["data"]) == (400, [])


async def test_names_are_kept_or_refused(app: Running) -> None:
    """Of any characters: what comes back is what was sent, and nothing else ever happens."""
    ada = await founder(app)
    path, loop = f"/orgs/{await organization(app, ada)}", asyncio.get_running_loop()

    async def renamed(name: str) -> tuple[int, str]:
        answer = await app.ask("PATCH", path, {"name": name}, token=ada.token)
        shown: str = (await app.ask("GET", path, token=ada.token)).json["name"]
        return answer.status, shown

    @settings(max_examples=60, suppress_health_check=list(HealthCheck))
    @given(st.text(st.characters(), min_size=1, max_size=110))
    def check(name: str) -> None:
        status, shown = asyncio.run_coroutine_threadsafe(renamed(name), loop).result(30)
        assert status in (200, 400)
        assert (shown == name) == (status == 200)

    await asyncio.to_thread(check)


async def test_create_402(app: Running) -> None:
    """The plan of the account must have organizations."""
    person = await app.register()
    answer = await app.ask("POST", "/orgs", {"name": "x"}, token=person.token)
    assert (answer.status, answer.code) == (402, "feature_not_in_plan")
    assert answer.json["error"]["upgrade"] == ["team", "enterprise"]
    await subscribe(app, person.id, "team")
    assert (await app.ask("POST", "/orgs", {"name": "x"}, token=person.token)).status == 201


async def test_create_403(app: Running) -> None:
    """An organization makes no organization; nor does a key that only reads."""
    ada = await founder(app)
    org_id = await organization(app, ada)
    answer = await app.ask("POST", "/orgs", {"name": "x"}, token=ada.token, headers={"X-Organization": org_id})
    assert (answer.status, answer.code) == (403, "organization_person_required")
    key = await app.key(ada, scopes=["read"])
    assert (await app.ask("POST", "/orgs", {"name": "x"}, api_key=key["key"])).status == 403


async def test_list_is_paged(app: Running) -> None:
    """Those joined last come first, whatever shards they are on."""
    ada = await founder(app)
    made = [await organization(app, ada, f"o{number}") for number in range(5)]
    walked: list[str] = []
    path = "/orgs?limit=2"
    while True:
        page = (await app.ask("GET", path, token=ada.token)).json
        walked += [each["id"] for each in page["data"]]
        if not page["has_more"]:
            break
        path = f"/orgs?limit=2&cursor={page['next_cursor']}"
    assert walked == made[::-1]


async def test_rename_200(app: Running) -> None:
    """By an admin; a repeat answers what the first did, whatever came later."""
    ada = await founder(app)
    path = f"/orgs/{await organization(app, ada)}"
    for name in ("First", "Second"):
        await app.ask("PATCH", path, {"name": name}, token=ada.token, idempotency_key=name)
    again = await app.ask("PATCH", path, {"name": "First"}, token=ada.token, idempotency_key="First")
    assert (again.status, again.json["name"]) == (200, "First")
    assert (await app.ask("GET", path, token=ada.token)).json["name"] == "Second"
    assert (await app.ask("PATCH", path, {}, token=ada.token)).json["name"] == "Second"
    assert (await app.ask("PATCH", path, {"name": "\t"}, token=ada.token)).status == 400


@pytest.mark.parametrize("level", ["read", "write"])
async def test_rename_403(app: Running, box: Mailbox, level: str) -> None:
    """A member who is no admin sees the organization, and is told what is missing."""
    ada = await founder(app)
    org_id = await organization(app, ada)
    bob = await joined(app, box, ada, org_id, level)  # type: ignore[arg-type]
    answer = await app.ask("PATCH", f"/orgs/{org_id}", {"name": "x"}, token=bob.token)
    assert (answer.status, answer.code, answer.json["error"]["required_level"]) == (403, "missing_level", "admin")
    assert (await app.ask("GET", f"/orgs/{org_id}", token=bob.token)).json["level"] == level


@pytest.mark.parametrize("org_id", ["org_" + "0" * 32, "org_x", "user_" + "0" * 32, "x"])
async def test_show_404(app: Running, org_id: str) -> None:
    """One that is not there and one of others look the same."""
    ada, eve = await founder(app), await app.register()
    assert (await app.ask("GET", f"/orgs/{org_id}", token=ada.token)).code == "organization_not_found"
    own = await organization(app, ada)
    for method, path, body in (
        ("GET", "", None),
        ("PATCH", "", {"name": "x"}),
        ("GET", "/members", None),
        ("GET", "/invitations", None),
        ("POST", "/invite", {"email": "x@example.com"}),
        ("PATCH", f"/members/{ada.id}", {"level": "read"}),
        ("DELETE", f"/members/{ada.id}", None),
    ):
        answer = await app.ask(method, f"/orgs/{own}{path}", body, token=eve.token)
        assert (answer.status, answer.code) == (404, "organization_not_found"), path


async def test_a_key_of_a_person_sees_and_changes_nothing(app: Running) -> None:
    """It lists what its maker is a member of; to administer takes a login, or the organization's own key."""
    ada = await founder(app)
    org_id = await organization(app, ada)
    key = (await app.key(ada))["key"]
    assert (await app.ask("GET", f"/orgs/{org_id}", api_key=key)).json["level"] == "read"
    refused = await app.ask("PATCH", f"/orgs/{org_id}", {"name": "x"}, api_key=key)
    assert (refused.status, refused.code) == (403, "missing_level")


async def test_a_key_of_an_organization_sees_that_one(app: Running) -> None:
    """Another organization of its maker is not there for it."""
    ada = await founder(app)
    first, second = await organization(app, ada), await organization(app, ada)
    headers = {"X-Organization": first}
    made = await app.ask("POST", "/api-keys", {"name": "k"}, token=ada.token, headers=headers)
    key = made.json["key"]
    assert [each["id"] for each in (await app.ask("GET", "/orgs", api_key=key)).json["data"]] == [first]
    assert (await app.ask("PATCH", f"/orgs/{first}", {"name": "x"}, api_key=key)).status == 200
    assert (await app.ask("GET", f"/orgs/{second}", api_key=key)).status == 404


async def test_create_409(app: Running) -> None:
    """There is an end to them; a repeat of what was made is still answered."""
    ada = await founder(app)
    first = await app.ask("POST", "/orgs", {"name": "first"}, token=ada.token, idempotency_key="f")
    for number in range(MEMBERSHIPS_MAX - 1):
        await organization(app, ada, f"o{number}")
    refused = await app.ask("POST", "/orgs", {"name": "more"}, token=ada.token)
    assert (refused.status, refused.code) == (409, "too_many_organizations")
    again = await app.ask("POST", "/orgs", {"name": "first"}, token=ada.token, idempotency_key="f")
    assert (again.status, again.json) == (201, first.json)


async def test_create_as_many_as_the_plan_has_402(tmp_path: Path) -> None:
    """All at once or one by one: exactly as many, those that were left included, and a refusal that sells more."""
    most, path = 4, tmp_path / "limited.toml"
    path.write_text(SHIPPED.read_text("utf-8").replace("[plans.team]", f"[plans.team]\norganizations = {most}"))
    async with application(plans=load_plans(path)) as app:
        ada = await founder(app, "team")
        bodies = [{"name": f"No. {number}"} for number in range(most + 5)]
        answers = await asyncio.gather(*(app.ask("POST", "/orgs", body, token=ada.token) for body in bodies))
        made = [each.json["id"] for each in answers if each.status == 201]
        assert {each.code for each in answers if each.status != 201} <= {
            "organization_place_taken",
            "organizations_used_up",
        }
        while len(made) < most:
            made.append(await organization(app, ada))
        refused = await app.ask("POST", "/orgs", {"name": "One more"}, token=ada.token)
    assert (refused.status, refused.code) == (402, "organizations_used_up")
    error = refused.json["error"]
    assert (error["limit"], error["missing"], error["upgrade"]) == (most, {"organizations": 1}, ["enterprise"])
    assert len(made) == most


async def test_create_where_the_plan_has_none_402(tmp_path: Path) -> None:
    """Also to somebody who has made one on a better plan."""
    path = tmp_path / "none.toml"
    path.write_text(SHIPPED.read_text("utf-8").replace("[plans.team]", "[plans.team]\norganizations = 0"))
    async with application(plans=load_plans(path)) as app:
        ada = await founder(app, "enterprise")
        await organization(app, ada)
        await subscribe(app, ada.id, "team")
        refused = await app.ask("POST", "/orgs", {"name": "x"}, token=ada.token)
    assert (refused.status, refused.code) == (402, "organizations_used_up")
    assert refused.json["error"]["limit"] == 0
