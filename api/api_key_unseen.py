"""A key whose one answer never comes must not work: what made it is taken back."""

from typing import Any

from api.call import Call
from api.command_log.bus import BusUnavailable
from api.command_log.commands import DEADLINE, Accepted, Draft, follow_up
from api.errors import ApiError, declare
from domain.account.api_keys import CreateApiKey, RevokeApiKey
from domain.envelope import Envelope
from eventstore.records import Outcome

UNSEEN = frozenset({"outcome_unknown", "command_quarantined"})
"""Refusals after which the key may be made all the same."""

declare(
    "api_key_unconfirmed",
    "unavailable",
    "The key was not made in time, and is revoked in case it is made later: nobody has seen it.",
    "Try again after the seconds in Retry-After; send an Idempotency-Key, and a repeat answers the key that was made.",
)


async def submit_seen(call: Call[Any, Any], draft: Draft, command: CreateApiKey) -> Outcome:
    """As `draft.submit`, but 503 `api_key_unconfirmed` for 202 and for `outcome_unknown`, and the key is revoked.

    With an `Idempotency-Key` all is as ever: the repeat will show the key.
    """
    if call.idempotency_key is not None:
        return await draft.submit(command)
    revoking = await draft.envelope(RevokeApiKey(key_id=command.key_id))
    try:
        return await draft.submit(command)
    except BusUnavailable:
        raise
    except ApiError as error:
        if error.code not in UNSEEN:
            raise
        unseen: BaseException = error
    except Accepted as accepted:
        unseen = accepted
    except BaseException:
        _revoke(call, revoking)
        raise
    _revoke(call, revoking)
    raise ApiError("api_key_unconfirmed", headers={"Retry-After": "1"}, id=command.key_id) from unseen


def _revoke(call: Call[Any, Any], revoking: Envelope) -> None:
    """In the background, and until what made the key can come no more."""
    services = call.services
    now = services.clock()
    services.metering.undecided.undo(follow_up(revoking, revoking.body, now), until=now + DEADLINE)
