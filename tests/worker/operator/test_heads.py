"""Exported heads: a log whose end was cut off, with all traces of it, is found out."""

from pathlib import Path

import pytest

from eventstore.shards import shard_of
from tests.worker.operator.yard import SHARDS, Yard, grant, register
from worker.heads import heads
from worker.operating import NotDone
from worker.verify import verify

HOME = shard_of("user:user_1", SHARDS)

CUT = """
WITH last AS (
    DELETE FROM events WHERE shard = $1 AND seq = (SELECT seq FROM shard_head WHERE shard = $1)
    RETURNING stream, version, (metadata::text IS NOT NULL) AS there
), head AS (
    UPDATE shard_head SET seq = seq - 1 WHERE shard = $1
), gone AS (
    DELETE FROM stream_head USING last WHERE stream_head.stream = last.stream AND last.version = 1
)
SELECT stream, version FROM last
"""
"""What somebody would do who can write the database and knows the schema: the last event of a shard never happened."""


async def _cut(yard: Yard) -> None:
    """Takes back the registration of `user_1`, the last event of its shard, with outcome and documents."""
    [(stream, version)] = await yard.rows(CUT, HOME)
    assert (stream, version) == ("user:user_1", 1)
    await yard.rows("DELETE FROM outcomes WHERE stream = 'user:user_1'")
    for table in ("users", "emails", "directory", "audit", "audit_received"):
        own = "doc->>'stream' = 'user:user_1'" if table.startswith("audit") else "doc::text LIKE '%user_1%'"
        await yard.rows(f"DELETE FROM rm_{table} WHERE {own}")  # noqa: S608  # our names


async def test_a_cut_off_tail_is_found_by_the_heads_alone(yard: Yard, tmp_path: Path) -> None:
    """Nothing within the database tells of it; the heads do, and name the place."""
    async with yard.working():
        await yard.apply("account:user_1", grant("user_1", "a"))
        await yard.apply("user:user_1", register("user_1"))
    file = tmp_path / "heads.json"
    assert f"wrote the heads of {SHARDS} shards" in await heads(yard.settings, out=file)
    assert "no difference" in await verify(yard.settings, heads=file)
    await _cut(yard)
    assert "no difference" in await verify(yard.settings)
    with pytest.raises(NotDone, match=rf"heads: shard {HOME}: had event \d+ \(user:user_1 version 1\), which is gone"):
        await verify(yard.settings, heads=file)


async def test_a_log_that_went_on_otherwise_is_found(yard: Yard, tmp_path: Path) -> None:
    """Another event at the same place, signed by the same key, as after a cut that workers went on from."""
    async with yard.working():
        await yard.apply("user:user_1", register("user_1"))
    file = tmp_path / "heads.json"
    await heads(yard.settings, out=file)
    await _cut(yard)
    async with yard.working():
        await yard.apply("user:user_1", register("user_1"))
    assert "no difference" in await verify(yard.settings)
    with pytest.raises(NotDone, match=f"heads: shard {HOME}: has another event at 1 than user:user_1 version 1"):
        await verify(yard.settings, heads=file)


async def test_refusals_that_were_taken_away_with_their_outcomes_are_found(yard: Yard, tmp_path: Path) -> None:
    """They leave no event: how many there were is what tells."""
    async with yard.working():
        await yard.apply("user:user_1", register("user_1"))
        assert (await yard.apply("user:user_1", register("user_1"))).status == "rejected"
    file = tmp_path / "heads.json"
    await heads(yard.settings, out=file)
    assert "no difference" in await verify(yard.settings, heads=file)
    await yard.rows("DELETE FROM refusals")
    await yard.rows("DELETE FROM outcomes WHERE status = 'rejected'")
    assert "no difference" in await verify(yard.settings)
    with pytest.raises(NotDone, match=f"heads: shard {HOME}: had 1 refused commands, of which 0 are left"):
        await verify(yard.settings, heads=file)


async def test_a_log_that_went_on_is_as_it_was(yard: Yard, tmp_path: Path) -> None:
    """Old heads stay good: everything up to them is there."""
    async with yard.working():
        await yard.apply("user:user_1", register("user_1"))
        await heads(yard.settings, out=tmp_path / "heads.json")
        await yard.fill(accounts=3, operations=10)
    assert "no difference" in await verify(yard.settings, heads=tmp_path / "heads.json")


async def test_heads_are_signed_and_never_overwritten(yard: Yard, tmp_path: Path) -> None:
    """A changed or foreign file is refused; a name that is taken too."""
    file = tmp_path / "heads.json"
    await heads(yard.settings, out=file)
    with pytest.raises(NotDone, match="is there already"):
        await heads(yard.settings, out=file)
    whole = file.read_bytes()
    for changed, why in (
        (whole.replace(b'"heads":"ey', b'"heads":"eX', 1), "holds no exported heads|was not signed"),
        (b"{}", "holds no exported heads"),
        (whole.replace(b'"mac":"b', b'"mac":"c', 1), "was not signed"),
    ):
        file.write_bytes(changed)
        with pytest.raises(NotDone, match=why):
            await verify(yard.settings, heads=file)
    with pytest.raises(NotDone, match="cannot be read"):
        await verify(yard.settings, heads=tmp_path / "none.json")


async def test_a_file_that_cannot_be_written_is_named(yard: Yard, tmp_path: Path) -> None:
    """A folder that is not there is told as what it is, not as the name that is used while writing."""
    with pytest.raises(NotDone, match=r"nowhere/heads\.json cannot be written: No such file or directory"):
        await heads(yard.settings, out=tmp_path / "nowhere" / "heads.json")
