"""Whether an account may be written to by those who name it: money and plans of nobody are refused."""

import re

from api.errors import ApiError, declare
from api.parts import Services
from projections.users import get_user

_USER_ID = re.compile(r"user_[0-9a-f]{32}", re.ASCII)

declare("account_not_found", "not_found", "There is no such account.", "Use the `account_id` of a user who registered.")


async def require_account(services: Services, account_id: str) -> None:
    """404 `account_not_found` unless the account's owner exists."""
    is_user = _USER_ID.fullmatch(account_id) is not None
    if not is_user or await get_user(services.documents, services.shards, account_id) is None:
        raise ApiError("account_not_found", param="account_id")
