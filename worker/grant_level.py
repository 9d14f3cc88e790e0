"""`python -m worker grant-level`: makes a user a member of an organization, or gives a member a level.

For an organization whose admins cannot be reached any more; otherwise its admins do this themselves.
"""

import argparse

from domain.member import LEVELS, GrantLevel, Level
from projections.postgres import PostgresDocuments
from projections.users import get_user
from worker.operating import NotDone, operators_store
from worker.operator_command import apply_command
from worker.settings import WorkerSettings


def add_words(parser: argparse.ArgumentParser) -> None:
    """The command's words."""
    parser.add_argument("org_id", help="as in GET /orgs: org_…")
    parser.add_argument("user_id", help="as in GET /users/me: user_…")
    parser.add_argument("level", choices=LEVELS, help="what it may do there: docs/access.md")


async def grant_level(settings: WorkerSettings, *, org_id: str, user_id: str, level: Level) -> str:
    """Gives the level. `NotDone` for a user who does not exist, and what `apply_command` raises."""
    async with operators_store(settings) as store:
        if await get_user(PostgresDocuments(store.pool), await store.shards(), user_id) is None:
            raise NotDone("not applied: There is no such user.")
        await apply_command(settings, store, f"org:{org_id}", GrantLevel(user_id=user_id, level=level))
    return f"{user_id} is a member of {org_id} with the level {level}"
