"""One open page for a plan: two that are open at once could both be paid, and bill an account twice, for ever."""

from api.billing.stripe_client import StripeClient, Thing
from api.billing.stripe_facts import account_of
from api.errors import ApiError


async def close_others(stripe: StripeClient, made: Thing, customer_id: str, account_id: str) -> None:
    """Expires all other pages on which the account could pay for a plan; of pages begun at once the last one stays.

    409 `already_subscribed` where one of them has just been paid, and `checkout_superseded` where the page that was
    made is itself no longer open: another request has closed it, or it is that of an old repeat.
    """
    pages = [each for each in await stripe.open_sessions(customer_id) if _sells_plan(each, account_id)]
    if all(each["id"] != made["id"] for each in pages):
        raise ApiError("checkout_superseded")
    others = [each for each in pages if each["id"] != made["id"]]
    for each in others:
        if (await stripe.expire_session(each["id"]))["status"] == "complete":
            await stripe.expire_session(made["id"])
            raise ApiError("already_subscribed")
    # Who has begun at the same moment may have closed ours, as we have closed theirs.
    if others and (await stripe.session(made["id"]))["status"] != "open":
        raise ApiError("checkout_superseded")


def _sells_plan(session: Thing, account_id: str) -> bool:
    return session["mode"] == "subscription" and account_of(session) == account_id
