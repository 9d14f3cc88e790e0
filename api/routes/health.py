"""Is the process alive, can it serve, and what has it counted."""

import asyncio
import time
from typing import Literal

from msgspec import Struct
from starlette.responses import Response

from api.call import Call, Reply
from api.errors import ApiError
from api.process import VERSION, Check
from api.route import PUBLIC, Route
from telemetry import metrics

CHECK_S = 2.0


class Health(Struct, frozen=True, kw_only=True):
    """The process answers; that alone says that it lives."""

    status: Literal["ok"] = "ok"
    mode: Literal["devnet", "production"]
    limits: bool
    """False: rate limits and daily quotas are switched off."""
    version: str
    uptime_s: int


class Dependency(Struct, frozen=True, kw_only=True):
    """One thing that the process needs."""

    ok: bool
    reason: str | None = None


class Readiness(Struct, frozen=True, kw_only=True):
    """Whether requests can be served; 503 while not."""

    status: Literal["ready", "not_ready"]
    mode: Literal["devnet", "production"]
    dependencies: dict[str, Dependency]
    behind: int | None = None
    """Commands in the log, whoever wrote them, that no worker has applied yet; at most about a second old."""


async def health(call: Call[None, None]) -> Health:
    """Never waits for anything."""
    process = call.process
    return Health(
        mode=process.mode,
        limits=process.settings.limits,
        version=VERSION,
        uptime_s=int(time.monotonic() - process.started_at),
    )


async def ready(call: Call[None, None]) -> Reply:
    """Asks every dependency, each within a bound."""
    process = call.process
    found = {name: Dependency(ok=False, reason=reason) for name, reason in process.waiting_for.items()}
    if process.stopping:
        found["process"] = Dependency(ok=False, reason="stopping")
    elif process.services is None and not found:
        found["process"] = Dependency(ok=False, reason="starting")
    checks = process.checks
    reasons = await asyncio.gather(*[_asked(check) for check in checks.values()])
    found |= {name: Dependency(ok=why is None, reason=why) for name, why in zip(checks, reasons, strict=True)}
    fine = all(each.ok for each in found.values())
    body = Readiness(
        status="ready" if fine else "not_ready",
        mode=process.mode,
        dependencies=found,
        behind=process.services.commands.lag.total if fine and process.services is not None else None,
    )
    return Reply(status=200 if fine else 503, body=body, headers={} if fine else {"Retry-After": "1"})


async def _asked(check: Check) -> str | None:
    try:
        async with asyncio.timeout(CHECK_S):
            return await check()
    except TimeoutError:
        return f"no answer within {CHECK_S:.0f} s"
    except Exception as error:  # noqa: BLE001  # whatever is wrong with a dependency, it is what was asked
        return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__


async def show_metrics(call: Call[None, None]) -> Response:
    """Prometheus's text format; not here where `FORMSTATE_METRICS_PORT` gives it a port of its own."""
    if call.process.settings.metrics_port is not None:
        raise ApiError("not_found")
    return Response(metrics.render(), headers={"Content-Type": metrics.CONTENT_TYPE})


ROUTES = (
    Route(
        method="GET",
        path="/health",
        handler=health,
        summary="Check health",
        tag="operations",
        access=PUBLIC,
        answers={200: Health},
        early=True,
        unlimited=True,
    ),
    Route(
        method="GET",
        path="/ready",
        handler=ready,
        summary="Check readiness",
        description="503 with the reasons while a dependency is away, the log is being adopted, or the process stops.",
        tag="operations",
        access=PUBLIC,
        answers={200: Readiness, 503: Readiness},
        early=True,
        unlimited=True,
    ),
    Route(
        method="GET",
        path="/metrics",
        handler=show_metrics,
        summary="Show metrics",
        tag="operations",
        access=PUBLIC,
        answers={200: "text/plain"},
        raw=True,
        early=True,
        unlimited=True,
    ),
)
