"""Stripe as the billing provider: Checkout, customer portal, and what payments and subscriptions there come to.

Events and clients are only hints. What they are about is asked of Stripe, and what it says then, dated by when it was
asked, goes to the log as absolute facts; so order, repeats and gaps of the news change nothing in the end.
"""

from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import Any

from api.billing.customers import Customers
from api.billing.provider import Checkout, Claim, Purchase, Told, Webhook
from api.billing.stripe_client import StripeClient, StripeGone, Thing
from api.billing.stripe_facts import (
    ACCOUNT,
    StripePurchase,
    account_of,
    credits_of,
    in_force,
    invoice_facts,
    purchase_facts,
    subscription_fact,
    subscription_of,
    unsold_facts,
)
from api.billing.stripe_missed import NEWS, before_its_end
from api.billing.stripe_pages import close_others
from api.billing.stripe_paid import paid_credits
from api.billing.stripe_seconds import bought_metadata, end_seconds, is_second, seconds, that_count
from api.billing.stripe_webhooks import Hint, hint_of, verify
from api.errors import ApiError
from api.ids import derived
from api.plans import Plan, Plans, TopUp
from domain.instant import SECOND, Instant
from telemetry.billing import ProviderName

_ENDED = frozenset({"canceled", "incomplete_expired"})


class StripeProvider:
    """See `BillingProvider`. `clock` dates what Stripe says; `plans` says what it sells."""

    name: ProviderName = "stripe"

    def __init__(
        self,
        client: StripeClient,
        customers: Customers,
        plans: Plans,
        webhook_secrets: Sequence[str],
        clock: Callable[[], Instant],
    ) -> None:
        self._stripe = client
        self._customers = customers
        self._plans = plans
        self._webhook_secrets = webhook_secrets
        self._clock = clock

    def changes_in_portal(self, reference: str) -> bool:
        """See `BillingProvider`: what Stripe has told, and not somebody by `PUT /billing/subscription`."""
        return reference.startswith("sub_")

    def sells(self, thing: Plan | TopUp) -> bool:
        """See `BillingProvider`."""
        return thing.stripe_price is not None

    async def checkout(self, purchase: Purchase) -> Checkout:
        """See `BillingProvider`. 409 `already_subscribed` for a second plan."""
        price, plan = self._price(purchase)
        customer_id = await self._customers.find(purchase.account_id) or await self._new_customer(purchase, None)
        try:
            return await self._begin(purchase, price, plan, customer_id)
        except StripeGone as gone:
            if gone.param != "customer":
                raise ApiError("not_for_sale") from gone
        customer_id = await self._new_customer(purchase, customer_id)
        try:
            return await self._begin(purchase, price, plan, customer_id)
        except StripeGone as gone:
            raise ApiError("not_for_sale") from gone

    def _price(self, purchase: Purchase) -> tuple[str, Plan | None]:
        plan = self._plans.get(purchase.plan) if purchase.plan is not None else None
        pack = self._plans.top_ups.get(purchase.top_up) if purchase.top_up is not None else None
        sold = plan or pack
        if sold is None or sold.stripe_price is None:
            raise ApiError("not_for_sale", param="plan" if purchase.plan is not None else "top_up")
        return sold.stripe_price, plan

    async def _new_customer(self, purchase: Purchase, replaced: str | None) -> str:
        """Two requests at once get the same customer of Stripe, and link it once."""
        account_id = purchase.account_id
        made = await self._stripe.create_customer(
            {ACCOUNT: account_id}, derived("stripe.customer", account_id, replaced or "")
        )
        return await self._customers.link(account_id, made, replaced=replaced)

    async def _begin(self, purchase: Purchase, price: str, plan: Plan | None, customer_id: str) -> Checkout:
        metadata = {ACCOUNT: purchase.account_id}
        params: dict[str, Any] = {
            "mode": "payment" if plan is None else "subscription",
            "customer": customer_id,
            "client_reference_id": purchase.account_id,
            "metadata": metadata,
            "line_items": [{"price": price, "quantity": purchase.seats if plan and plan.per_seat else 1}],
            "success_url": purchase.success_url,
            "cancel_url": purchase.cancel_url,
        }
        if plan is None:
            params["payment_intent_data"] = {"metadata": metadata}
        else:
            known = await self._stripe.subscriptions(customer_id)
            before = in_force(that_count(known, purchase.account_id), purchase.account_id)
            if before is not None and before["status"] != "canceled":
                raise ApiError("already_subscribed")
            params["subscription_data"] = {"metadata": bought_metadata(purchase.account_id)}
            if before is None and plan.trial_days and purchase.trial:
                params["subscription_data"]["trial_period_days"] = plan.trial_days
        made = await self._stripe.create_session(params, derived("stripe.session", purchase.repeat_key, customer_id))
        if plan is not None:
            await close_others(self._stripe, made, customer_id, purchase.account_id)
        return Checkout(url=made["url"], session_id=made["id"], expires_at=made["expires_at"] * SECOND)

    async def portal(self, account_id: str, return_url: str) -> str:
        """See `BillingProvider`. 409 `no_customer` before the first purchase."""
        customer_id = await self._customers.find(account_id)
        if customer_id is None:
            raise ApiError("no_customer")
        try:
            return await self._stripe.portal(customer_id, return_url)
        except StripeGone:
            raise ApiError("no_customer") from None

    async def paid(self, claim: Claim) -> Sequence[Told]:
        """See `BillingProvider`."""
        asked_at = self._clock()
        try:
            session = await self._stripe.session(claim.session_id)
        except StripeGone:
            raise ApiError("session_not_yours", param="session_id") from None
        if account_of(session) != claim.account_id:
            raise ApiError("session_not_yours", param="session_id")
        if session["status"] == "expired":
            raise ApiError("session_expired", param="session_id")
        if session["status"] != "complete" or session["payment_status"] == "unpaid":
            raise ApiError("session_unpaid", param="session_id")
        if claim.amount is not None and claim.amount != credits_of(session, self._plans):
            raise ApiError("amount_mismatch", param="amount")
        try:
            return await self._of_session(session, asked_at, Hint(event_id=f"{session['id']}/{asked_at}"))
        except StripeGone as gone:
            raise ApiError("payment_not_granted", param="session_id") from gone

    async def news(self, webhook: Webhook) -> Sequence[Told]:
        """See `BillingProvider`. 503 `not_configured` while no secret is: nothing is believed then."""
        if not self._webhook_secrets:
            raise ApiError("not_configured")
        asked_at = self._clock()
        verify(webhook.body, webhook.headers.get("stripe-signature"), self._webhook_secrets, asked_at // SECOND)
        hint = hint_of(webhook.body, livemode=self._stripe.livemode)
        if hint is None:
            return ()
        try:
            return await self._looked_up(hint, asked_at)
        except StripeGone:
            return ()

    async def _looked_up(self, hint: Hint, asked_at: Instant) -> Sequence[Told]:
        match hint.subject:
            case "session":
                return await self._of_session(await self._stripe.session(hint.id), asked_at, hint)
            case "payment":
                session = await self._stripe.session_of(hint.id)
                if session is not None and session["mode"] == "payment":
                    return await self._of_session(session, asked_at, hint)
                return await self._of_invoice(hint.id, asked_at, hint)
            case "subscription":
                return await self._of_subscription(hint.id, asked_at, hint.event_id)
            case "invoice":
                subscription_id = subscription_of(await self._stripe.invoice(hint.id))
                if subscription_id is None:
                    return ()
                told = await self._of_subscription(subscription_id, asked_at, hint.event_id)
                payments = await self._stripe.payments_of(hint.id) if told else ()
                return [*told, *[fact for each in payments for fact in await self._of_invoice(each, asked_at, hint)]]

    async def _of_session(self, session: Thing, asked_at: Instant, hint: Hint) -> Sequence[Told]:
        if account_of(session) is None:
            return ()
        if session["mode"] == "payment":
            sold = await self._purchase(session, session.get("payment_intent"), asked_at, hint)
            return purchase_facts(sold, self._plans)
        subscription_id = session.get("subscription")
        return await self._of_subscription(subscription_id, asked_at, hint.event_id) if subscription_id else ()

    async def _of_invoice(self, payment_id: str, asked_at: Instant, hint: Hint) -> Sequence[Told]:
        """A subscription's payment: that it came in goes on record, what it bought the subscription says."""
        invoice = await self._stripe.invoice_of(payment_id)
        if invoice is None:
            return ()
        purchase = await self._purchase(invoice, payment_id, asked_at, hint)
        subscription_id = subscription_of(invoice)
        if subscription_id is not None and await self._is_second(subscription_id):
            return unsold_facts(purchase)
        return invoice_facts(purchase, self._plans)

    async def _is_second(self, subscription_id: str) -> bool:
        """Whether its money buys nothing: it was ended because of another one, or is about to be."""
        named = await self._stripe.subscription(subscription_id)
        account = account_of(named)
        if account is None or is_second(named):
            return account is not None
        known = await self._stripe.subscriptions(named["customer"])
        return any(each["id"] == subscription_id for each, _ in seconds(known, account))

    async def _purchase(self, sold: Thing, payment_id: str | None, asked_at: Instant, hint: Hint) -> StripePurchase:
        payment = None if payment_id is None else await self._stripe.payment(payment_id)
        charge = {} if payment is None else payment.get("latest_charge") or {}
        disputed = charge.get("disputed") or "dispute" in hint.event_type
        return StripePurchase(
            sold=sold,
            payment=payment,
            disputes=await self._stripe.disputes(payment_id) if disputed and payment_id else (),
            asked_at=asked_at,
            news=hint.event_id,
            about_refund="refund" in hint.event_type,
        )

    async def _of_subscription(self, subscription_id: str, asked_at: Instant, news: str) -> Sequence[Told]:
        """All of the customer's subscriptions are asked for: the one of the news may not be the one that counts."""
        named = await self._stripe.subscription(subscription_id)
        account = account_of(named)
        if account is None:
            return ()
        subscriptions = await self._stripe.subscriptions(named["customer"])
        counts = in_force(that_count(subscriptions, account), account)
        if counts is None:
            return ()
        told = [await self._fact(counts, account, asked_at, news)]
        known = await self._customers.subscription(account)
        before = before_its_end(counts, known, self._plans)
        if before is not None:
            # In whole seconds, it may seem older than what was told in that very one.
            ended_at = max(before["ended_at"] * SECOND, (known.occurred_at or 0) + 1)
            told.insert(0, await self._fact(before, account, ended_at, NEWS))
        return told

    async def _fact(self, subscription: Thing, account: str, asked_at: Instant, news: str) -> Told:
        credits = await paid_credits(self._stripe, subscription, self._plans)
        return subscription_fact(subscription, account, self._plans, asked_at=asked_at, news=news, credits_paid=credits)

    async def look(self, tell: Callable[[Sequence[Told]], Awaitable[object]]) -> None:
        """See `BillingProvider`: it tells all, for days."""
        del tell

    async def end_seconds(self, account_id: str) -> None:
        """See `BillingProvider`."""
        customer_id = await self._customers.find(account_id)
        if customer_id is None:
            return
        with suppress(StripeGone):  # what is not there any more is ended
            await end_seconds(self._stripe, await self._stripe.subscriptions(customer_id), account_id)

    async def end_subscriptions(self, account_id: str) -> None:
        """See `BillingProvider`. What has been paid for the period stays paid."""
        customer_id = await self._customers.find(account_id)
        if customer_id is None:
            return
        try:
            for each in await self._stripe.subscriptions(customer_id):
                if account_of(each) == account_id and each["status"] not in _ENDED:
                    await self._stripe.cancel(each["id"])
        except StripeGone:
            return

    async def close(self) -> None:
        """See `BillingProvider`: its connections are the process's."""
