"""Puts the parts of an HTTP process together; devnet and tests do the same over other stores and another bus."""

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from typing import Protocol, TypeVar

import aiohttp
from msgspec import Struct

from api.api_key_use import record_key_use
from api.billing.choose import choose_provider
from api.billing.looks import BillingLooks
from api.billing.provider import BillingProvider
from api.billing.telling import Teller
from api.command_log.bus import CommandBus
from api.command_log.commands import Commands
from api.command_log.lag import Lag
from api.command_log.outcomes import OutcomePoller
from api.errands import Errands
from api.gateway.metering import Metering
from api.identity.acting import Acting
from api.identity.api_key_format import ApiKeyFormat
from api.identity.external_commands import ExternalCommands
from api.identity.external_identities import ExternalIdentities
from api.identity.external_projects import ExternalProjects
from api.identity.external_tokens import ExternalTokens
from api.identity.external_users import ExternalUsers
from api.identity.identities import Identities
from api.identity.identity_cache import IdentityCache
from api.identity.issuers import NO_ISSUERS, Issuers
from api.identity.login_throttle import LoginThrottle
from api.identity.passwords import Passwords
from api.identity.tokens import Tokens
from api.llm_models import LlmModels
from api.lookup import LookupHash
from api.mail.mail_pace import MailPace
from api.mail.mailer import Mailer, NoMailer, PrintedMailer, WebhookMailer
from api.master_keys import MasterKeys
from api.parts import ProcessMode, Services
from api.past_reads import PastReads
from api.plans import Plans
from api.rate_limits.enforce import RateLimits
from api.refused_requests import RefusedRequests
from api.sealing import Sealer
from api.settings import ApiSettings
from api.unfinished_erasures import UnfinishedErasures
from domain.instant import Instant
from eventstore.clock import system_clock
from eventstore.store import Store
from projections.documents import DocumentReader

UPSTREAM_CONNECTIONS_MAX = 4_000
READ_BUFFER_BYTES = 16 * 1024


def outbound_http() -> aiohttp.ClientSession:
    """The one outbound client: bounded connections, kept open between calls; each call brings its own time limits.

    Small read buffers, because a thousand open streams have one each.
    """
    connector = aiohttp.TCPConnector(limit=UPSTREAM_CONNECTIONS_MAX, ttl_dns_cache=60, keepalive_timeout=30.0)
    return aiohttp.ClientSession(
        connector=connector,
        timeout=aiohttp.ClientTimeout(total=None),
        cookie_jar=aiohttp.DummyCookieJar(),
        read_bufsize=READ_BUFFER_BYTES,
    )


@asynccontextmanager
async def running_services(
    *,
    mode: ProcessMode,
    settings: ApiSettings,
    store: Store,
    documents: DocumentReader,
    bus: CommandBus,
    plans: Plans,
    llm_models: LlmModels,
    issuers: Issuers = NO_ISSUERS,
    clock: Callable[[], Instant] = system_clock,
    passwords: Passwords | None = None,
) -> AsyncIterator[Services]:
    """Everything that handlers use, started; stopped in reverse order when left.

    The store must be reachable and migrated, the bus started; neither is closed here. In one process with the worker,
    call `services.commands.poller.poke` after commits.
    """
    async with AsyncExitStack() as stack:
        ground = await _ground(stack, settings, store, documents, bus, plans, clock)
        commands, sealer = ground.commands, ground.sealer
        passwords = passwords or Passwords()
        stack.callback(passwords.close)
        identities = await _identities(stack, ground, issuers)
        rate_limits = await _rate_limits(stack, ground)
        services = Services(
            mode=mode,
            settings=settings,
            clock=clock,
            shards=ground.shards,
            store=store,
            documents=documents,
            commands=commands,
            lookup=ground.lookup,
            sealer=sealer,
            identities=identities,
            passwords=passwords,
            login_throttle=_throttle(store, ground.lookup),
            rate_limits=rate_limits,
            tokens=ground.tokens,
            plans=plans,
            llm_models=llm_models,
            mailer=_mailer(stack, mode, ground),
            mail_pace=MailPace(rate_limits.exchanger),
            http=ground.http,
            refused_requests=_started(stack, RefusedRequests(commands=commands, sealer=sealer, clock=clock)),
            metering=_started(
                stack, Metering(commands=commands, documents=documents, shards=ground.shards, clock=clock)
            ),
            billing=_billing(stack, ground),
            past_reads=PastReads(),
            errands=_started(stack, Errands()),
        )
        _beside(stack, services)
        yield services


class _Ground(Struct, frozen=True, kw_only=True):
    """What most parts stand on."""

    settings: ApiSettings
    store: Store
    documents: DocumentReader
    shards: int
    plans: Plans
    clock: Callable[[], Instant]
    commands: Commands
    http: aiohttp.ClientSession
    lookup: LookupHash
    sealer: Sealer
    tokens: Tokens


async def _ground(
    stack: AsyncExitStack,
    settings: ApiSettings,
    store: Store,
    documents: DocumentReader,
    bus: CommandBus,
    plans: Plans,
    clock: Callable[[], Instant],
) -> _Ground:
    shards, master_keys = await store.shards(), MasterKeys(settings.master_keys)
    return _Ground(
        settings=settings,
        store=store,
        documents=documents,
        shards=shards,
        plans=plans,
        clock=clock,
        lookup=await LookupHash.load(store, master_keys),
        http=await stack.enter_async_context(outbound_http()),
        commands=await _commands(stack, store, bus, shards),
        sealer=Sealer(store, master_keys),
        tokens=Tokens(settings.jwt_secrets),
    )


def _beside(stack: AsyncExitStack, services: Services) -> None:
    """What goes on beside the requests and uses what they use."""
    services.rate_limits.report_minutes(partial(record_key_use, services))
    _started(stack, UnfinishedErasures(services))
    _started(stack, BillingLooks(services))


class _Part(Protocol):
    """What goes on beside the requests."""

    def start(self) -> None: ...

    async def stop(self) -> None: ...


P = TypeVar("P", bound=_Part)


def _started(stack: AsyncExitStack, part: P) -> P:
    """The part, started, and stopped with the rest."""
    part.start()
    stack.push_async_callback(part.stop)
    return part


def _billing(stack: AsyncExitStack, ground: _Ground) -> BillingProvider:
    teller = Teller(ground.commands, ground.clock)
    provider = choose_provider(
        ground.settings.billing, ground.documents, ground.shards, ground.plans, teller, ground.http, ground.clock
    )
    stack.push_async_callback(provider.close)
    return provider


async def _identities(stack: AsyncExitStack, ground: _Ground, issuers: Issuers) -> Identities:
    """Who asks, started."""
    cache = IdentityCache()
    identities = Identities(
        store=ground.store,
        documents=ground.documents,
        shards=ground.shards,
        keys=ApiKeyFormat(ground.settings.api_key_peppers, brand=ground.settings.api_key_brand),
        tokens=ground.tokens,
        plans=ground.plans,
        clock=ground.clock,
        external=_external(ground, issuers, cache),
        cache=cache,
    )
    await identities.start()
    stack.push_async_callback(identities.stop)
    return identities


def _external(ground: _Ground, issuers: Issuers, cache: IdentityCache) -> ExternalIdentities:
    """The identities of identity providers' users."""
    commands = ExternalCommands(ground.commands, ground.sealer, ground.clock)
    tokens = ExternalTokens(issuers, ground.http, removed=cache.stamped)
    return ExternalIdentities(
        ExternalUsers(tokens, commands, ground.lookup, ground.documents),
        ExternalProjects(commands, ground.lookup, ground.documents),
        Acting(ground.documents, ground.shards, ground.plans),
    )


async def _commands(stack: AsyncExitStack, store: Store, bus: CommandBus, shards: int) -> Commands:
    """The way of a command, with what it waits with and what sheds it."""
    poller, lag = OutcomePoller(store), Lag(store, bus)
    await poller.start()
    stack.push_async_callback(poller.stop)
    return Commands(bus, poller, _started(stack, lag), shards)


def _throttle(store: Store, lookup: LookupHash) -> LoginThrottle:
    return LoginThrottle(store, lambda text: lookup.digest("attempt", text.encode())[:32])


async def _rate_limits(stack: AsyncExitStack, ground: _Ground) -> RateLimits:
    """Started, with counts that all processes share."""
    per_minute = ground.settings.anonymous_requests_per_minute if ground.settings.limits else None
    rate_limits = RateLimits(
        ground.store, ground.documents, ground.lookup, ground.plans.free, anonymous_per_minute=per_minute
    )
    await rate_limits.start()
    stack.push_async_callback(rate_limits.stop)
    return rate_limits


def _mailer(stack: AsyncExitStack, mode: ProcessMode, ground: _Ground) -> Mailer:
    """The operator's mailer; without one devnet prints and production refuses what it could not deliver."""
    settings = ground.settings
    if not settings.mailer_url:
        return PrintedMailer() if mode == "devnet" else NoMailer()
    return _started(stack, WebhookMailer(settings.mailer_url, settings.mailer_secret or {}, ground.http))
