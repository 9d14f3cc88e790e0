"""Makes the billing provider that the settings name. Its library is imported then and not before."""

from collections.abc import Callable

import aiohttp

from api.billing.customers import Customers
from api.billing.none import NoProvider
from api.billing.provider import BillingProvider
from api.billing.settings import BillingSettings
from api.billing.telling import Teller
from api.plans import Plans
from domain.instant import Instant
from projections.documents import DocumentReader
from telemetry.environment import SettingsError


def choose_provider(
    settings: BillingSettings,
    documents: DocumentReader,
    shards: int,
    plans: Plans,
    teller: Teller,
    http: aiohttp.ClientSession,
    clock: Callable[[], Instant],
) -> BillingProvider:
    """`SettingsError` where the provider's library is not installed."""
    match settings.provider:
        case "none":
            return NoProvider()
        case "stripe":
            try:
                from api.billing.stripe import StripeProvider
                from api.billing.stripe_client import StripeClient
            except ImportError as error:
                raise SettingsError([_missing("stripe")]) from error
            return StripeProvider(
                StripeClient(settings.stripe_secret_key, settings.stripe_api_url, http),
                Customers("stripe", documents, shards, teller),
                plans,
                settings.stripe_webhook_secrets,
                clock,
            )
        case "autumn":
            try:
                from api.billing.autumn import AutumnProvider
                from api.billing.autumn_client import AutumnClient
            except ImportError as error:
                raise SettingsError([_missing("autumn")]) from error
            return AutumnProvider(
                AutumnClient(settings.autumn_api_url, settings.autumn_secret_key),
                documents,
                shards,
                plans,
                clock,
                webhook_secrets=settings.autumn_webhook_secrets,
                seats_feature=settings.autumn_seats_feature,
            )


def _missing(library: str) -> str:
    return f"FORMSTATE_BILLING_PROVIDER is {library!r}: expected its library, for example pip install '.[{library}]'"
