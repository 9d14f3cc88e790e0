"""Counts messages by the holds that begin them, and remembers how high the balance was.

A message is one hold that delivered something, whatever it cost. One whose hold ends with nothing delivered is given
back, if its day is still the present one; a late correction of the hold corrects the count as well.
"""

from typing import TypeAlias

from domain.account.claw_backs import CreditsGivenBack
from domain.account.credits import CreditsGranted
from domain.account.hold_corrections import HoldCorrected
from domain.account.holds import HoldClosed, HoldPlaced
from domain.account.quotas import Quotas
from domain.account.usage import Usage

EVENTS = (HoldPlaced, HoldClosed, HoldCorrected, CreditsGranted, CreditsGivenBack)
"""Of other parts; this one has none of its own."""
Followed: TypeAlias = HoldPlaced | HoldClosed | HoldCorrected | CreditsGranted | CreditsGivenBack


def evolve(quotas: Quotas, event: Followed) -> None:
    """Counts a message, gives one back, or notes a balance that has risen."""
    match event:
        case HoldPlaced():
            if event.messages is not None:
                quotas.messages.take(event.messages)
        case HoldClosed():
            if event.message_day == quotas.messages.starts_at:
                quotas.messages.used += given_back(None, event.usage)
        case CreditsGranted() | CreditsGivenBack():
            quotas.balance_peak = max(quotas.balance_peak, event.balance)
        case HoldCorrected():
            quotas.balance_peak = max(quotas.balance_peak, event.balance)
            if event.message_day == quotas.messages.starts_at:
                quotas.messages.used += given_back(event.replaced, event.usage)


def given_back(before: Usage | None, now: Usage) -> int:
    """What the end of a hold (`before` is `None`), or its correction, changes in the count of its day."""
    counted = before is None or before.source != "none"
    return (now.source != "none") - counted
