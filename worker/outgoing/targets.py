"""The places outside that the settings name."""

from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager

from worker.outgoing.autumn import AutumnUsage, autumn_client
from worker.outgoing.settings import OutgoingSettings
from worker.outgoing.target import Target
from worker.outgoing.webhooks import Webhooks, outbound_http


@asynccontextmanager
async def targets_of(settings: OutgoingSettings) -> AsyncIterator[Sequence[Target]]:
    """None, where nothing is configured; what they send with is closed when left."""
    async with AsyncExitStack() as stack:
        targets: list[Target] = []
        if settings.webhook_url:
            http = await stack.enter_async_context(outbound_http())
            targets.append(Webhooks(settings.webhook_url, settings.webhook_secret, http))
        if settings.billing_provider == "autumn":
            client = autumn_client(settings.autumn_api_url, settings.autumn_secret_key)
            targets.append(AutumnUsage(await stack.enter_async_context(client), settings.autumn_feature))
        yield targets
