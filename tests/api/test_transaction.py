"""A transaction explained: whatever moved the balance is traced to its request, prices, grants, commands and events."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from domain.account.holds import PlaceHold, ReleaseHold, ReportProgress, SettleHold, Sweep
from domain.account.payments import ConfirmPayment, RefundPayment
from domain.account.usage import Price, Usage
from domain.instant import DAY, MINUTE
from domain.money import parse_credits
from tests.api.clock import Clock
from tests.api.running import Person, Running, application
from tests.domain.account.asking import add
from tests.domain.account.subscribing import news
from tests.domain.scenario import T0

pytestmark = pytest.mark.asyncio(loop_scope="module")

PRICE = Price(input=1_250_000, cached_input=125_000, output=10_000_001, version="list-7")
USAGE = Usage(source="provider", input=8, cached=4, cache_write=2, output=32, reasoning=1)
EXACT, COST = "0.000343000033", "0.000344"
"""(8 + 2) × 1.25 + 4 × 0.125 + (32 + 1) × 10.000001 millionths, and that rounded up."""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def app(clock: Clock) -> AsyncIterator[Running]:
    """A running application."""
    async with application(clock=clock) as running:
        yield running


async def someone(app: Running, *grants: int) -> Person:
    """A new user with credits, in one grant each."""
    person = await app.register()
    for number, amount in enumerate(grants):
        await app.command(f"account:{person.id}", add(f"grant_{person.id[-6:]}{number}", amount))
    return person


async def hold(app: Running, person: Person, name: str, amount: int = 400) -> str:
    """An open hold of a minute."""
    hold_id = f"hold_{name}_{person.id[-6:]}"
    command = PlaceHold(
        hold_id=hold_id,
        amount=amount,
        amount_min=amount,
        model="m",
        price=PRICE,
        expires_at=app.services.clock() + MINUTE,
        key_id="key_1",
    )
    await app.command(f"account:{person.id}", command)
    return hold_id


async def settle(app: Running, person: Person, hold_id: str, usage: Usage = USAGE) -> None:
    """Charges it."""
    command = SettleHold(hold_id=hold_id, usage=usage, latency_ms=1_234, request_id="req_7")
    await app.command(f"account:{person.id}", command)


async def listed(app: Running, person: Person) -> list[Any]:
    """Its transactions, newest first."""
    answer = await app.ask("GET", "/billing/credits/transactions", token=person.token)
    found: list[Any] = answer.json["data"]
    return found


async def explained(app: Running, person: Person, transaction_id: str) -> Any:
    """The answer's body."""
    answer = await app.ask("GET", f"/billing/credits/transactions/{transaction_id}", token=person.token)
    assert answer.status == 200, answer
    return answer.json


async def test_a_charge_200(app: Running) -> None:
    """Its tokens by kind add up to its cost, at the prices of its hold; the grants that paid are named."""
    person = await someone(app, 300, 10_000)
    hold_id = await hold(app, person, "charge")
    await settle(app, person, hold_id)
    charge = (await listed(app, person))[0]
    body = await explained(app, person, charge["id"])
    assert body["transaction"] == charge
    assert body["transaction"]["request_id"] == "req_7"
    shown = body["hold"]
    assert (shown["id"], shown["status"], shown["latency_ms"]) == (hold_id, "settled", 1_234)
    assert (shown["request_id"], shown["api_key_id"]) == ("req_7", "key_1")
    assert shown["prices"] == {
        "version": "list-7",
        "tier": None,
        "input": "1.250000",
        "cached_input": "0.125000",
        "output": "10.000001",
        "audio_input": None,
        "audio_output": None,
        "cache_write": None,
        "request": "0.000000",
    }
    assert [(each["kind"], each["tokens"], each["cost"]) for each in body["charge"]["tokens"]] == [
        ("input", 8, "0.000010000000"),
        ("cached", 4, "0.000000500000"),
        ("cache_write", 2, "0.000002500000"),
        ("output", 32, "0.000320000032"),
        ("reasoning", 1, "0.000010000001"),
    ]
    assert (body["charge"]["exact"], body["charge"]["cost"], body["charge"]["usage"]["source"]) == (
        EXACT,
        COST,
        "provider",
    )
    assert [each["amount"] for each in body["burnt"]] == ["0.000300", "0.000044"]
    for burn in body["burnt"]:
        grant = await explained(app, person, burn["transaction_id"])
        assert grant["grant"]["id"] == burn["grant_id"]
    assert (body["correction"], body["grant"]) == (None, None)


async def test_events_200(app: Running) -> None:
    """Each event is named by its place, and by the command and whoever sent it."""
    person = await someone(app, 10_000)
    await settle(app, person, await hold(app, person, "events"))
    body = await explained(app, person, (await listed(app, person))[0]["id"])
    placed, closed = body["events"]
    assert (placed["type"], closed["type"]) == ("hold.placed", "hold.closed")
    assert (placed["version"], closed["version"]) == (2, 3)
    assert closed["id"] == f"account:{person.id}/3"
    stored = app.store._log[closed["shard"]][closed["sequence"] - 1]
    assert (stored.stream, stored.version) == (closed["stream"], closed["version"])
    assert placed["command_id"] != closed["command_id"]
    assert (placed["command"], closed["command"]) == ("hold.place", "hold.settle")
    assert closed["actor"] == {"kind": "system", "id": "operator", "key_id": None}


async def test_a_correction_200(app: Running, clock: Clock) -> None:
    """An expired hold's charge and its correction tell the same story, whichever is asked for."""
    person = await someone(app, 10_000)
    hold_id = await hold(app, person, "late")
    seen = Usage(source="estimated", output=10)
    await app.command(f"account:{person.id}", ReportProgress(hold_id=hold_id, usage=seen))
    with clock.moved(2 * MINUTE):
        await settle(app, person, hold_id)
    correction, charge, _grant = await listed(app, person)
    assert (correction["kind"], charge["kind"]) == ("correction", "charge")
    late, early = await explained(app, person, correction["id"]), await explained(app, person, charge["id"])
    for part in ("events", "hold", "charge", "correction"):
        assert late[part] == early[part]
    assert [each["type"] for each in late["events"]] == ["hold.placed", "hold.closed", "hold.corrected"]
    assert (late["hold"]["status"], late["charge"]["cost"]) == ("expired", "0.000101")
    assert late["charge"]["usage"]["source"] == "estimated"
    assert (late["correction"]["difference"], late["correction"]["usage"]["source"]) == ("0.000243", "provider")


async def test_debt_and_its_repayment_200(app: Running) -> None:
    """What a charge owed, and what a grant repaid."""
    person = await someone(app, 100)
    await settle(app, person, await hold(app, person, "debt", 100))
    charge = await explained(app, person, (await listed(app, person))[0]["id"])
    assert (charge["charge"]["charged"], charge["charge"]["owed"]) == ("0.000100", "0.000244")
    await app.command(f"account:{person.id}", add(f"grant_{person.id}", 1_000))
    grant = await explained(app, person, (await listed(app, person))[0]["id"])
    assert (grant["grant"]["amount"], grant["grant"]["repaid"]) == ("0.001000", "0.000244")
    assert [each["type"] for each in grant["events"]] == ["credits.granted"]
    assert (grant["hold"], grant["charge"], grant["burnt"]) == (None, None, [])


async def test_debt_repaid_at_once_200(app: Running) -> None:
    """A hold that ends sets credits free that are owed already."""
    person = await someone(app, 500)
    first, second = await hold(app, person, "one", 100), await hold(app, person, "two", 400)
    await settle(app, person, first)
    await app.command(f"account:{person.id}", ReleaseHold(hold_id=second, reason="failed"))
    repayment = (await listed(app, person))[0]
    body = await explained(app, person, repayment["id"])
    assert (repayment["kind"], [each["type"] for each in body["events"]]) == ("repayment", ["credits.debt_repaid"])
    assert [each["amount"] for each in body["burnt"]] == ["0.000244"]


async def test_an_expiry_200(app: Running, clock: Clock) -> None:
    """Credits that ran out are traced to the grant that they were left of."""
    person = await someone(app)
    granted = add(f"grant_{person.id}", 700, expires_at=clock() + DAY)
    await app.command(f"account:{person.id}", granted)
    with clock.moved(2 * DAY):
        await app.command(f"account:{person.id}", Sweep())
    expiry = (await listed(app, person))[0]
    body = await explained(app, person, expiry["id"])
    assert (expiry["kind"], body["grant"]["reference"]) == ("expiry", granted.reference)
    assert [each["type"] for each in body["events"]] == ["credits.granted", "credits.grant_expired"]


async def test_a_claw_back_200(app: Running) -> None:
    """What a refund took is traced to it, to the payment's grant and to the grants that gave."""
    person = await someone(app, 50)
    stream, payment = f"account:{person.id}", f"pi_{person.id[-6:]}"
    bought = ConfirmPayment(
        payment_id=payment, grant_id=f"grant_{payment}", credits=100, paid_cents=100, occurred_at=T0
    )
    await app.command(stream, bought)
    grant = await explained(app, person, (await listed(app, person))[0]["id"])
    assert [each["type"] for each in grant["events"]] == ["payment.confirmed", "credits.granted"]
    await settle(app, person, await hold(app, person, "spends", 100), Usage(source="provider", cached=800))
    await app.command(stream, RefundPayment(payment_id=payment, refunded_cents=50, occurred_at=T0 + 1))
    claw_back = (await listed(app, person))[0]
    body = await explained(app, person, claw_back["id"])
    assert (claw_back["kind"], body["grant"]["id"]) == ("claw_back", bought.grant_id)
    assert [each["type"] for each in body["events"]] == ["credits.granted", "payment.refunded", "credits.taken_back"]
    assert sum(parse_credits(each["amount"]) for each in body["burnt"]) == 50
    await app.command(stream, RefundPayment(payment_id=payment, refunded_cents=0, occurred_at=T0 + 2))
    body = await explained(app, person, (await listed(app, person))[0]["id"])
    assert [each["type"] for each in body["events"]] == ["credits.granted", "payment.refunded", "credits.given_back"]


async def test_a_renewal_200(app: Running, clock: Clock) -> None:
    """A plan's credits are traced to the period that they were granted for."""
    person = await someone(app)
    await app.command(f"account:{person.id}", news(occurred_at=clock()))
    (first,) = await listed(app, person)
    body = await explained(app, person, first["id"])
    assert [each["type"] for each in body["events"]] == ["subscription.confirmed", "credits.granted"]
    with clock.moved(32 * DAY):
        # Its token is a month old then.
        await app.command(f"account:{person.id}", Sweep())
    renewed, _expired, _first = await listed(app, person)
    body = await explained(app, person, renewed["id"])
    assert (body["grant"]["source"], body["grant"]["amount"]) == ("plan", "0.002000")
    assert [each["type"] for each in body["events"]] == ["subscription.renewed", "credits.granted"]


async def test_404(app: Running) -> None:
    """Neither what never was nor what is another account's is there."""
    person, other = await someone(app, 100), await someone(app, 100)
    theirs = (await listed(app, other))[0]["id"]
    for name in ("txn_none", theirs, "x" * 500):
        answer = await app.ask("GET", f"/billing/credits/transactions/{name}", token=person.token)
        assert (answer.status, answer.code) == (404, "transaction_not_found")
