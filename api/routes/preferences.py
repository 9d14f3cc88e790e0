"""What an account's owner sets: the zone of its days, and below which balance it is told."""

from typing import Annotated, Any

from msgspec import Meta, Struct

from api.call import Call
from api.command_log.commands import data_of
from api.credits_shown import Amount
from api.errors import ApiError, declare
from api.route import Route, needs
from domain.account.preferences import SetPreferences
from domain.money import format_credits, parse_credits
from projections.local_days import time_zones
from projections.preferences import PreferencesView, get_preferences

declare(
    "invalid_time_zone",
    "invalid",
    "time_zone must be a name of the IANA database, such as Europe/Berlin.",
    "Upper and lower case count; `UTC` is one.",
)


class SettingsChange(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is left out stays as it is."""

    time_zone: Annotated[str, Meta(min_length=1, max_length=64, description="A name of the IANA database.")] | None = (
        None
    )
    low_balance: Amount | None = None


class BillingSettings(Struct, frozen=True, kw_only=True):
    """Days are counted in `time_zone`; a balance that falls below `low_balance` is told. 0 asks for no such notice."""

    account_id: str
    time_zone: str
    low_balance: str


async def show(call: Call[None, None]) -> BillingSettings:
    """The settings of the caller's account."""
    services, account_id = call.services, call.caller.account_id
    return settings_shown(await get_preferences(services.documents, services.shards, account_id))


def settings_shown(view: PreferencesView) -> BillingSettings:
    """The settings of the read model."""
    return BillingSettings(
        account_id=view.account_id, time_zone=view.time_zone, low_balance=format_credits(view.low_balance)
    )


async def change(call: Call[SettingsChange, None]) -> BillingSettings:
    """Changes what is given. A zone counts from the next day that begins in it: the running one keeps its length."""
    body, services, account_id = call.body, call.services, call.caller.account_id
    if body.time_zone is not None and body.time_zone not in time_zones():
        raise ApiError("invalid_time_zone", param="time_zone")
    low = None if body.low_balance is None else parse_credits(body.low_balance, name="low_balance")
    outcome = await call.draft(f"account:{account_id}").submit(
        SetPreferences(time_zone=body.time_zone, low_balance=low)
    )
    # Other processes see the stamp within a second; this one counts in the new zone now.
    services.identities.cache.stamped((f"account:{account_id}",))
    data: dict[str, Any] = data_of(outcome)
    return BillingSettings(
        account_id=account_id, time_zone=data["time_zone"], low_balance=format_credits(data["low_balance"])
    )


ROUTES = (
    Route(
        method="GET",
        path="/billing/settings",
        handler=show,
        summary="Show the billing settings",
        tag="billing",
        access=needs("billing:read"),
        answers={200: BillingSettings},
    ),
    Route(
        method="PATCH",
        path="/billing/settings",
        handler=change,
        summary="Change the billing settings",
        tag="billing",
        access=needs("billing:manage"),
        body=SettingsChange,
        answers={200: BillingSettings},
        errors=("invalid_time_zone", "invalid_amount"),
        write=True,
        example={"time_zone": "Europe/Berlin", "low_balance": "5"},
    ),
)
