"""Everything that a handler may use, in one frozen struct; built once by `api.wiring`."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias

from domain.instant import Instant

if TYPE_CHECKING:
    import aiohttp

    from api.billing.provider import BillingProvider
    from api.command_log.commands import Commands
    from api.errands import Errands
    from api.gateway.metering import Metering
    from api.identity.identities import Identities
    from api.identity.login_throttle import LoginThrottle
    from api.identity.passwords import Passwords
    from api.identity.tokens import Tokens
    from api.llm_models import LlmModels
    from api.lookup import LookupHash
    from api.mail.mail_pace import MailPace
    from api.mail.mailer import Mailer
    from api.past_reads import PastReads
    from api.plans import Plans
    from api.rate_limits.enforce import RateLimits
    from api.refused_requests import RefusedRequests
    from api.sealing import Sealer
    from api.settings import ApiSettings
    from eventstore.store import Store
    from projections.documents import DocumentReader

ProcessMode: TypeAlias = Literal["devnet", "production"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Services:
    """The parts of a running process. All of them are safe to use from any request at once."""

    mode: ProcessMode
    settings: "ApiSettings"
    clock: Callable[[], Instant]
    shards: int
    store: "Store"
    documents: "DocumentReader"
    commands: "Commands"
    lookup: "LookupHash"
    """`digest(purpose, value: bytes) -> str`: HMAC under the lookup key, for what is looked up by."""
    sealer: "Sealer"
    identities: "Identities"
    passwords: "Passwords"
    login_throttle: "LoginThrottle"
    rate_limits: "RateLimits"
    tokens: "Tokens"
    plans: "Plans"
    llm_models: "LlmModels"
    mailer: "Mailer"
    mail_pace: "MailPace"
    http: "aiohttp.ClientSession"
    """The one outbound client."""
    refused_requests: "RefusedRequests"
    metering: "Metering"
    """Process-wide state of the gateway: open estimates, progress, the buffer of settles."""
    billing: "BillingProvider"
    """Who takes the money; asked by purchases and their news alone."""
    past_reads: "PastReads"
    errands: "Errands"
    """Work that no request waits for."""
