"""A company on a running application: its organization and its people."""

from typing import Any

from api.account_plan import terms_of
from domain.account.subscription import ConfirmSubscription
from domain.member import Level
from tests.api.mailbox import Mailbox
from tests.api.running import Answer, Person, Running


async def founder(app: Running, plan: str = "enterprise") -> Person:
    """A new user on a plan that has organizations."""
    person = await app.register()
    await subscribe(app, person.id, plan)
    return person


async def subscribe(app: Running, account_id: str, plan: str) -> None:
    """Puts an account on a plan, as the payment side would."""
    command = ConfirmSubscription(
        plan=plan, status="active", terms=terms_of(app.services.plans[plan]), occurred_at=1, reference=plan
    )
    await app.command(f"account:{account_id}", command)
    await app.until(lambda: f"account:{account_id}" not in app.services.identities.cache._of)


async def organization(app: Running, owner: Person, name: str = "Engines") -> str:
    """A new organization of the owner's; its id."""
    answer = await app.ask("POST", "/orgs", {"name": name}, token=owner.token)
    assert answer.status == 201, answer
    org_id: str = answer.json["id"]
    return org_id


async def invited(app: Running, box: Mailbox, admin: Person, org_id: str, email: str, level: Level) -> str:
    """The token of a new invitation, as it came by mail."""
    body = {"email": email, "level": level}
    answer = await app.ask("POST", f"/orgs/{org_id}/invite", body, token=admin.token)
    assert answer.status == 201, answer
    token: str = (await box.next_to(email, "invitation"))["data"]["token"]
    return token


async def accept(app: Running, person: Person, token: str) -> Answer:
    """The person accepts."""
    return await app.ask("POST", "/orgs/invitations/accept", {"token": token}, token=person.token)


async def joined(app: Running, box: Mailbox, admin: Person, org_id: str, level: Level) -> Person:
    """A new user who is a member now."""
    person = await app.register()
    answer = await accept(app, person, await invited(app, box, admin, org_id, person.email, level))
    assert (answer.status, answer.json["level"]) == (200, level), answer
    return person


async def as_org(app: Running, person: Person, org_id: str, method: str, path: str, body: Any = None) -> Answer:
    """A request of a person, acting for the organization."""
    return await app.ask(method, path, body, token=person.token, headers={"X-Organization": org_id})


def stored(app: Running) -> list[bytes]:
    """The bytes of all documents, and of the log: nothing personal is in plaintext there (I8)."""
    collections: Any = app.services.documents
    kept = [change.doc for each in collections._documents.values() for change in each.values() if change.doc]
    return kept + [record for shard in app.log.records for record in shard]
