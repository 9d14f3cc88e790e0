"""Autumn (useautumn.com) as the billing provider: pages to pay on, and which plan a customer has there.

Plans have the same ids there and here. Autumn sends no webhooks that are believed here: what a customer has is asked,
when a client says that it has paid; all later news come by `PUT /billing/subscription`. Top-ups are not sold by it.
What was used is told to it by the workers (`worker/outgoing/autumn.py`); nothing is asked of it to serve a request.
"""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NoReturn

from api.account_plan import terms_of
from api.billing.autumn_client import AutumnClient, AutumnGone
from api.billing.provider import Checkout, Claim, Purchase, Told, Webhook
from api.errors import ApiError
from api.ids import derived
from api.plans import Plan, Plans, TopUp
from domain.account.plan_terms import FREE
from domain.account.subscription import ConfirmSubscription, SubscriptionStatus, check
from domain.instant import Instant
from telemetry.billing import ProviderName

if TYPE_CHECKING:
    from autumn_sdk.models import GetCustomerSubscription

SESSION = "autumn_"
"""Before the plan's id; Autumn has no name for a checkout."""
MICRO_PER_MILLI = 1_000


class AutumnProvider:
    """See `BillingProvider`. `clock` dates what Autumn says; `plans` says what it may sell."""

    name: ProviderName = "autumn"

    def __init__(self, client: AutumnClient, plans: Plans, clock: Callable[[], Instant]) -> None:
        self._autumn = client
        self._plans = plans
        self._clock = clock

    def changes_in_portal(self, reference: str) -> bool:
        """See `BillingProvider`."""
        del reference
        return False

    def sells(self, thing: Plan | TopUp) -> bool:
        """See `BillingProvider`."""
        return isinstance(thing, Plan) and thing.id != FREE

    async def checkout(self, purchase: Purchase) -> Checkout:
        """See `BillingProvider`. 409 `already_subscribed` for a plan that the customer has."""
        plan = self._sold(purchase)
        if plan.id not in await self._autumn.products():
            raise ApiError("not_for_sale", param="plan")
        await self._autumn.make_customer(purchase.account_id)
        try:
            customer = await self._autumn.customer(purchase.account_id)
            if any(each.plan_id == plan.id and each.status == "active" for each in customer.subscriptions):
                raise ApiError("already_subscribed")
            url = await self._autumn.payment_url(purchase.account_id, plan.id, purchase.success_url)
        except AutumnGone:
            raise ApiError("not_for_sale", param="plan") from None
        # With a card on file there may be nothing left to pay, and so no page: the browser goes straight on.
        return Checkout(url=url or purchase.success_url, session_id=SESSION + plan.id, expires_at=None)

    def _sold(self, purchase: Purchase) -> Plan:
        plan = None if purchase.plan is None else self._plans.get(purchase.plan)
        if plan is None or plan.id == FREE:
            raise ApiError("not_for_sale", param="top_up" if purchase.plan is None else "plan")
        if purchase.seats > 1:
            raise ApiError("not_for_sale", "Seats are chosen in the customer portal.", param="seats")
        return plan

    async def portal(self, account_id: str, return_url: str) -> str:
        """See `BillingProvider`. 409 `no_customer` before the first purchase."""
        try:
            return await self._autumn.portal_url(account_id, return_url)
        except AutumnGone:
            raise ApiError("no_customer") from None

    async def paid(self, claim: Claim) -> Sequence[Told]:
        """See `BillingProvider`: the plan that the customer has now, if it is the one that the checkout was for."""
        asked_at, plan = self._clock(), self._plans.get(claim.session_id.removeprefix(SESSION))
        if plan is None or not claim.session_id.startswith(SESSION):
            raise ApiError("session_not_yours", param="session_id")
        if claim.amount is not None:
            raise ApiError("amount_mismatch", param="amount")
        try:
            customer = await self._autumn.customer(claim.account_id)
        except AutumnGone:
            raise ApiError("session_not_yours", param="session_id") from None
        found = in_force(customer.subscriptions, plan.id)
        if found is None:
            raise ApiError("session_unpaid", param="session_id")
        return [subscription_fact(found, claim.account_id, plan, asked_at)]

    async def news(self, webhook: Webhook) -> Sequence[Told]:
        """See `BillingProvider`: nothing that comes in Autumn's name is believed."""
        del webhook
        _not_configured()

    async def end_seconds(self, account_id: str) -> None:
        """See `BillingProvider`: there a customer has one plan at a time."""
        del account_id

    async def end_subscriptions(self, account_id: str) -> None:
        """See `BillingProvider`: that is done in its dashboard."""
        del account_id

    async def close(self) -> None:
        """See `BillingProvider`."""
        await self._autumn.close()


def _not_configured() -> NoReturn:
    raise ApiError("not_configured")


def in_force(subscriptions: "Sequence[GetCustomerSubscription]", plan_id: str) -> "GetCustomerSubscription | None":
    """The newest subscription of the plan that has begun."""
    begun = [each for each in subscriptions if each.plan_id == plan_id and each.status == "active" and not each.add_on]
    return max(begun, key=lambda each: each.started_at, default=None)


def subscription_fact(subscription: "GetCustomerSubscription", account_id: str, plan: Plan, asked_at: Instant) -> Told:
    """How the account's subscription stands, as of `asked_at`. `Invalid` where it cannot be right."""
    reference = f"{subscription.id}/{asked_at}"
    command = ConfirmSubscription(
        plan=plan.id,
        status=status_of(subscription, asked_at),
        terms=terms_of(plan),
        occurred_at=asked_at,
        reference=reference,
        period_start=_instant(subscription.current_period_start),
        period_end=_instant(subscription.current_period_end),
        seats=int(subscription.quantity) if plan.per_seat else None,
        renews_by_itself=False,
    )
    check(command)
    command_id = derived("subscription.confirm", account_id, f"autumn:{reference}")
    return Told(account_id=account_id, command=command, command_id=command_id)


def status_of(subscription: "GetCustomerSubscription", at: Instant) -> SubscriptionStatus:
    """A subscription that was canceled lasts until it expires."""
    expires_at, trial_ends_at = _instant(subscription.expires_at), _instant(subscription.trial_ends_at)
    if expires_at is not None and expires_at <= at:
        return "canceled"
    if subscription.past_due:
        return "past_due"
    return "trialing" if trial_ends_at is not None and trial_ends_at > at else "active"


def _instant(millis: Any) -> Instant | None:
    """The SDK reads Autumn's whole milliseconds as a double, which holds them exactly."""
    return None if millis is None else int(millis) * MICRO_PER_MILLI
