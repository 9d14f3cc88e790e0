"""Payments as they are listed, and as accounts are reminded of those that they have forgotten."""

import pytest
from msgspec import structs

from api.billing.provider import Told
from api.billing.recalling import reminded
from domain.account import payments as domain_payments
from domain.account.payments import RefundPayment
from domain.message import Command
from projections import payments, payments_told
from projections.payments import list_payments
from tests.domain.account.test_paid_twice import paid, refund
from tests.projections.histories import folded, history
from tests.worker.bench import Bench

STREAM, ACCOUNT = "account:a1", "a1"


@pytest.mark.parametrize("seed", range(8))
def test_payments_are_those_of_the_account(seed: int) -> None:
    """The same facts, and as many of them as the account counts: by that it knows whether it is told all."""
    scenario, recorded = history(seed, 150)
    known = scenario.state.payments
    assert {key: view.payment for key, view in folded(payments.PROJECTION, recorded).items()} == known.by_id
    counted = [view.told for view in folded(payments_told.PROJECTION, recorded).values()]
    assert counted == ([known.told] if known.told else [])


async def _said(bench: Bench, command: Command) -> None:
    (told,) = await reminded(bench.documents, 1, [Told(account_id=ACCOUNT, command=command, command_id="told")])
    await bench.send(STREAM, told.command)
    await bench.run()


async def test_what_the_account_has_forgotten_is_read_and_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """An old payment and the other one for its period: both are remembered for what leaves of either."""
    monkeypatch.setattr(domain_payments, "PAYMENTS_MAX", 3)
    monkeypatch.setattr("api.billing.recalling.PAYMENTS_MAX", 3)
    bench = Bench(shards=1)
    for name in ("one", "two"):
        await _said(bench, paid(name))
    for number in range(5):
        await _said(bench, structs.replace(paid(f"later_{number}", paid("x").occurred_at), period=None))
    for name, taken in (("two", 0), ("one", 2_000)):
        await _said(bench, refund(name, 100))
        listed = {view.id: view.payment for view in (await _listed(bench))}
        assert (listed["one"].taken + listed["two"].taken, listed[name].refunded_cents) == (taken, 100)


async def test_what_was_heard_before_the_purchase_is_told_with_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """A refund that was known alone, and another payment for the same period, both forgotten: neither is lost."""
    monkeypatch.setattr(domain_payments, "PAYMENTS_MAX", 3)
    monkeypatch.setattr("api.billing.recalling.PAYMENTS_MAX", 3)
    bench = Bench(shards=1)
    await _said(bench, paid("one"))
    await _said(bench, refund("one", 100))
    await _said(bench, refund("two", 100))
    for number in range(5):
        await _said(bench, refund(f"later_{number}", 1))
    await _said(bench, paid("two"))
    await _said(bench, paid("three"))
    listed = {view.id: view.payment for view in await _listed(bench)}
    # Two of three are refunded: the third stands for the period, and what was taken comes back.
    assert sum(each.taken for each in listed.values()) == 0
    assert all(each.bought is not None for name, each in listed.items() if name in ("one", "two", "three"))


async def _listed(bench: Bench) -> list[payments.PaymentView]:
    return list((await list_payments(bench.documents, 1, ACCOUNT, limit=50)).items)


async def test_nothing_is_read_while_nothing_can_be_forgotten() -> None:
    """Nearly always: the news go as they are."""
    bench = Bench(shards=1)
    news = Told(account_id=ACCOUNT, command=refund("one", 5), command_id="told")
    assert await reminded(bench.documents, 1, [news]) == [news]
    assert isinstance(news.command, RefundPayment)
