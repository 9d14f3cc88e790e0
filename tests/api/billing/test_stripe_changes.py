"""Another plan or other seats in mid-period, at Stripe: granted is what was billed and paid of it, and no more."""

import random

import pytest

from tests.api.billing.paying import Shop
from tests.api.company import founder, organization
from tests.api.running import Person

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.usefixtures("quiet")]
DAY_S = 86_400


async def bought_days_ago(shop: Shop, days: int) -> tuple[Person, str]:
    """Somebody on the plan `pro` (20 credits for 20 dollars), of whose 30 days so many are over; nobody was told."""
    person = await shop.app.register()
    subscription: str = (await shop.bought(person, plan="pro"))["subscription"]
    thing = shop.stripe.things[subscription]
    item, invoice = thing["items"]["data"][0], shop.stripe.things[thing["latest_invoice"]]
    for period in (item, invoice["lines"]["data"][0]["period"]):
        for name in period:
            if name in ("current_period_start", "current_period_end", "start", "end"):
                period[name] -= days * DAY_S
    return person, subscription


async def balance(shop: Shop, person: Person) -> str:
    """What the account has once all is told."""
    await shop.tell_all()
    found: str = (await shop.credits(person))["balance"]
    return found


async def test_what_is_not_billed_is_not_granted(shop: Shop) -> None:
    """The new plan holds at once, with its seats; its credits begin with the period that is billed for it."""
    person, subscription = await bought_days_ago(shop, 1)
    assert await balance(shop, person) == "20.000000"
    shop.stripe.change(subscription, price="price_team", quantity=1_000, invoiced=False)
    assert await balance(shop, person) == "20.000000"
    found = await shop.subscription(person)
    assert (found["plan"], found["seats"], found["status"]) == ("team", 1_000, "active")
    shop.stripe.change(subscription, quantity=4, invoiced=False)
    shop.stripe.renew(subscription)
    assert await balance(shop, person) == "80.000000"


async def test_the_rest_of_a_period_is_granted_as_it_was_billed(shop: Shop) -> None:
    """Half of a period costs half, and has half of the credits; a refund of it takes them and no more."""
    person, subscription = await bought_days_ago(shop, 15)
    shop.stripe.change(subscription, price="price_team", quantity=4)
    assert await balance(shop, person) == "40.000000"
    latest = shop.stripe.things[subscription]["latest_invoice"]
    (paid,) = shop.stripe.all("invoice_payment", invoice=latest)
    shop.stripe.refund(paid["payment_intent"])
    assert await balance(shop, person) == "20.000000"


async def test_a_thousand_seats_on_the_last_day(shop: Shop) -> None:
    """In however many steps, and back: there is nothing to be gained by it."""
    person, subscription = await bought_days_ago(shop, 27)
    for quantity in (999, 1_000, 1, 1_000):
        shop.stripe.change(subscription, price="price_team", quantity=quantity)
        await shop.tell(shop.stripe.events[-1])
    # A tenth of 15,000 dollars less a tenth of the 20 that were paid for the whole.
    assert await balance(shop, person) == "1518.000000"


async def test_a_change_that_was_billed_says_nothing_of_the_one_before(shop: Shop) -> None:
    """An invoice of the difference to what nobody has paid pays for none of it."""
    person = await shop.app.register()
    subscription = (await shop.bought(person, plan="team", seats=1))["subscription"]
    shop.stripe.change(subscription, price="price_team", quantity=1_000, invoiced=False)
    shop.stripe.change(subscription, price="price_team", quantity=1_000)
    assert await balance(shop, person) == "15.000000"


@pytest.mark.parametrize("seed", range(2))
async def test_whoever_hears_of_it_and_when(shop: Shop, seed: int) -> None:
    """All at once, late, twice and in any order: the same credits as told step by step."""
    person, subscription = await bought_days_ago(shop, 10)
    for quantity in (3, 8):
        shop.stripe.change(subscription, price="price_team", quantity=quantity)
    events = shop.stripe.events * 2
    random.Random(seed).shuffle(events)
    for event in events:
        assert (await shop.tell(event)).status == 200
    # The plan's 20 for the whole, and two thirds of what eight seats have more.
    assert (await shop.credits(person))["balance"] == "86.670000"


async def test_an_invoice_of_many_lines(shop: Shop) -> None:
    """Stripe shows ten of them; what was billed afterwards for a period that is over grants nothing."""
    person, subscription = await bought_days_ago(shop, 10)
    assert await balance(shop, person) == "20.000000"
    shop.stripe.change(subscription, price="price_team", quantity=2, invoiced=False)
    shop.stripe.renew(subscription)
    invoice = shop.stripe.things[shop.stripe.things[subscription]["latest_invoice"]]
    (whole,) = invoice["lines"]["data"]
    before = {"start": whole["period"]["start"] - DAY_S, "end": whole["period"]["start"]}
    invoice["lines"]["data"] = [{**whole, "quantity": 9, "amount": 100, "period": before} for _ in range(12)] + [whole]
    assert await balance(shop, person) == "50.000000"
    (paid,) = shop.stripe.all("invoice_payment", invoice=invoice["id"])
    shop.stripe.refund(paid["payment_intent"])
    assert await balance(shop, person) == "20.000000"


async def test_a_change_that_is_told_after_the_end(shop: Shop) -> None:
    """It was paid before the subscription was canceled, so it is granted, and a refund of it takes that and no more."""
    person, subscription = await bought_days_ago(shop, 0)
    assert await balance(shop, person) == "20.000000"
    shop.stripe.change(subscription, price="price_team", quantity=4)
    (paid,) = shop.stripe.all("invoice_payment", invoice=shop.stripe.things[subscription]["latest_invoice"])
    shop.stripe.cancel(subscription)
    for _ in range(2):
        assert await balance(shop, person) == "60.000000"
    assert (await shop.subscription(person))["status"] == "canceled"
    shop.stripe.refund(paid["payment_intent"])
    assert await balance(shop, person) == "20.000000"


async def test_a_trial_of_a_thousand_seats(shop: Shop) -> None:
    """It has its seats, the credits of one, and none of a dearer plan; all of them come with its first money."""
    person = await shop.app.register()
    subscription = (await shop.bought(person, plan="crew", seats=1_000))["subscription"]
    assert await balance(shop, person) == "15.000000"
    found = await shop.subscription(person)
    assert (found["plan"], found["seats"], found["status"]) == ("crew", 1_000, "trialing")
    shop.stripe.change(subscription, price="price_team", quantity=2_000, invoiced=False)
    assert await balance(shop, person) == "15.000000"
    shop.stripe.change(subscription, price="price_crew", quantity=3, invoiced=False)
    shop.stripe.renew(subscription, paid=None)
    assert await balance(shop, person) == "15.000000"
    shop.stripe.collect(subscription)
    # Three seats' beside those of the trial, which run out with it.
    assert await balance(shop, person) == "60.000000"


async def test_a_trial_is_a_persons_own(shop: Shop) -> None:
    """An organization has none, or who makes ten of them tries ten times, each time with credits."""
    person = await founder(shop.app)
    headers = {"X-Organization": await organization(shop.app, person)}
    begun = await shop.begin(person, plan="crew", seats=2, headers=headers)
    assert begun.status == 200, begun
    shop.stripe.pay(begun.json["session_id"])
    await shop.tell_all()
    found = await shop.app.ask("GET", "/billing/subscription", token=person.token, headers=headers)
    assert (found.json["plan"], found.json["status"], found.json["seats"]) == ("crew", "active", 2)
