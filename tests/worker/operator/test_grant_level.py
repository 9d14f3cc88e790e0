"""`grant-level`: an organization that has lost its admins gets one again, through the log."""

import pytest

from devnet.servers import unique_topic
from domain.member import LeaveForGood
from domain.organization import CreateOrganization
from projections.members import get_member
from projections.postgres import PostgresDocuments
from tests.worker.operator.yard import SHARDS, kafka_yard, register
from worker.grant_level import grant_level
from worker.operating import NotDone


async def test_an_organization_gets_an_admin_again(database_url: str, kafka: str) -> None:
    """Who is named is a member once the command returns; nobody who does not exist, and nowhere that is not there."""
    async with kafka_yard(database_url, kafka, unique_topic()) as yard, yard.working():
        await yard.apply("user:user_1", register("user_1"))
        await yard.apply("org:org_1", CreateOrganization(org_id="org_1", name_sealed="n", created_by="ada"))
        await yard.apply("org:org_1", LeaveForGood(user_id="ada"))
        said = await grant_level(yard.settings, org_id="org_1", user_id="user_1", level="admin")
        assert said == "user_1 is a member of org_1 with the level admin"
        found = await get_member(PostgresDocuments(yard.store.pool), SHARDS, "org_1", "user_1")
        assert found is not None
        assert found.level == "admin"
        for org_id, user_id, level, why in (
            ("org_1", "user_2", "admin", "no such user"),
            ("org_2", "user_1", "admin", "no such organization"),
            ("org_1", "user_1", "read", "keeps at least one admin"),
        ):
            with pytest.raises(NotDone, match=why):
                await grant_level(yard.settings, org_id=org_id, user_id=user_id, level=level)  # type: ignore[arg-type]
