"""Every code with which purchases, and the news of providers, are refused."""

from api.errors import declare

declare(
    "not_configured",
    "unavailable",
    "This server has no billing provider for that.",
    "Ask the operator to set FORMSTATE_BILLING_PROVIDER and what it needs.",
)
declare(
    "billing_unavailable",
    "unavailable",
    "The billing provider does not answer; nothing was bought.",
    "Try again after the seconds in Retry-After. What was paid already is not lost.",
)
declare(
    "not_for_sale",
    "invalid",
    "This cannot be bought here.",
    "Choose a plan that GET /billing/plans prices, or ask the operator.",
)
declare(
    "too_many_disputes",
    "conflict",
    "The payment has more disputes than are supported.",
    "Report the request id to the operator.",
)
declare(
    "too_many_providers",
    "conflict",
    "The account is known to more billing providers than are supported.",
    "Report the request id to the operator.",
)
declare(
    "already_subscribed",
    "conflict",
    "The account has a subscription at the billing provider already.",
    "Change plan or seats in the customer portal: POST /billing/portal.",
)
declare(
    "checkout_superseded",
    "conflict",
    "Another checkout of a plan was begun for the account; only one is open at a time.",
    "Pay on the newest page, or begin another checkout under a new Idempotency-Key.",
)
declare(
    "session_not_yours",
    "forbidden",
    "There is no such checkout of this account.",
    "Use the session_id that POST /billing/checkout answered, acting for the same account.",
)
declare(
    "session_unpaid",
    "payment_required",
    "The checkout is not paid.",
    "Pay at its url, then repeat the request; a bank transfer may take days.",
)
declare("session_expired", "payment_required", "The checkout has expired unpaid.", "Begin another one.")
declare(
    "amount_mismatch",
    "forbidden",
    "The checkout is for another amount.",
    "Leave amount out: what Stripe says was paid is what counts.",
)
declare(
    "no_customer",
    "conflict",
    "The account has bought nothing at the billing provider yet.",
    "Begin with POST /billing/checkout.",
)
declare(
    "invalid_signature",
    "invalid",
    "The webhook's signature is missing, wrong or too old.",
    "Check FORMSTATE_STRIPE_WEBHOOK_SECRETS (or AUTUMN) against the endpoint's signing secret, and the server's clock.",
)
declare(
    "invalid_event",
    "invalid",
    "The webhook's body is no event.",
    "Send the provider's events as they are; Stripe's in its snapshot format.",
)
declare(
    "price_unknown",
    "conflict",
    "No plan of the plan file has the price of this subscription.",
    "Name the price as `stripe_price` of a plan in the plan file, restart, and send the event again.",
)
declare(
    "plan_unknown",
    "conflict",
    "The plan file has no plan with the id of this subscription.",
    "Name the plan in the plan file as Autumn does, restart, and send the event again.",
)
declare(
    "payment_pending",
    "unavailable",
    "The payment is on record and will be applied; that takes longer than usual.",
    "Look again with GET /billing/credits or GET /billing/subscription, or repeat the request: it counts once.",
)
declare(
    "payment_not_granted",
    "conflict",
    "The payment is of a kind that grants nothing here; it was logged.",
    "Ask the operator: the currency must be usd, and what was bought must be in the plan file.",
)
