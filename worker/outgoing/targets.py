"""The places outside that the settings name."""

from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager

from worker.outgoing.target import Target
from worker.outgoing.webhooks import Webhooks, outbound_http
from worker.settings import WorkerSettings


@asynccontextmanager
async def targets_of(settings: WorkerSettings) -> AsyncIterator[Sequence[Target]]:
    """None, where nothing is configured; what they send with is closed when left."""
    async with AsyncExitStack() as stack:
        targets: list[Target] = []
        if settings.webhook_url:
            http = await stack.enter_async_context(outbound_http())
            targets.append(Webhooks(settings.webhook_url, settings.webhook_secret or {}, http))
        yield targets
