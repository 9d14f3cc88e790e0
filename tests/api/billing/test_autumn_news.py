"""What Autumn tells, over HTTP: top-ups, seats, webhooks in any order and twice, refunds, and the end of a plan."""

import json
import random
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
import pytest_asyncio

from api.billing.looks import BillingLooks
from api.billing.settings import BillingSettings
from api.errors import ApiError
from api.plans import Plans, TopUp, load_plans
from domain.instant import SECOND
from domain.money import MICRO
from tests.api.running import Answer, Person, Running, application
from tests.autumn import SECRET_KEY, AutumnServer, running_autumn, subscription

PAGES = {"success_url": "https://shop.example/paid", "cancel_url": "https://shop.example/plans"}
WEBHOOK = "/billing/webhooks/autumn"
OLD, NEW = "whsec_b2xkLXNlY3JldC1vZi15ZXN0ZXJkYXk=", "whsec_bmV3LXNlY3JldC1vZi10aGlzLXdlZWs="
BODY = b'{"type":"billing.updated","data":{"customer_id":"user_1"}}'


LINE: dict[str, Any] = {
    "id": "line",
    "description": "Pro",
    "plan_id": "pro",
    "amount": 20,
    "quantity": None,
    "feature_id": None,
    "feature_name": None,
    "period_start": 1_800_000_000_000,
    "period_end": 1_802_592_000_000,
    "entities": [],
}
"""A month of pro on an invoice."""


class Shop:
    """The application and Autumn."""

    def __init__(self, app: Running, autumn: AutumnServer) -> None:
        self.app = app
        self.autumn = autumn
        self.told = 0

    async def begin(self, person: Person, **what: object) -> Answer:
        """Begins a purchase."""
        return await self.app.ask("POST", "/billing/checkout", PAGES | what, token=person.token)

    async def process(self, person: Person, session_id: str, **more: object) -> Answer:
        """Comes back from the page."""
        body = {"session_id": session_id} | more
        return await self.app.ask("POST", "/billing/checkout/process", body, token=person.token)

    async def tell(
        self, customer: str, *, kind: str = "billing.updated", message_id: str | None = None, secret: str = NEW
    ) -> Answer:
        """Delivers a webhook about a customer: a new one, unless it is named."""
        self.told += 1
        body = json.dumps({"type": kind, "data": {"object": kind, "customer_id": customer}}).encode()
        name = message_id or f"msg_{self.told}"
        headers = self.autumn.webhook(secret, body, message_id=name, at_s=int(time.time()))
        return await self.app.post(WEBHOOK, body, {"Content-Type": "application/json"} | headers)

    async def balance(self, person: Person) -> tuple[str, str]:
        """Balance and debt."""
        credits = (await self.app.ask("GET", "/billing/credits", token=person.token)).json
        return credits["balance"], credits["debt"]

    async def plan(self, person: Person) -> tuple[str, str, int | None]:
        """Plan, status and seats."""
        found = (await self.app.ask("GET", "/billing/subscription", token=person.token)).json
        return found["plan"], found["status"], found["seats"]


@asynccontextmanager
async def shop_open() -> AsyncIterator[Shop]:
    """An application that sells with Autumn: the shipped plans, and a pack of 110 credits for 100 dollars."""
    shipped = load_plans()
    pack = TopUp(id="bonus", title="110 credits", price=100 * MICRO, credits=110 * MICRO)
    hidden = TopUp(id="pro", title="Named like a plan", price=MICRO, credits=MICRO)
    plans = Plans(dict(shipped), features=shipped.features, top_ups={"bonus": pack, "pro": hidden})
    async with running_autumn() as server:
        server.plans = ["pro", "team", "bonus"]
        server.features = {"team": ["seats"]}
        billing = BillingSettings(
            provider="autumn",
            autumn_secret_key=SECRET_KEY,
            autumn_api_url=server.url,
            autumn_webhook_secrets=(OLD, NEW),
        )
        async with application(billing=billing, plans=plans) as app:
            yield Shop(app, server)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shop() -> AsyncIterator[Shop]:
    """One application for this module's tests, which gives Autumn the time that a busy machine takes."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("api.billing.autumn_client.CALL_S", 60.0)
        async with shop_open() as opened:
            yield opened


pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_a_top_up_200(shop: Shop) -> None:
    """The page is Autumn's; unpaid it is 402; paid its credits come once, whoever says so first and how often."""
    person = await shop.app.register()
    begun = await shop.begin(person, top_up="bonus")
    assert (begun.status, begun.json["url"]) == (200, f"https://checkout.example.com/{person.id}/bonus")
    session_id = begun.json["session_id"]
    assert (await shop.process(person, session_id)).code == "session_unpaid"
    shop.autumn.pay(person.id, "bonus")
    assert (await shop.process(person, session_id, amount="1000")).code == "amount_mismatch"
    for _ in range(2):
        answer = await shop.process(person, session_id, amount="110")
        assert (answer.status, answer.json["kind"], answer.json["credits"]) == (200, "top_up", "110.000000")
        assert (await shop.tell(person.id)).json == {"received": True, "told": 1}
    assert await shop.balance(person) == ("110.000000", "0.000000")
    assert (await shop.begin(person, top_up="bonus")).status == 200, "another one can be bought"


async def test_an_older_payment_is_not_another_purchase(shop: Shop) -> None:
    """Who opens a second page and does not pay has bought once."""
    person = await shop.app.register()
    shop.autumn.customers[person.id] = []
    shop.autumn.pay(person.id, "bonus", created_at=(int(time.time()) - 3_600) * 1_000)
    session_id = (await shop.begin(person, top_up="bonus")).json["session_id"]
    assert (await shop.process(person, session_id)).code == "session_unpaid"
    assert (await shop.process(person, "autumn_bonus_x")).code == "session_not_yours"
    assert (await shop.process(person, f"autumn_{'x' * 100}_1")).code == "session_not_yours"
    await shop.tell(person.id)
    assert await shop.balance(person) == ("110.000000", "0.000000")


@pytest.mark.parametrize(
    "fields", [{"status": "open"}, {"currency": "eur"}, {"plan_ids": ["pro"]}, {"amount_paid": float("inf")}]
)
async def test_what_is_no_payment_of_a_top_up_grants_nothing(shop: Shop, fields: dict[str, Any]) -> None:
    """Unpaid, in another currency, for something else, no amount at all."""
    person = await shop.app.register()
    shop.autumn.customers[person.id] = []
    shop.autumn.pay(person.id, "bonus", **fields)
    assert (await shop.tell(person.id)).json == {"received": True, "told": 0}
    assert await shop.balance(person) == ("0.000000", "0.000000")


async def test_seats(shop: Shop) -> None:
    """Seats are bought with the plan; how many there are, and the credits for them, is what Autumn says."""
    person = await shop.app.register()
    assert (await shop.begin(person, plan="team", seats=3)).status == 200
    assert shop.autumn.attached[-1]["feature_quantities"] == [{"feature_id": "seats", "quantity": 3}]
    shop.autumn.seats[person.id] = 3
    shop.autumn.customers[person.id] = [subscription("team")]
    assert (await shop.process(person, "autumn_team")).json["plan"] == "team"
    assert await shop.plan(person) == ("team", "active", 3)
    before = await shop.balance(person)
    shop.autumn.seats[person.id] = 5
    await shop.tell(person.id)
    assert await shop.plan(person) == ("team", "active", 5)
    assert await shop.balance(person) > before
    assert (await shop.begin(person, top_up="pro")).code == "not_for_sale"


async def test_a_trial_of_many_seats(shop: Shop) -> None:
    """It has the seats, and the credits of one: the others' come with the money."""
    person = await shop.app.register()
    shop.autumn.seats[person.id] = 1_000
    shop.autumn.customers[person.id] = [subscription("team", trial_ends_at=int(time.time()) * 1_000 + 86_400_000)]
    await shop.tell(person.id)
    assert await shop.plan(person) == ("team", "trialing", 1_000)
    assert await shop.balance(person) == ("15.000000", "0.000000")
    shop.autumn.customers[person.id] = [subscription("team")]
    shop.autumn.seats[person.id] = 2
    await shop.tell(person.id)
    assert await shop.balance(person) == ("30.000000", "0.000000")


async def test_a_plan_s_life_by_webhooks_alone(shop: Shop) -> None:
    """Begun, past due, changed, ended: each is what Autumn shows then; late and repeated messages change nothing."""
    person = await shop.app.register()
    steps: list[tuple[list[dict[str, object]], tuple[str, str, int | None]]] = [
        ([subscription("pro")], ("pro", "active", 1)),
        ([subscription("pro", past_due=True)], ("pro", "past_due", 1)),
        ([subscription("pro")], ("pro", "active", 1)),
        ([subscription("team", started_at=1_800_000_000_001), subscription("pro")], ("team", "active", 1)),
        ([], ("team", "canceled", 1)),
        ([subscription("hobby", auto_enable=True), subscription("extra", add_on=True)], ("team", "canceled", 1)),
        ([subscription("pro", id="sub_again")], ("pro", "active", 1)),
    ]
    for number, (shown, expected) in enumerate(steps):
        shop.autumn.customers[person.id] = shown
        for message_id in (f"step-{number}", f"step-{number}", f"step-{max(number - 2, 0)}"):
            assert (await shop.tell(person.id, message_id=message_id)).status == 200
        plan, status, _ = await shop.plan(person)
        assert (plan, status) == expected[:2], number
    assert (await shop.balance(person))[1] == "0.000000"


async def test_what_somebody_else_has_confirmed_is_not_ended(shop: Shop) -> None:
    """A plan by `PUT /billing/subscription` is not Autumn's to end."""
    person, admin = await shop.app.register(), await shop.app.admin()
    told = {"account_id": person.id, "plan": "pro", "status": "active", "reference": "by hand"}
    told |= {"occurred_at": "2026-01-01T00:00:00Z"}
    assert (await shop.app.ask("PUT", "/billing/subscription", told, token=admin.token)).status == 200
    assert (await shop.tell(person.id)).json["told"] == 0
    assert (await shop.plan(person))[:2] == ("pro", "active")


async def test_a_plan_that_the_file_does_not_have_409(shop: Shop) -> None:
    """The message comes again until the plan file has it; what the account has stays."""
    person = await shop.app.register()
    shop.autumn.customers[person.id] = [subscription("pro")]
    await shop.tell(person.id)
    shop.autumn.customers[person.id] = [subscription("secret_plan")]
    answer = await shop.tell(person.id)
    assert (answer.status, answer.code) == (409, "plan_unknown")
    assert (await shop.plan(person))[:2] == ("pro", "active")


async def test_refunds_of_a_top_up(shop: Shop) -> None:
    """In proportion, the sum of all refunds once each; also of a payment that was refunded before it was told of."""
    person = await shop.app.register()
    shop.autumn.customers[person.id] = []
    paid = shop.autumn.pay(person.id, "bonus")
    for refunded, balance in ((33.33, "73.337000"), (33.33, "73.337000"), (50, "55.000000"), (100.0, "0.000000")):
        paid["refunded_amount"] = refunded
        for _ in range(2):
            assert (await shop.tell(person.id, kind="invoice.finalized")).status == 200
        assert await shop.balance(person) == (balance, "0.000000")


async def test_a_plan_that_is_refunded_loses_its_credits(shop: Shop) -> None:
    """A part of the month's payment takes that part of the month's credits."""
    person = await shop.app.register()
    shop.autumn.customers[person.id] = [subscription("pro")]
    paid = shop.autumn.pay(person.id, "pro", dollars=20, items=[LINE])
    await shop.tell(person.id)
    assert await shop.balance(person) == ("20.000000", "0.000000")
    paid["refunded_amount"] = 5
    await shop.tell(person.id)
    await shop.tell(person.id)
    assert await shop.balance(person) == ("15.000000", "0.000000")


async def test_what_nobody_tells_is_looked_for(shop: Shop) -> None:
    """A purchase and a renewal whose messages were lost, and refunds, for which Autumn sends none: once each."""
    looks, autumn = BillingLooks(shop.app.services), shop.autumn
    autumn.invoices.clear()
    buyer, tenant, other = [await shop.app.register() for _ in range(3)]
    for person in (buyer, tenant, other):
        autumn.customers[person.id] = []
    bought = autumn.pay(buyer.id, "bonus")
    autumn.pay("somebody", "bonus")
    autumn.customers[tenant.id] = [subscription("pro")]
    autumn.pay(tenant.id, "pro", dollars=20, items=[LINE])
    for _ in range(2):
        await looks.step()
        assert await shop.balance(buyer) == ("110.000000", "0.000000")
        assert (await shop.plan(tenant))[:2] == ("pro", "active")
    asked = autumn.asked["/v1/customers.get"]
    await looks.step()
    assert autumn.asked["/v1/customers.get"] == asked, "only what is new is asked about"
    bought["refunded_amount"] = 50
    autumn.down = True
    with pytest.raises(ApiError):
        await looks.step()
    autumn.down = False
    for _ in range(2):
        await looks.step()
        assert await shop.balance(buyer) == ("55.000000", "0.000000")
    assert await shop.balance(tenant) == ("20.000000", "0.000000")


async def test_each_look_is_news(shop: Shop) -> None:
    """Two looks soon after each other find a plan and then more seats: both are told, though no message came."""
    looks, person = BillingLooks(shop.app.services), await shop.app.register()
    shop.autumn.invoices.clear()
    for seats in (2, 3):
        shop.autumn.customers[person.id] = [subscription("team", id="the_same", quantity=seats)]
        shop.autumn.pay(person.id, "team", dollars=20)
        await looks.step()
        assert await shop.plan(person) == ("team", "active", seats)


async def test_a_refund_asked_for_first_and_answered_last(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of two that ask at once, one may hear of less after the other has asked: all that was refunded is taken."""
    person, now = await shop.app.register(), int(time.time()) * SECOND
    shop.autumn.customers[person.id] = []
    paid = shop.autumn.pay(person.id, "bonus")
    for refunded, asked_at in ((30, now), (50, now - SECOND)):
        paid["refunded_amount"] = refunded
        monkeypatch.setattr(shop.app.services.billing, "_clock", lambda at=asked_at: at)
        assert (await shop.tell(person.id)).status == 200
    assert await shop.balance(person) == ("55.000000", "0.000000")


async def test_a_plan_that_was_over_before_anybody_heard(shop: Shop) -> None:
    """Bought, refunded and ended while nothing could be told: it granted nothing, and makes no debt."""
    person = await shop.app.register()
    shop.autumn.customers[person.id] = []
    shop.autumn.pay(person.id, "pro", dollars=20, items=[LINE], refunded_amount=20)
    assert (await shop.tell(person.id)).json["told"] == 0
    assert await shop.balance(person) == ("0.000000", "0.000000")


@pytest.mark.parametrize("seed", range(2))
async def test_messages_in_any_order_while_it_goes_on(shop: Shop, seed: int) -> None:
    """Bought, bought again, refunded, a plan begun and ended, with messages lost, late and twice: one end."""
    order, person = random.Random(seed), await shop.app.register()
    shop.autumn.customers[person.id] = []
    steps: list[Callable[[], object]] = [
        lambda: shop.autumn.pay(person.id, "bonus"),
        lambda: shop.autumn.customers.update({person.id: [subscription("pro")]}),
        lambda: shop.autumn.pay(person.id, "bonus"),
        lambda: shop.autumn.invoices[person.id][0].update(refunded_amount=100),
        lambda: shop.autumn.customers.update({person.id: []}),
    ]
    sent = []
    for number, step in enumerate(steps):
        step()
        sent.append(f"{person.id}-{number}")
        for message_id in order.sample(sent, k=order.randint(0, len(sent))):
            assert (await shop.tell(person.id, message_id=message_id)).status == 200
    for message_id in [*sent, *sent, "the last"]:
        assert (await shop.tell(person.id, message_id=f"{message_id}+")).status == 200
    plan = await shop.plan(person)
    assert plan[0] == "free" or plan[1] == "canceled"
    balance, debt = await shop.balance(person)
    assert (balance, debt) in {("110.000000", "0.000000"), ("130.000000", "0.000000")}, "the plan's, where it was told"


async def test_autumn_is_away_503(shop: Shop) -> None:
    """A message is not taken before Autumn has said what it is about; it comes again, and counts once."""
    person = await shop.app.register()
    shop.autumn.customers[person.id] = []
    shop.autumn.pay(person.id, "bonus")
    shop.autumn.down = True
    for answer in (
        await shop.tell(person.id, message_id="held up"),
        await shop.begin(person, top_up="bonus"),
        await shop.process(person, f"autumn_bonus_{int(time.time())}"),
    ):
        assert (answer.status, answer.code, answer.headers["retry-after"]) == (503, "billing_unavailable", "5")
    shop.autumn.down = False
    for _ in range(2):
        assert (await shop.tell(person.id, message_id="held up")).status == 200
    assert await shop.balance(person) == ("110.000000", "0.000000")


async def test_what_is_nothing_here_200(shop: Shop) -> None:
    """Other customers and other events are taken; only what may matter is looked up."""
    shop.autumn.customers["somebody"] = [subscription("pro")]
    assert (await shop.tell("somebody")).json == {"received": True, "told": 0}
    asked = sum(shop.autumn.asked.values())
    assert (await shop.tell("somebody", kind="balances.limit_reached")).json == {"received": True, "told": 0}
    assert sum(shop.autumn.asked.values()) == asked


async def test_a_wrong_signature_400(shop: Shop) -> None:
    """Nothing is looked up for what nobody signed; both secrets are good while one takes the other's place."""
    person = await shop.app.register()
    assert (await shop.tell(person.id, secret=OLD)).status == 200
    asked = sum(shop.autumn.asked.values())
    answer = await shop.tell(person.id, secret="whsec_c29tZWJvZHktZWxzZSdzLXNlY3JldA==")
    assert (answer.status, answer.code) == (400, "invalid_signature")
    assert (await shop.app.post(WEBHOOK, BODY, {})).code == "invalid_signature"
    assert (await shop.app.post(WEBHOOK, b"x" * 600_000, {})).code == "body_too_large"
    assert sum(shop.autumn.asked.values()) == asked
