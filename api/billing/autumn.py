"""Autumn (useautumn.com) as the billing provider: pages to pay on, and what a customer has and has paid there.

Plans have the same ids there and here, and top-ups are one-off plans there. Webhooks and clients are only hints, as
with Stripe: Autumn is asked how things stand, and what it says goes to the log as absolute facts, dated by when it was
asked. What was used is told to it by the workers (`worker/outgoing/autumn.py`), which also end the subscriptions of who
is erased; nothing is asked of it to serve a request.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence

import structlog

from api.billing import svix
from api.billing.autumn_client import AutumnClient, AutumnGone
from api.billing.autumn_facts import (
    credits_of,
    in_force,
    is_known,
    is_ours,
    purchase_facts,
    sold_at,
    standing,
    subscription_fact,
)
from api.billing.autumn_webhooks import customer_of
from api.billing.provider import Checkout, Claim, Purchase, Told, Webhook
from api.errors import ApiError
from api.plans import Plan, Plans, TopUp
from domain.account.plan_terms import FREE
from domain.errors import DomainError
from domain.instant import DAY, MINUTE, SECOND, Instant
from projections.documents import DocumentReader
from projections.subscriptions import get_subscription
from telemetry.billing import ProviderName

SESSION = "autumn_"
"""Before the plan's id, or the top-up's and when its page was opened: Autumn has no name for a checkout."""
RECENT: Instant = 35 * DAY
"""Payments older than this were told of before; what is refunded of them still is."""
LOOKED_BACK: Instant = 2 * DAY
"""A look tells of payments as old as this again, in case that their webhooks were lost."""
LOOKED_MAX = 10_000
SLACK: Instant = MINUTE
"""How far the payment processor's clock may be behind ours."""

_log = structlog.get_logger()


class AutumnProvider:
    """See `BillingProvider`. `clock` dates what Autumn says; `plans` says what it may sell."""

    name: ProviderName = "autumn"

    def __init__(
        self,
        client: AutumnClient,
        documents: DocumentReader,
        shards: int,
        plans: Plans,
        clock: Callable[[], Instant],
        *,
        webhook_secrets: Sequence[str],
        seats_feature: str,
    ) -> None:
        self._autumn = client
        self._documents = documents
        self._shards = shards
        self._plans = plans
        self._clock = clock
        self._webhook_secrets = webhook_secrets
        self._seats_feature = seats_feature
        self._looked: dict[str, None] = {}
        """Invoices, with what was refunded of them, that a look has told of; the oldest first."""

    def changes_in_portal(self, reference: str) -> bool:
        """See `BillingProvider`: a page of Autumn's changes one plan for another."""
        del reference
        return False

    def sells(self, thing: Plan | TopUp) -> bool:
        """See `BillingProvider`. A top-up needs an id that no plan has: there both are plans."""
        return thing.id != FREE if isinstance(thing, Plan) else thing.id not in self._plans

    async def checkout(self, purchase: Purchase) -> Checkout:
        """See `BillingProvider`. 409 `already_subscribed` for a plan that the customer has."""
        sold, now = self._sold(purchase), self._clock()
        features = (await self._autumn.products()).get(sold.id)
        if features is None:
            raise ApiError("not_for_sale", param="plan" if isinstance(sold, Plan) else "top_up")
        quantities = self._quantities(sold, purchase.seats, features)
        await self._autumn.make_customer(purchase.account_id)
        try:
            if isinstance(sold, Plan):
                customer = await self._autumn.customer(purchase.account_id)
                if in_force(customer.subscriptions, sold.id) is not None:
                    raise ApiError("already_subscribed")
            url = await self._autumn.payment_url(purchase.account_id, sold.id, purchase.success_url, quantities)
        except AutumnGone:
            raise ApiError("not_for_sale", param="plan") from None
        session_id = SESSION + sold.id if isinstance(sold, Plan) else f"{SESSION}{sold.id}_{now // SECOND}"
        # With a card on file there may be nothing left to pay, and so no page: the browser goes straight on.
        return Checkout(url=url or purchase.success_url, session_id=session_id, expires_at=None)

    def _sold(self, purchase: Purchase) -> Plan | TopUp:
        plan, pack = self._plans.get(purchase.plan or ""), self._plans.top_ups.get(purchase.top_up or "")
        sold = plan or pack
        if sold is None or not self.sells(sold):
            raise ApiError("not_for_sale", param="top_up" if purchase.plan is None else "plan")
        return sold

    def _quantities(self, sold: Plan | TopUp, seats: int, features: frozenset[str]) -> Mapping[str, int]:
        """Seats are units of a feature that is paid for in advance, where the plan there has it."""
        if not isinstance(sold, Plan) or not sold.per_seat:
            return {}
        if self._seats_feature in features:
            return {self._seats_feature: seats}
        if seats > 1:
            raise ApiError("not_for_sale", "Seats are chosen in the customer portal.", param="seats")
        return {}

    async def portal(self, account_id: str, return_url: str) -> str:
        """See `BillingProvider`. 409 `no_customer` before the first purchase."""
        try:
            return await self._autumn.portal_url(account_id, return_url)
        except AutumnGone:
            raise ApiError("no_customer") from None

    async def paid(self, claim: Claim) -> Sequence[Told]:
        """See `BillingProvider`: the plan that the customer has now, or the top-up that was paid since the page."""
        asked_at, name = self._clock(), claim.session_id.removeprefix(SESSION)
        if name == claim.session_id:
            raise ApiError("session_not_yours", param="session_id")
        if name in self._plans:
            return [await self._paid_plan(claim, self._plans[name], asked_at)]
        pack_id, _, begun = name.rpartition("_")
        pack = self._plans.top_ups.get(pack_id)
        if pack is None or not (begun.isascii() and begun.isdigit() and len(begun) <= 12):  # noqa: PLR2004  # digits of a time in seconds
            raise ApiError("session_not_yours", param="session_id")
        return await self._paid_pack(claim, pack, int(begun) * SECOND)

    async def _paid_plan(self, claim: Claim, plan: Plan, asked_at: Instant) -> Told:
        if claim.amount is not None:
            raise ApiError("amount_mismatch", param="amount")
        try:
            customer = await self._autumn.customer(claim.account_id)
        except AutumnGone:
            raise ApiError("session_not_yours", param="session_id") from None
        found = in_force(customer.subscriptions, plan.id)
        if found is None:
            raise ApiError("session_unpaid", param="session_id")
        news = str(asked_at)
        return standing(customer, found, claim.account_id, plan, self._seats_feature, asked_at=asked_at, news=news)

    async def _paid_pack(self, claim: Claim, pack: TopUp, begun_at: Instant) -> Sequence[Told]:
        """The newest payment of the top-up since its page was opened."""
        for invoice in await self._autumn.invoices(claim.account_id):
            if pack.id in invoice.plan_ids and sold_at(invoice) >= begun_at - SLACK:
                if claim.amount is not None and claim.amount != credits_of(invoice, self._plans):
                    raise ApiError("amount_mismatch", param="amount")
                return purchase_facts(invoice, claim.account_id, self._plans)
        raise ApiError("session_unpaid", param="session_id")

    async def news(self, webhook: Webhook) -> Sequence[Told]:
        """See `BillingProvider`: all that the customer has paid, and the plan that it has now."""
        if not self._webhook_secrets:
            raise ApiError("not_configured")
        asked_at = self._clock()
        news = svix.verify(webhook.body, webhook.headers, self._webhook_secrets, asked_at // SECOND)
        account_id = customer_of(webhook.body)
        return () if account_id is None else await self._how_it_stands(account_id, asked_at, news)

    async def _how_it_stands(self, account_id: str, asked_at: Instant, news: str) -> Sequence[Told]:
        known = await get_subscription(self._documents, self._shards, account_id)
        try:
            customer = await self._autumn.customer(account_id)
        except AutumnGone:
            customer = None
        granted = is_ours(known) or (customer is not None and in_force(customer.subscriptions) is not None)
        told: list[Told] = []
        for invoice in reversed(await self._autumn.invoices(account_id)):
            # A plan that was over before anybody heard of it has granted nothing that could be taken back.
            counts = granted or credits_of(invoice, self._plans)
            if counts and (sold_at(invoice) >= asked_at - RECENT or invoice.refunded_amount):
                told += purchase_facts(invoice, account_id, self._plans)
        plan = subscription_fact(
            customer, account_id, known, self._plans, self._seats_feature, asked_at=asked_at, news=news
        )
        return [*told, *plan]

    async def look(self, tell: Callable[[Sequence[Told]], Awaitable[object]]) -> None:
        """See `BillingProvider`: refunds, and what was paid while its webhooks did not arrive."""
        asked_at = self._clock()
        fresh: dict[str, set[str]] = {}
        for invoice in await self._autumn.invoices():
            mark = f"{invoice.stripe_id}/{invoice.refunded_amount}"
            told_of = sold_at(invoice) < asked_at - LOOKED_BACK and not invoice.refunded_amount
            if invoice.customer_id and not told_of and mark not in self._looked:
                fresh.setdefault(invoice.customer_id, set()).add(mark)
        for account_id, marks in fresh.items():
            try:
                await tell(await self._unheard(account_id))
            except (ApiError, DomainError) as error:
                _log.warning("billing_look_failed", account_id=account_id[:100], error=str(error))
                continue
            self._looked.update(dict.fromkeys(marks))
        while len(self._looked) > LOOKED_MAX:
            del self._looked[next(iter(self._looked))]

    async def _unheard(self, account_id: str) -> Sequence[Told]:
        """All but a subscription that is as it was: who listens to notices is told of changes.

        Each look is news of its own: the next one may find another plan.
        """
        asked_at = self._clock()
        known = await get_subscription(self._documents, self._shards, account_id)
        told = await self._how_it_stands(account_id, asked_at, f"look {asked_at}")
        return [each for each in told if not is_known(each.command, known)]

    async def end_seconds(self, account_id: str) -> None:
        """See `BillingProvider`: there a customer has one plan at a time."""
        del account_id

    async def end_subscriptions(self, account_id: str) -> None:
        """See `BillingProvider`: the workers do it once the user is erased, however long Autumn is away."""
        del account_id

    async def close(self) -> None:
        """See `BillingProvider`."""
        await self._autumn.close()
