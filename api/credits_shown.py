"""Credits as clients send and see them: decimal strings with six places."""

from typing import Annotated, TypeAlias

from msgspec import Meta, Struct

from api.plain_text import CONTROLS, PATTERN
from api.rfc3339 import format_instant, maybe_instant
from api.routes.transactions import TransactionShown
from domain.money import format_credits
from projections.credits import GrantView

PRIORITY_DEFAULT = 100
PRIORITY_MAX = 1_000

Amount: TypeAlias = Annotated[
    str,
    Meta(
        description="Credits as a decimal string with at most six places.",
        examples=["12.500000"],
        extra_json_schema={"pattern": r"^[0-9]{1,10}(\.[0-9]{1,6})?$"},
    ),
]
Reference: TypeAlias = Annotated[
    str,
    Meta(
        min_length=1,
        max_length=255,
        description="Your id of the payment; credits are added once for it.",
        extra_json_schema={"pattern": PATTERN},
    ),
]


class Addition(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Credits to add. Grants with a low `priority` number are used first. Put no personal data into the texts."""

    account_id: Annotated[str, Meta(max_length=100)]
    amount: Amount
    reference: Reference
    reason: Annotated[str, Meta(max_length=500, extra_json_schema={"pattern": rf"^[^{CONTROLS}]*$"})] | None = None
    priority: Annotated[int, Meta(ge=0, le=PRIORITY_MAX)] = PRIORITY_DEFAULT
    expires_at: (
        Annotated[str, Meta(description="In the future; never if left out.", extra_json_schema={"format": "date-time"})]
        | None
    ) = None


class Balance(Struct, frozen=True, kw_only=True):
    """`available` = `balance` - `held`. `debt` is owed beside the balance and repaid first by what comes in."""

    account_id: str
    balance: str
    held: str
    available: str
    debt: str


class Added(Balance, frozen=True, kw_only=True):
    """The transaction, and the account's figures right after it."""

    transaction: TransactionShown


class GrantShown(Struct, frozen=True, kw_only=True):
    """Credits that came in together, and what is left of them."""

    id: str
    source: str
    reference: str | None
    priority: int
    amount: str
    remaining: str
    granted_at: str
    expires_at: str | None


class CreditsQuery(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Of when; now if left out."""

    at: (
        Annotated[
            str,
            Meta(max_length=40, description="RFC 3339, not in the future.", extra_json_schema={"format": "date-time"}),
        ]
        | None
    ) = None


class CreditsShown(Balance, frozen=True, kw_only=True):
    """The account's figures, and its grants in the order in which they are used.

    Of a moment `at` in the past `version` is that of the account's last event up to then; both are null for now.
    """

    grants: list[GrantShown]
    at: str | None = None
    version: int | None = None


def grant_shown(grant: GrantView) -> GrantShown:
    """A grant of the read model."""
    return GrantShown(
        id=grant.id,
        source=grant.source,
        reference=grant.reference,
        priority=grant.priority,
        amount=format_credits(grant.amount),
        remaining=format_credits(grant.remaining),
        granted_at=format_instant(grant.granted_at),
        expires_at=maybe_instant(grant.expires_at),
    )
