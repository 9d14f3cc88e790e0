"""The one answer that shows an API key: how its secret travels there sealed, and what is told beside it."""

from msgspec import convert, structs

from api.api_key_shown import ApiKeyMade, shown
from api.command_log.commands import data_of
from api.parts import Services
from domain.account.api_key_limits import KeyLimits
from domain.account.api_keys import KeyDigest
from eventstore.records import Outcome
from projections.api_keys import ApiKeyView

WARNING = "Store this key now: it is shown only once and cannot be recovered."
WARNING_GONE = "This key was shown in the first answer; more than 24 hours later it cannot be shown again."


async def key_made(services: Services, view: ApiKeyView, outcome: Outcome) -> ApiKeyMade:
    """The key with its new secret, while the outcome holds it.

    Not what this attempt has made: another one under the command id may have won, and its secret is the one that works.
    """
    key = None
    if outcome.secret is not None:
        key = (await services.sealer.open(*_place(view.account_id, view.id), outcome.secret)).decode()
    plain = structs.asdict(shown(view, outcome.at))
    return ApiKeyMade(**plain, key=key, warning=WARNING if key else WARNING_GONE)


async def seal_key(services: Services, account_id: str, key_id: str, text: str) -> str:
    """The key as it travels to the one answer that shows it."""
    return await services.sealer.seal(*_place(account_id, key_id), text.encode())


def _place(account_id: str, key_id: str) -> tuple[str, str]:
    return f"account:{account_id}", f"api_key {key_id}"


def as_decided(view: ApiKeyView, outcome: Outcome) -> ApiKeyView:
    """The key as a change or a rotation has left it. Outcomes of earlier releases know name and scopes alone."""
    data = data_of(outcome)
    until = data.get("old_secret_expires_at")
    return structs.replace(
        view,
        name=data["name"],
        scopes=data["scopes"],
        limits=convert(data["limits"], KeyLimits) if "limits" in data else view.limits,
        expires_at=data.get("expires_at", view.expires_at),
        old=None if until is None else KeyDigest(digest="", until=until),
        hint=data.get("hint", view.hint),
        revoked_at=None,
    )
