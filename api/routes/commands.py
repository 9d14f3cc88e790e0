"""What became of a write that was answered with 202, or with `outcome_unknown`."""

import re
from collections.abc import Mapping
from typing import Any, Literal

from msgspec import Struct

from api.call import Call
from api.caller import Caller
from api.command_log import command_token
from api.command_log.command_token import CommandToken
from api.command_log.commands import data_of
from api.errors import ApiError, public, refusal
from api.rfc3339 import format_instant
from api.route import ANYONE, Route
from eventstore.records import Outcome
from eventstore.store import Store

INSTANTS = re.compile(r".*_at|.*_until|period_start|period_end")
"""Names that are instants wherever the domain's answers use them."""


class CommandError(Struct, frozen=True, kw_only=True):
    """Why it was not applied; the code means what it means in an error."""

    code: str
    message: str
    detail: dict[str, Any]


class CommandStatus(Struct, frozen=True, kw_only=True):
    """One command.

    `unknown`: it may never have reached the log. `pending`: the log has it. `applied`, `rejected`: decided, for good.
    `failed`, `quarantined`: a fault of ours; repair is pending, and the status changes once it is done.
    """

    object: Literal["command"] = "command"
    id: str
    status: Literal["unknown", "pending", "applied", "rejected", "failed", "quarantined"]
    result: dict[str, Any] | None = None
    """Of an applied command. The whole answer comes from repeating the request with its Idempotency-Key."""
    error: CommandError | None = None
    decided_at: str | None = None


async def show_command(call: Call[None, None]) -> CommandStatus:
    """Status and outcome. Another account's command is not there."""
    services, public_id = call.services, call.path["id"]
    token = command_token.verify(services.lookup, public_id)
    if token is None or not _may_ask(call.caller, token):
        raise ApiError("command_not_found")
    outcome = await _outcome(services.store, token)
    if outcome is None:
        passed = await _passed(services.store, token)
        # Between the two reads it may have been decided.
        outcome = await _outcome(services.store, token) if passed else None
        if outcome is None:
            return _undecided(public_id, token, passed=passed)
    return _decided(public_id, outcome)


def _may_ask(caller: Caller, token: CommandToken) -> bool:
    """Commands of public routes have no owner: their signed id, which nobody can guess, is the right to ask."""
    return token.owner in ("", caller.account_id) or "admin" in caller.scopes


async def _outcome(store: Store, token: CommandToken) -> Outcome | None:
    found = (await store.read_outcomes([(token.shard, token.command_id)])).get(token.command_id)
    return found if found is not None and found.settles(token.attempt) else None


async def _passed(store: Store, token: CommandToken) -> bool:
    """Tells whether the worker has gone past its place in the log."""
    if token.offset is None:
        return False
    heads = await store.shard_heads()
    return any(head.shard == token.shard and head.next_offset > token.offset for head in heads)


def _undecided(public_id: str, token: CommandToken, *, passed: bool) -> CommandStatus:
    if passed:
        error = CommandError(code="command_failed", message="The record could not be applied.", detail={})
        return CommandStatus(id=public_id, status="failed", error=error)
    return CommandStatus(id=public_id, status="unknown" if token.offset is None else "pending")


def _decided(public_id: str, outcome: Outcome) -> CommandStatus:
    decided_at = format_instant(outcome.at)
    if outcome.status == "applied":
        result = result_shown(data_of(outcome))
        return CommandStatus(id=public_id, status="applied", result=result, decided_at=decided_at)
    error = refusal(outcome.data) if outcome.status == "rejected" else ApiError(f"command_{outcome.status}")
    shown = CommandError(code=error.code, message=error.message, detail=public(error.detail))
    return CommandStatus(id=public_id, status=outcome.status, error=shown, decided_at=decided_at)


def result_shown(data: Mapping[str, Any]) -> dict[str, Any]:
    """An answer of the domain as the client sees it: amounts and times as text, and nothing that is sealed."""
    return {name: _shown(name, value) for name, value in public(data).items() if not name.endswith("_sealed")}


def _shown(name: str, value: Any) -> Any:
    if isinstance(value, dict):
        return result_shown(value)
    return format_instant(value) if type(value) is int and INSTANTS.fullmatch(name) else value


ROUTES = (
    Route(
        method="GET",
        path="/commands/{id}",
        handler=show_command,
        summary="Show a command",
        description=(
            "What became of a write. "
            "For the `command_id` of a 202 answer or of `outcome_unknown`. Credentials of the account that sent it are "
            "needed, but for commands of public routes."
        ),
        tag="operations",
        access=ANYONE,
        answers={200: CommandStatus},
        errors=("command_not_found",),
    ),
)
