"""A new secret for an API key: the old one works on for a while, so that nothing has to change over at once."""

from api.api_key_made import as_decided, key_made, seal_key
from api.api_key_shown import ApiKeyMade, Rotation
from api.api_key_unseen import UNSEEN
from api.call import Call
from api.command_log.commands import Accepted, Draft
from api.errors import ApiError, declare
from api.identity.api_key_authority import require_secret_of
from api.route import Route, needs
from api.routes.api_keys import own_key
from domain.account.api_keys import RotateApiKey
from eventstore.records import Outcome

declare("invalid_overlap", "invalid", "The overlap is out of range.", "Send overlap_s from 0 to 2592000, 30 days.")

declare(
    "rotation_unconfirmed",
    "unavailable",
    "The key was not rotated in time; if it is rotated later, nobody has seen its new secret.",
    "See by the key's hint whether it was rotated, and rotate it again. Send an Idempotency-Key: a repeat answers the"
    " same new secret, and ends no other.",
)


async def rotate(call: Call[Rotation, None]) -> ApiKeyMade:
    """Gives the key a new secret; a repeat under one `Idempotency-Key` answers the same one for 24 hours."""
    services = call.services
    view = await own_key(call)
    draft = call.draft(f"account:{view.account_id}")
    # A repeat may come with the secret that the first try has retired.
    if await draft.known() is None:
        require_secret_of(call.caller, view)
    made = services.identities.keys.make(view.id, view.mode)
    command = RotateApiKey(
        key_id=view.id,
        digest=made.digest,
        hint=made.hint,
        overlap_s=call.body.overlap_s,
        secret_sealed=await seal_key(services, view.account_id, view.id, made.text),
    )
    outcome = await _seen(call, draft, command)
    # Other processes see the stamp within a second; this one forgets the old secret now.
    services.identities.cache.stamped((view.id,))
    return await key_made(services, as_decided(view, outcome), outcome)


async def _seen(call: Call[Rotation, None], draft: Draft, command: RotateApiKey) -> Outcome:
    """As `draft.submit`; but where no repeat can show the secret, 503 `rotation_unconfirmed` for what may come late."""
    if call.idempotency_key is not None:
        return await draft.submit(command)
    try:
        return await draft.submit(command)
    except Accepted as accepted:
        unseen: Exception = accepted
    except ApiError as error:
        if error.code not in UNSEEN:
            raise
        unseen = error
    raise ApiError("rotation_unconfirmed", headers={"Retry-After": "1"}) from unseen


ROUTES = (
    Route(
        method="POST",
        path="/api-keys/{id}/rotate",
        handler=rotate,
        summary="Rotate an API key",
        description=(
            "Answers the same key with a new secret, this once. The old secret works for `overlap_s` more; rotated "
            "again meanwhile, the older of the two ends at once."
        ),
        tag="api keys",
        access=needs("api_keys:write", project=True, fresh=True),
        body=Rotation,
        body_optional=True,
        answers={200: ApiKeyMade},
        errors=(
            "api_key_not_found",
            "api_key_revoked",
            "api_key_expired",
            "rotation_unconfirmed",
            "not_key_owner",
            "scope_exceeded",
            "mode_exceeded",
            "expiry_exceeded",
            "limits_exceeded",
            "project_exceeded",
        ),
        write=True,
        shown_once=True,
        path_examples={"id": "key_00000000000000000000000000000000"},
        example={"overlap_s": 3600},
    ),
)
