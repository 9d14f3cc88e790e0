"""`python -m worker grant-role`: gives a user a role. The first admin can be made in no other way."""

import argparse

from domain.user import GrantRole, Role
from worker.operating import operators_store
from worker.operator_command import apply_command
from worker.settings import WorkerSettings

ROLES: tuple[Role, ...] = ("user", "developer", "admin")


def add_words(parser: argparse.ArgumentParser) -> None:
    """The command's words."""
    parser.add_argument("user_id", help="as in GET /users/me: user_…")
    parser.add_argument("role", choices=ROLES, help="what it may do: docs/access.md")


async def grant_role(settings: WorkerSettings, *, user_id: str, role: Role) -> str:
    """Gives the role; what `apply_command` raises."""
    async with operators_store(settings) as store:
        await apply_command(settings, store, f"user:{user_id}", GrantRole(role=role))
    return f"{user_id} has the role {role}"
