"""Takes what a provider has told into the log, whoever made it tell: a webhook, or a look of ours."""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import structlog

from api.accounts import require_account
from api.billing.provider import Told
from api.billing.recalling import reminded
from api.billing.telling import Teller
from api.errors import ApiError
from domain.account.subscription import ConfirmSubscription
from domain.envelope import Actor

if TYPE_CHECKING:
    from api.parts import Services

_log = structlog.get_logger()


async def take(services: "Services", told: Sequence[Told]) -> int:
    """How much of it the log has now for good; nothing of it where an account is none here. Errors as `Teller`."""
    billing = services.billing
    if not await _all_known(services, {each.account_id for each in told}):
        return 0
    told = await reminded(services.documents, services.shards, told)
    await Teller(services.commands, services.clock).tell(told, Actor(kind="system", id=billing.name))
    for account_id in {each.account_id for each in told if isinstance(each.command, ConfirmSubscription)}:
        await billing.end_seconds(account_id)
    return len(told)


async def _all_known(services: "Services", account_ids: Iterable[str]) -> bool:
    """Whether there are such accounts: those of another installation with the same provider are its business."""
    for account_id in account_ids:
        try:
            await require_account(services, account_id)
        except ApiError:
            _log.warning("payment_of_unknown_account", account_id=account_id[:100])
            return False
    return True
