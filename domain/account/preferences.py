"""What an account's owner has set: the zone in which its days are counted, and below which balance it wants to know.

Which time zones there are is looked up by the API; the domain keeps the name.
"""

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

from msgspec import Struct

from domain.aggregate import Answer
from domain.errors import Invalid
from domain.instant import Instant
from domain.message import Command, Event
from domain.money import AMOUNT_MAX, MICRO, MicroCredits

if TYPE_CHECKING:
    from domain.account.account import Account

TIME_ZONE = "UTC"
"""Of an account that has set none."""
LOW_BALANCE: MicroCredits = MICRO
"""Of an account that has set none."""
_ZONE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_+/-]{0,63}", re.ASCII)


class SetPreferences(Command, frozen=True, kw_only=True, tag="account.set_preferences"):
    """Changes what is given; `None` leaves it as it is. `time_zone` is a name of the IANA database."""

    category = "account"
    time_zone: str | None = None
    low_balance: MicroCredits | None = None


class PreferencesChanged(Event, frozen=True, kw_only=True, tag="account.preferences_changed"):
    """All preferences as they are from now on."""

    time_zone: str
    low_balance: MicroCredits
    changed_at: Instant


class Preferences(Struct, kw_only=True):
    """As they are; a `low_balance` of 0 asks for no notice, since no balance is below it."""

    time_zone: str = TIME_ZONE
    low_balance: MicroCredits = LOW_BALANCE


COMMANDS = (SetPreferences,)
EVENTS = (PreferencesChanged,)


def decide(account: "Account", command: SetPreferences, at: Instant) -> Sequence[PreferencesChanged]:
    """The preferences after the change, unless they are so already. `Invalid` on what can be no zone or no amount."""
    known = account.preferences
    zone = known.time_zone if command.time_zone is None else command.time_zone
    low = known.low_balance if command.low_balance is None else command.low_balance
    if not _ZONE.fullmatch(zone):
        raise Invalid("invalid_time_zone", "time_zone must be a name of the IANA database.", param="time_zone")
    if not 0 <= low <= AMOUNT_MAX:
        raise Invalid("invalid_amount", "low_balance must be 0 to 1000000000 credits.", param="low_balance")
    if (zone, low) == (known.time_zone, known.low_balance):
        return []
    return [PreferencesChanged(time_zone=zone, low_balance=low, changed_at=at)]


def evolve(preferences: Preferences, event: PreferencesChanged) -> None:
    """Writes a change down."""
    preferences.time_zone = event.time_zone
    preferences.low_balance = event.low_balance


def answer(account: "Account", _command: SetPreferences, _events: Sequence[Event]) -> Answer:
    """The preferences as they are now."""
    return {"time_zone": account.preferences.time_zone, "low_balance": account.preferences.low_balance}
