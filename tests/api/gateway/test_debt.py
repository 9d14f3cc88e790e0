"""Debt at the gateway: shown apart, paid use refused meanwhile, and repaid first by what comes in."""

from domain.account.payments import ConfirmPayment, DisputePayment
from eventstore.clock import system_clock
from tests.api.gateway.place import Place

BOUGHT = 1_000_000


async def test_spent_credits_that_are_disputed(place: Place) -> None:
    """What is not there any more is owed: nothing paid runs, nor is called; free models do; the next grant repays."""
    account = await place.account("0")
    payment = f"pi_{account.id}"
    bought = ConfirmPayment(
        payment_id=payment, grant_id=f"grant_{payment}", credits=BOUGHT, paid_cents=100, occurred_at=system_clock()
    )
    await account.tell(bought)
    assert (await account.chat("Hello")).status == 200
    (spent,) = [hold.cost for hold in await account.ended()]
    disputed = DisputePayment(
        payment_id=payment, dispute_id="d", status="open", amount_cents=100, occurred_at=system_clock()
    )
    await account.tell(disputed)
    credits = await account.credits()
    assert (credits.balance, credits.debt) == (0, spent)

    assert (await account.chat("Hello")).status == 402, "that credits were ample a moment ago is not known any more"
    called = place.provider.ledger.counts.started
    refused = await account.chat("Hello")
    assert (refused.status, refused.error["code"]) == (402, "debt_outstanding")
    assert refused.error["debt"] == f"0.{spent:06d}"
    assert place.provider.ledger.counts.started == called
    assert (await account.chat("Hello", model="free")).status == 200

    await place.grant(account.id, "1")
    credits = await account.credits()
    assert (credits.balance, credits.debt) == (BOUGHT - spent, 0)
    assert (await account.chat("Hello")).status == 200


async def test_a_dispute_that_is_won_lets_paid_use_go_on(place: Place) -> None:
    """What was taken comes back into its grant, less what was owed."""
    account = await place.account("0")
    payment = f"pi_{account.id}"
    at = system_clock()
    bought = ConfirmPayment(
        payment_id=payment, grant_id=f"grant_{payment}", credits=BOUGHT, paid_cents=100, occurred_at=at
    )
    await account.tell(bought)
    assert (await account.chat("Hello")).status == 200
    (spent,) = [hold.cost for hold in await account.ended()]
    for number, status in enumerate(("open", "won")):
        news = DisputePayment(
            payment_id=payment,
            dispute_id="d",
            status=status,  # type: ignore[arg-type]  # one of its words
            amount_cents=100,
            occurred_at=at + number,
        )
        await account.tell(news)
    credits = await account.credits()
    assert (credits.balance, credits.debt) == (BOUGHT - spent, 0)
    assert (await account.chat("Hello")).status == 200
