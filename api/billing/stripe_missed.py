"""A subscription that has ended before anybody heard of its last period: that was paid all the same, and is granted.

Else what an account has would depend on when news arrive: a refund of that period would take credits that it never had.
"""

from collections.abc import Mapping

from api.billing.stripe_client import Thing
from api.billing.stripe_facts import plan_with
from api.plans import Plans
from domain.instant import SECOND
from projections.subscriptions import SubscriptionView

NEWS = "before its end"
"""Names this news in its reference, so that it counts once for each subscription."""


def before_its_end(subscription: Thing, known: SubscriptionView, plans: Plans) -> Thing | None:
    """The subscription as it was in its last moment, where its period is paid and was never told of as it was then."""
    item, ended_at_s = subscription["items"]["data"][0], subscription.get("ended_at")
    invoice = subscription.get("latest_invoice")
    paid = isinstance(invoice, Mapping) and invoice["status"] == "paid"
    if subscription["status"] != "canceled" or not ended_at_s or not paid or _told(subscription, item, known, plans):
        return None
    if ended_at_s >= item["current_period_end"]:
        return None  # its credits have run out with it
    trial = (subscription.get("trial_end") or 0) > ended_at_s
    return {**subscription, "status": "trialing" if trial else "active"}


def _told(subscription: Thing, item: Thing, known: SubscriptionView, plans: Plans) -> bool:
    """Its last plan and seats as well: what was paid for a change counts like what was paid at first."""
    plan = plan_with(plans, item["price"]["id"])
    seats = item["quantity"] if plan is not None and plan.per_seat else None
    same = known.reference is not None and known.reference.startswith(f"{subscription['id']}/")
    as_it_was = plan is None or (known.plan, known.seats) == (plan.id, seats)
    begun = known.period_start == item["current_period_start"] * SECOND
    return same and as_it_was and begun and known.status != "past_due"
