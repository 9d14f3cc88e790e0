"""Everything in one process: the code of production on a log and stores in memory."""

import asyncio
import secrets
import tempfile
import uuid
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from pathlib import Path

import structlog

from api.app import create_app
from api.billing.settings import BillingSettings
from api.identity.issuers import NO_ISSUERS, Issuers
from api.llm_models import LlmModels
from api.parts import Services
from api.plans import Plans, load_plans
from api.server import Server, listening_socket, uvicorn_config
from api.settings import ApiSettings
from api.wiring import running_services
from devnet.arguments import Common
from devnet.issuer import running as running_issuer
from devnet.issuer import write_issuers_file
from devnet.local_model import start_local_model
from devnet.log import MemoryLog
from devnet.models_file import local_upstream, write_models
from devnet.provider import ProviderOptions, running
from domain.envelope import Actor, Envelope, Header
from domain.user import GrantRole, Role
from eventstore.clock import system_clock
from eventstore.codec import MacChain
from eventstore.memory.store import MemoryStore
from eventstore.records import Outcome
from eventstore.shards import SHARDS_DEFAULT
from projections.memory import MemoryDocuments
from worker.assembly import build_worker
from worker.outgoing.settings import OutgoingSettings
from worker.outgoing.targets import targets_of

log = structlog.get_logger(__name__)

JWT_KEY_ID = "devnet"
ROLE_TIMEOUT_S = 5.0
DRAIN_S = 5
"""How long open streams may go on after Ctrl-C."""


def devnet_settings(chosen: Common, jwt_secret: str | None, billing: BillingSettings | None = None) -> ApiSettings:
    """Settings with secrets of their own; with `jwt_secret` others can sign login tokens too.

    The key is the text's UTF-8, filled up with NUL bytes to 32: for HMAC (RFC 2104) that is the same key.
    """
    token_secret = secrets.token_bytes(32) if jwt_secret is None else jwt_secret.encode().ljust(32, b"\0")
    return ApiSettings(
        database_url="",
        kafka_bootstrap_servers=(),
        jwt_secrets={JWT_KEY_ID: token_secret},
        api_key_peppers={"devnet": secrets.token_bytes(32)},
        master_keys={"devnet": secrets.token_bytes(32)},
        host=chosen.host,
        port=chosen.port,
        log_level=chosen.log_level,
        limits=chosen.limits,
        plans_file=chosen.plans_file,
        drain_s=DRAIN_S,
        billing=billing or BillingSettings(),
    )


class WorkerEnded(Exception):
    """The worker is gone, and nothing is applied any more; the text says why."""


class Devnet:
    """The parts of the one process, in the order in which they are started."""

    def __init__(
        self,
        chosen: Common,
        settings: ApiSettings,
        provider: ProviderOptions,
        outgoing: OutgoingSettings | None = None,
        plans: Plans | None = None,
    ) -> None:
        self._chosen = chosen
        self._settings = settings
        self._provider = provider
        self._outgoing = outgoing or OutgoingSettings()
        self._plans = plans or load_plans(settings.plans_file)
        self._log = MemoryLog(SHARDS_DEFAULT)
        self._store = MemoryStore(SHARDS_DEFAULT, system_clock)
        self.services: Services
        self.models: LlmModels
        self.url = ""
        self.issuer_url: str | None = None
        self.working: asyncio.Task[None]

    async def start(self, stack: AsyncExitStack) -> None:
        """Starts everything; `stack` stops it in the other order."""
        provider = await stack.enter_async_context(running(self._provider))
        self.models = await self._models(stack, provider.base_url)
        issuers = await self._issuers(stack)
        documents = MemoryDocuments()
        services = await stack.enter_async_context(
            running_services(
                mode="devnet",
                settings=self._settings,
                store=self._store,
                documents=documents,
                bus=self._log,
                plans=self._plans,
                llm_models=self.models,
                issuers=issuers,
            )
        )
        self.services = services
        worker = await build_worker(
            store=self._store,
            documents=documents,
            source=self._log.source,
            sink=self._log,
            macs=MacChain({"devnet": secrets.token_bytes(32)}),
            on_outcomes=_committed(services),
            targets=await stack.enter_async_context(targets_of(self._outgoing)),
        )
        self.working = asyncio.create_task(worker.run())
        stack.push_async_callback(_finish, worker.close, self.working)
        await self._listen(stack, services)

    async def _models(self, stack: AsyncExitStack, provider_url: str) -> LlmModels:
        upstreams = [self._chosen.upstream] if self._chosen.upstream else []
        if self._chosen.local_model:
            local = await asyncio.to_thread(start_local_model)
            stack.callback(local.stop)
            upstreams.append(local_upstream(local.base_url, local.model))
        with tempfile.TemporaryDirectory() as folder:
            return write_models(Path(folder) / "models.toml", provider_url, upstreams)

    async def _issuers(self, stack: AsyncExitStack) -> Issuers:
        if self._chosen.issued is None:
            return NO_ISSUERS
        issuer = await stack.enter_async_context(running_issuer())
        self.issuer_url = issuer.url
        with tempfile.TemporaryDirectory() as folder:
            return write_issuers_file(Path(folder) / "issuers.toml", issuer.url, issuer.algorithm)

    async def _listen(self, stack: AsyncExitStack, services: Services) -> None:
        try:
            listener = listening_socket(self._settings.host, self._settings.port)
        except OSError as error:
            where = f"{self._settings.host} port {self._settings.port}"
            raise OSError(f"cannot listen on {where}: {error.strerror}; --port takes another") from error
        # The server of production: its bounds on heads, bodies and slow senders hold here too.
        server = Server(uvicorn_config(create_app(services), self._settings, lifespan=False))
        self.url = await stack.enter_async_context(server.serving(listener))

    async def until(self, stopping: asyncio.Event) -> None:
        """Returns when told to stop. `WorkerEnded` when the worker ends before."""
        stop = asyncio.create_task(stopping.wait())
        await asyncio.wait([stop, self.working], return_when=asyncio.FIRST_COMPLETED)
        stop.cancel()
        if self.working.done():
            error = None if self.working.cancelled() else self.working.exception()
            log.error("devnet_worker_ended", exc_info=error)
            raise WorkerEnded(f"devnet's worker has ended: {error or 'it was cancelled'}") from error

    async def grant_role(self, user_id: str, role: Role) -> None:
        """Gives a user a role, as an operator would: by a command in the log."""
        command_id = str(uuid.uuid4())
        header = Header(
            id=command_id,
            attempt=command_id,
            stream=f"user:{user_id}",
            account=user_id,
            actor=Actor(kind="system", id="operator"),
            issued_at=system_clock(),
        )
        envelope = Envelope(header=header, body=GrantRole(role=role))
        ack = await self.services.commands.send(envelope)
        await self.services.commands.outcome(ack.shard, command_id, command_id, ROLE_TIMEOUT_S)


def _committed(services: Services) -> Callable[[Sequence[Outcome]], None]:
    """Hands outcomes to the requests that wait for them, and logs each applied command."""
    lines = log.bind()  # to find out for each line that nobody wants it would cost more than the outcome

    def committed(outcomes: Sequence[Outcome]) -> None:
        services.commands.poller.poke(outcomes)
        for outcome in outcomes:
            lines.info("command_decided", status=outcome.status, command_id=outcome.command_id, stream=outcome.stream)

    return committed


async def _finish(ask: Callable[[], None], task: "asyncio.Task[None]") -> None:
    ask()
    await asyncio.wait([task])
