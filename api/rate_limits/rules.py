"""Which limits a caller is under: its account's by plan, its key's own; or its address's, where nobody is known."""

from collections.abc import Sequence

from msgspec import Struct
from msgspec.structs import force_setattr

from api.plans import Plan
from domain.account.api_key_limits import KeyLimits
from eventstore.rates import DAY_S, MINUTE_S

KEY = "key "
"""What the subjects of API keys begin with; their ids follow."""


class Rule(Struct, frozen=True, kw_only=True):
    """One limit of one subject. `limit` `None` only counts: uses of a key that has no limit of its own."""

    name: str
    subject: str
    window_s: int
    limit: int | None
    reported: bool = False
    """Its minutes go on record (`api_key.used`)."""
    key: tuple[str, int] = ("", 0)
    """Subject and window, under which it is counted."""
    field: bytes = b""
    """What `RateLimit` says of it before the numbers."""

    def __post_init__(self) -> None:
        """What every request would have to make anew."""
        force_setattr(self, "key", (self.subject, self.window_s))
        force_setattr(self, "field", f'"{self.name}"'.encode("ascii"))


class Allowance(Struct, frozen=True, kw_only=True):
    """All rules of a caller, and how they are announced: they stay the same for as long as the caller is cached."""

    rules: tuple[Rule, ...]
    policy: bytes
    """The value of `RateLimit-Policy`; empty where no limit is."""


def allowance(rules: Sequence[Rule]) -> Allowance:
    """Rules with their announcement (draft-ietf-httpapi-ratelimit-headers-10, section 3: a list of quota policies)."""
    policies = [f'"{rule.name}";q={rule.limit};w={rule.window_s}' for rule in rules if rule.limit is not None]
    return Allowance(rules=tuple(rules), policy=", ".join(policies).encode("ascii"))


def caller_allowance(
    account_id: str, plan: Plan, key_id: str | None, limits: KeyLimits, *, enforced: bool, scope: str | None = None
) -> Allowance:
    """The rules of an authenticated caller whose request needs a scope that the plan limits, or none such.

    Not `enforced`: its key's uses are counted, and nothing is refused.
    """
    account, key = f"account {account_id}", f"{KEY}{key_id}"
    found = [
        Rule(name="account-minute", subject=account, window_s=MINUTE_S, limit=plan.requests_per_minute),
        Rule(name="account-day", subject=account, window_s=DAY_S, limit=plan.requests_per_day),
    ]
    if scope is not None:
        limit = plan.scope_requests_per_minute[scope]
        found.append(Rule(name="scope-minute", subject=f"{account} {scope}", window_s=MINUTE_S, limit=limit))
    if key_id is not None:
        found += [
            Rule(name="key-minute", subject=key, window_s=MINUTE_S, limit=limits.requests_per_minute, reported=True),
            Rule(name="key-day", subject=key, window_s=DAY_S, limit=limits.requests_per_day),
        ]
    if not enforced:
        found = [
            Rule(name=r.name, subject=r.subject, window_s=r.window_s, limit=None, reported=r.reported) for r in found
        ]
    return allowance([rule for rule in found if rule.limit is not None or rule.reported])


def address_allowance(digest: str, requests_per_minute: int) -> Allowance:
    """The rule of an address, by its digest: addresses are personal data, and counts lie in the database."""
    rule = Rule(name="address-minute", subject=f"address {digest}", window_s=MINUTE_S, limit=requests_per_minute)
    return allowance([rule])
