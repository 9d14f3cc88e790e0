"""Asks Autumn, through its official SDK: fail-open off, bounded in time, nothing repeated by itself.

Imported only where Autumn is the provider, since the SDK takes seconds to load; with all of its parts that are used:
it would load them at the first purchase otherwise, while everything waits.
"""

import asyncio
from collections.abc import Awaitable, Mapping, Sequence
from typing import TYPE_CHECKING, TypeVar

import autumn_sdk.billing
import autumn_sdk.customers
import autumn_sdk.invoices
import autumn_sdk.plans  # noqa: F401  # loads it
import httpx
import structlog
from autumn_sdk import Autumn
from autumn_sdk.errors import AutumnError

from api.errors import ApiError

if TYPE_CHECKING:
    from autumn_sdk.models import AttachFeatureQuantityTypedDict, GetCustomerResponse, ListInvoicesList

CALL_S = 10.0
INVOICES_MAX = 100
LOOKED_AT = 1_000
"""Of all customers together."""
_NOT_FOUND = 404

_log = structlog.get_logger()
T = TypeVar("T")


class AutumnGone(Exception):
    """Autumn does not know the customer, plan or feature that was named."""


class AutumnClient:
    """Each method raises 503 `billing_unavailable` where Autumn does not answer, or will not."""

    def __init__(self, api_url: str, secret_key: str) -> None:
        self._http = httpx.AsyncClient(follow_redirects=False, trust_env=False)
        self._autumn = Autumn(
            secret_key=secret_key,
            server_url=api_url,
            fail_open=False,
            async_client=self._http,
            timeout_ms=int(CALL_S * 1_000),
        )

    async def make_customer(self, account_id: str) -> None:
        """Tells Autumn of the account, unless it knows it."""
        await self._asked(self._autumn.customers.get_or_create_async(customer_id=account_id))

    async def customer(self, account_id: str) -> "GetCustomerResponse":
        """The customer with all subscriptions. `AutumnGone`."""
        return await self._asked(self._autumn.customers.get_async(customer_id=account_id))

    async def products(self) -> Mapping[str, frozenset[str]]:
        """All plans that are sold there, by id, with the features that are in each."""
        plans = (await self._asked(self._autumn.plans.list_async())).list
        return {plan.id: frozenset(item.feature_id for item in plan.items) for plan in plans}

    async def payment_url(
        self, account_id: str, plan_id: str, success_url: str, quantities: Mapping[str, int]
    ) -> str | None:
        """The page on which the plan is paid; `None` where nothing is left to be paid. `AutumnGone`.

        `quantities` are those of features that are paid for by number. Autumn charges nothing before the page, whatever
        card it knows: a repeat opens another page and buys nothing.
        """
        features: list[AttachFeatureQuantityTypedDict] = [
            {"feature_id": feature, "quantity": number} for feature, number in quantities.items()
        ]
        answer = await self._asked(
            self._autumn.billing.attach_async(
                customer_id=account_id,
                plan_id=plan_id,
                feature_quantities=features or None,
                success_url=success_url,
                redirect_mode="always",
            )
        )
        return answer.payment_url

    async def invoices(self, account_id: str | None = None) -> "Sequence[ListInvoicesList]":
        """The newest paid invoices of a customer, or of all; none of one that Autumn does not know."""
        try:
            found = await self._asked(
                self._autumn.invoices.list_async(
                    customer_id=account_id, status=["paid"], limit=INVOICES_MAX if account_id else LOOKED_AT
                )
            )
        except AutumnGone:
            return ()
        return found.list

    async def portal_url(self, account_id: str, return_url: str) -> str:
        """The customer portal. `AutumnGone`."""
        answer = await self._asked(
            self._autumn.billing.open_customer_portal_async(customer_id=account_id, return_url=return_url)
        )
        return answer.url

    async def close(self) -> None:
        """Ends its connections."""
        await self._http.aclose()

    async def _asked(self, asking: Awaitable[T]) -> T:
        try:
            async with asyncio.timeout(CALL_S):
                return await asking
        except AutumnError as error:
            if error.status_code == _NOT_FOUND:
                raise AutumnGone from None
            raise _unavailable(error, error.status_code) from error
        except (httpx.HTTPError, OSError, TimeoutError) as error:
            raise _unavailable(error, None) from error


def _unavailable(error: Exception, status: int | None) -> ApiError:
    """What went wrong is the operator's business: a wrong key and an outage look alike to clients."""
    _log.error("autumn_failed", error=type(error).__name__, status=status)
    return ApiError("billing_unavailable", headers={"Retry-After": "5"})
