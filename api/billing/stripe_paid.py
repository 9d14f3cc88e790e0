"""What of a subscription's running period was billed and paid: it is granted the credits of that, and no more.

Who takes another plan or more seats in mid-period pays for the rest of it, at once, with the next invoice or not at
all, as the operator has set the customer portal. Stripe shows the new plan in each case. Of a trial nothing is paid:
its credits are those of one seat, however many are asked for, and of a plan that has trials.
"""

from collections.abc import Mapping

from api.billing.stripe_client import StripeClient, Thing
from api.billing.stripe_facts import NEAR_S, billed_credits, is_paid, plan_with, priced, sold_lines
from api.plans import Plans
from domain.money import MicroCredits


async def paid_credits(stripe: StripeClient, subscription: Thing, plans: Plans) -> MicroCredits | None:
    """The credits that the paid invoices of the running period stand for.

    `None` where that is no question: its last invoice is for what it is now, or it is granted nothing.
    """
    item = subscription["items"]["data"][0]
    plan = plan_with(plans, item["price"]["id"])
    if plan is not None and subscription["status"] == "trialing":
        return plan.credits_for(1) if plan.trial_days else 0
    if subscription["status"] != "active" or not is_paid(subscription) or _is_billed(subscription):
        return None
    invoices = await stripe.paid_invoices(subscription["id"])
    return max(sum(billed_credits(sold_lines(each, plans), item["current_period_end"]) for each in invoices), 0)


def _is_billed(subscription: Thing) -> bool:
    """Whether the last invoice is for plan, seats and period as they are now. One that has none has no changes.

    The invoice of a change is not: it bills the difference to what may not have been billed itself.
    """
    item, invoice = subscription["items"]["data"][0], subscription.get("latest_invoice")
    if not isinstance(invoice, Mapping):
        return True
    of_change = invoice.get("billing_reason") == "subscription_update"
    return not of_change and any(_is_for(line, item) for line in invoice["lines"]["data"])


def _is_for(line: Thing, item: Thing) -> bool:
    since, until = line["period"]["start"], line["period"]["end"]
    whole = since == item["current_period_start"] and abs(until - item["current_period_end"]) <= NEAR_S
    as_many = (line.get("quantity") or 0) >= (item.get("quantity") or 1)
    return whole and as_many and priced(line) == item["price"]["id"] and line["amount"] >= 0
