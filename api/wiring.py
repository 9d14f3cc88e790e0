"""Puts the parts of an HTTP process together; devnet and tests do the same over other stores and another bus."""

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from typing import Protocol, TypeVar

import aiohttp

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
        shards, master_keys = await store.shards(), MasterKeys(settings.master_keys)
        lookup = await LookupHash.load(store, master_keys)
        passwords = passwords or Passwords()
        stack.callback(passwords.close)
        http = await stack.enter_async_context(outbound_http())
        commands, sealer = await _commands(stack, store, bus, shards), Sealer(store, master_keys)
        tokens, cache = Tokens(settings.jwt_secrets), IdentityCache()
        external = ExternalCommands(commands, sealer, clock)
        identities = Identities(
            store=store,
            documents=documents,
            shards=shards,
            keys=ApiKeyFormat(settings.api_key_peppers, brand=settings.api_key_brand),
            tokens=tokens,
            plans=plans,
            clock=clock,
            external=_external(issuers, http, cache, external, lookup, documents, plans),
            cache=cache,
        )
        await _start(stack, identities)
        rate_limits = await _rate_limits(stack, store, documents, lookup, plans, settings)
        services = Services(
            mode=mode,
            settings=settings,
            clock=clock,
            shards=shards,
            store=store,
            documents=documents,
            commands=commands,
            lookup=lookup,
            sealer=sealer,
            identities=identities,
            passwords=passwords,
            login_throttle=_throttle(store, lookup),
            rate_limits=rate_limits,
            tokens=tokens,
            plans=plans,
            llm_models=llm_models,
            mailer=_mailer(stack, mode, settings, http),
            mail_pace=MailPace(rate_limits.exchanger),
            http=http,
            refused_requests=_started(stack, RefusedRequests(commands=commands, sealer=sealer, clock=clock)),
            metering=_started(stack, Metering(commands=commands, documents=documents, shards=shards, clock=clock)),
            billing=_billing(stack, settings, documents, commands, plans, http, clock),
            past_reads=PastReads(),
            errands=_started(stack, Errands()),
        )
        _beside(stack, services)
        yield services


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


def _billing(
    stack: AsyncExitStack,
    settings: ApiSettings,
    documents: DocumentReader,
    commands: Commands,
    plans: Plans,
    http: aiohttp.ClientSession,
    clock: Callable[[], Instant],
) -> BillingProvider:
    teller = Teller(commands, clock)
    provider = choose_provider(settings.billing, documents, commands.shards, plans, teller, http, clock)
    stack.push_async_callback(provider.close)
    return provider


async def _start(stack: AsyncExitStack, identities: Identities) -> None:
    await identities.start()
    stack.push_async_callback(identities.stop)


def _external(
    issuers: Issuers,
    http: aiohttp.ClientSession,
    cache: IdentityCache,
    commands: ExternalCommands,
    lookup: LookupHash,
    documents: DocumentReader,
    plans: Plans,
) -> ExternalIdentities:
    """The identities of identity providers' users."""
    tokens = ExternalTokens(issuers, http, removed=cache.stamped)
    return ExternalIdentities(
        ExternalUsers(tokens, commands, lookup, documents),
        ExternalProjects(commands, lookup, documents),
        Acting(documents, commands.shards, plans),
    )


async def _commands(stack: AsyncExitStack, store: Store, bus: CommandBus, shards: int) -> Commands:
    """The way of a command, with what it waits with and what sheds it."""
    poller, lag = OutcomePoller(store), Lag(store, bus)
    await poller.start()
    stack.push_async_callback(poller.stop)
    return Commands(bus, poller, _started(stack, lag), shards)


def _throttle(store: Store, lookup: LookupHash) -> LoginThrottle:
    return LoginThrottle(store, lambda text: lookup.digest("attempt", text.encode())[:32])


async def _rate_limits(
    stack: AsyncExitStack,
    store: Store,
    documents: DocumentReader,
    lookup: LookupHash,
    plans: Plans,
    settings: ApiSettings,
) -> RateLimits:
    """Started, with counts that all processes share."""
    per_minute = settings.anonymous_requests_per_minute if settings.limits else None
    rate_limits = RateLimits(store, documents, lookup, plans.free, anonymous_per_minute=per_minute)
    await rate_limits.start()
    stack.push_async_callback(rate_limits.stop)
    return rate_limits


def _mailer(stack: AsyncExitStack, mode: ProcessMode, settings: ApiSettings, http: aiohttp.ClientSession) -> Mailer:
    """The operator's mailer; without one devnet prints and production refuses what it could not deliver."""
    if not settings.mailer_url:
        return PrintedMailer() if mode == "devnet" else NoMailer()
    return _started(stack, WebhookMailer(settings.mailer_url, settings.mailer_secret or {}, http))
