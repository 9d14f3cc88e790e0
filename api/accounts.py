"""Whether an account may be written to by those who name it: money and plans of nobody are refused."""

import re

from api.errors import ApiError, declare
from api.parts import Services
from projections.organizations import get_organization
from projections.users import get_user

_ORG_ID = re.compile(r"org_[0-9a-f]{32}", re.ASCII)
_USER_ID = re.compile(r"user_[0-9a-f]{32}", re.ASCII)

declare(
    "account_not_found",
    "not_found",
    "There is no such account.",
    "Use the `account_id` of a user who registered, or an organization's id.",
)


async def require_account(services: Services, account_id: str) -> None:
    """404 `account_not_found` unless the account's owner exists."""
    documents, shards = services.documents, services.shards
    found: object | None = None
    if _USER_ID.fullmatch(account_id):
        found = await get_user(documents, shards, account_id)
    elif _ORG_ID.fullmatch(account_id):
        found = await get_organization(documents, shards, account_id)
    if found is None:
        raise ApiError("account_not_found", param="account_id")
