"""What a plan allows, grants and costs, as it is put on record when an account subscribes.

The plan file of the API is read into the same shape, so that each term is written once.
"""

from collections.abc import Mapping

from msgspec import Struct

from domain.money import MicroCredits

FREE = "free"
"""The plan of an account that never subscribed, or whose subscription has ended."""
SEATS_MAX = 100_000


class FeatureLimit(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """How much of a metered feature a plan has in a day and in a calendar month; `None` is unlimited."""

    per_day: int | None = None
    per_month: int | None = None


class PlanTerms(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Limits are whole numbers, `None` is unlimited; `price` is micro-dollars a month, `None` is by agreement."""

    messages_per_day: int | None
    requests_per_minute: int | None
    requests_per_day: int | None
    agent_slots: int | None
    api_keys: int | None
    seats: int | None
    features: tuple[str, ...]
    organizations: int | None = None
    """How many a person on the plan can make; each has limits of its own, those of this plan until it buys one."""
    price: MicroCredits | None = None
    per_seat: bool = False
    """Price and monthly credits are for each seat."""
    monthly_credits: MicroCredits = 0
    trial_days: int = 0
    """How long a trial lasts where nobody says when it ends; 0 is a month, like any other period."""
    grace_days: int = 0
    """How long the plan goes on after a period that was not paid."""
    feature_limits: Mapping[str, FeatureLimit] = {}  # msgspec copies the default
    """Of metered features; one that is not named here is unlimited."""

    def price_of(self, seats: int | None) -> MicroCredits | None:
        """What a month of so many seats costs; `None` is by agreement."""
        return self.price * (seats or 1) if self.price is not None and self.per_seat else self.price

    def credits_for(self, seats: int | None) -> MicroCredits:
        """What a period of so many seats is granted."""
        return self.monthly_credits * (seats or 1) if self.per_seat else self.monthly_credits
