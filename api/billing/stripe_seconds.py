"""Second subscriptions: what an account has bought beside a plan that it has is ended at once, and its money sent back.

Other pages are closed before one opens (`stripe_pages`), but one can be paid in that very moment. The subscription that
was there first stays, and it alone counts, whichever of them is told of, and in whatever order. What somebody has made
at Stripe by hand, or what has been renewed already, is theirs to judge.
"""

from collections.abc import Mapping, Sequence

import structlog

from api.billing.stripe_client import StripeClient, Thing
from api.billing.stripe_facts import ACCOUNT, account_of
from api.ids import derived

BOUGHT = "formstate_bought"
"""The metadata of subscriptions that a page of ours has made."""
INSTEAD = "formstate_second_of"
"""The metadata of one that is being ended: the subscription that stays."""
_ALIVE = frozenset({"trialing", "active", "past_due"})

_log = structlog.get_logger()


def bought_metadata(account_id: str) -> Mapping[str, str]:
    """What a subscription is known by as one that its account has bought on a page of ours."""
    return {ACCOUNT: account_id, BOUGHT: "checkout"}


def is_second(subscription: Thing) -> bool:
    """Whether it is being ended, or was, because there was another one: its money buys nothing."""
    return INSTEAD in (subscription.get("metadata") or {})


def seconds(subscriptions: Sequence[Thing], account_id: str) -> Sequence[tuple[Thing, str]]:
    """Those to be ended, each with the id of the one that stays: the first, by when they were made."""
    alive = sorted(
        (each for each in subscriptions if account_of(each) == account_id and each["status"] in _ALIVE),
        key=lambda each: (each["created"], each["id"]),
    )
    marked = [(each, str(each["metadata"][INSTEAD])) for each in alive if is_second(each)]
    counting = [each for each in alive if not is_second(each)]
    return [*marked, *((each, counting[0]["id"]) for each in counting[1:] if _just_bought(each))]


def _just_bought(subscription: Thing) -> bool:
    """Bought on a page of ours, and billed for nothing but its beginning."""
    invoice = subscription.get("latest_invoice")
    first_invoice = isinstance(invoice, Mapping) and invoice.get("billing_reason") == "subscription_create"
    return BOUGHT in subscription["metadata"] and (invoice is None or first_invoice)


def that_count(subscriptions: Sequence[Thing], account_id: str) -> Sequence[Thing]:
    """All but those that are, or were, second ones."""
    ended = {each["id"] for each, _ in seconds(subscriptions, account_id)}
    return [each for each in subscriptions if each["id"] not in ended and not is_second(each)]


async def end_seconds(stripe: StripeClient, subscriptions: Sequence[Thing], account_id: str) -> None:
    """Ends them. Safe to repeat after any step: marked first, so that it never counts, and canceled last.

    What is paid for one after its end, as by a transfer that takes days, is sent back too.
    """
    for each, stays in seconds(subscriptions, account_id):
        await stripe.mark(each["id"], {INSTEAD: stays})
        refunded = await _send_back(stripe, each)
        await stripe.cancel(each["id"])
        _log.error(
            "second_subscription_ended",
            account_id=account_id,
            subscription=each["id"],
            stays=stays,
            refunded=refunded,
        )
    for each in subscriptions:
        if is_second(each) and account_of(each) == account_id and each["status"] not in _ALIVE:
            await _send_back(stripe, each)


async def _send_back(stripe: StripeClient, subscription: Thing) -> Sequence[str]:
    """Refunds all that has paid its invoice, once; the payments that this is news for."""
    invoice = subscription.get("latest_invoice")
    payments = await stripe.payments_of(invoice["id"]) if isinstance(invoice, Mapping) else ()
    return [each for each in payments if await stripe.refund(each, derived("stripe.second", each))]
