"""The daily export: heads of the log, and trails of accounts whose plan has it."""

import asyncio
from pathlib import Path

import msgspec

from domain.account.plan_terms import PlanTerms
from domain.account.subscription import ConfirmSubscription
from domain.instant import DAY, HOUR, SECOND, Instant
from eventstore.clock import system_clock
from eventstore.codec import MacChain
from projections.postgres import PostgresDocuments
from tests.worker.operator.yard import Yard, grant, register, role
from worker.audit_export import AuditExport, day_name
from worker.heads import begun_name
from worker.verify import verify

NOON: Instant = 1_800_014_400 * SECOND
"""2027-01-15T12:00:00Z: at a real clock's midnight a test would end on another day than it began."""


def confirm(*features: str, status: str = "active") -> ConfirmSubscription:
    """A plan with these features."""
    terms = PlanTerms(
        messages_per_day=None,
        requests_per_minute=None,
        requests_per_day=None,
        agent_slots=None,
        api_keys=None,
        seats=None,
        features=features,
    )
    return ConfirmSubscription(plan="p", status=status, terms=terms, occurred_at=1, reference=f"r{status}")  # type: ignore[arg-type]  # one of its words


def exporting(yard: Yard, folder: Path, at: Instant) -> AuditExport:
    """An export whose clock stands still."""
    macs = MacChain(dict(yard.settings.log_mac_keys))
    return AuditExport(folder, yard.store, PostgresDocuments(yard.store.pool), macs, clock=lambda: at)


async def test_each_day_is_exported_once(yard: Yard, tmp_path: Path) -> None:
    """Heads of today; of the day before, the trail of who has the feature, refusals included, and of nobody else."""
    today = NOON
    async with yard.working(lambda: NOON):
        for user, features in (("user_1", ("audit_logs", "sso")), ("user_2", ("sso",)), ("user_3", ("audit_logs",))):
            await yard.apply(f"user:{user}", register(user))
            await yard.apply(f"account:{user}", confirm(*features))
            await yard.apply(f"account:{user}", grant(user, f"g_{user}"))
        await yard.apply("user:user_1", register("user_1"))
        await yard.apply("user:user_1", role("developer"))
        await yard.apply("account:user_3", confirm(status="canceled"))
    await exporting(yard, tmp_path, today).catch_up()
    heads = tmp_path / "heads" / f"{day_name(today)}.json"
    assert "no difference" in await verify(yard.settings, heads=heads)
    file = tmp_path / "accounts" / "user_1" / f"{day_name(today)}.ndjson"
    assert not file.exists(), "the day is not over"

    await exporting(yard, tmp_path, today + DAY + HOUR).catch_up()
    lines = [msgspec.json.decode(line) for line in file.read_bytes().splitlines()]
    assert [(line["action"], line["outcome"], line["code"]) for line in lines] == [
        ("user.grant_role", "applied", None),
        ("user.register", "refused", "user_exists"),
        ("credits.add", "applied", None),
        ("subscription.confirm", "applied", None),
        ("user.register", "applied", None),
    ]
    assert sorted(path.name for path in (tmp_path / "accounts").iterdir() if path.is_dir()) == ["user_1"]
    before = file.stat()
    await exporting(yard, tmp_path, today + DAY + 2 * HOUR).catch_up()
    assert file.stat() == before
    assert len(list((tmp_path / "heads").iterdir())) == 2


async def test_workers_of_one_pid_share_a_folder(yard: Yard, tmp_path: Path) -> None:
    """In containers each worker is process 1: two that export at once leave one whole file."""
    tomorrow = NOON + DAY + HOUR
    async with yard.working(lambda: NOON):
        await yard.apply("user:user_1", register("user_1"))
        await yard.apply("account:user_1", confirm("audit_logs"))
    await asyncio.gather(*(exporting(yard, tmp_path, tomorrow).catch_up() for _ in range(2)))
    file = tmp_path / "accounts" / "user_1" / f"{day_name(tomorrow - DAY)}.ndjson"
    actions = [msgspec.json.decode(line)["action"] for line in file.read_bytes().splitlines()]
    assert actions == ["subscription.confirm", "user.register"]
    begun = [path.name for path in tmp_path.rglob(".*") if not path.name.endswith(".done")]
    assert begun == []


async def test_what_a_killed_worker_has_begun_goes(yard: Yard, tmp_path: Path) -> None:
    """A day later, when nobody can be writing on it; what is whole, and what is not ours, stays."""
    today = system_clock()
    begun = [begun_name(tmp_path / "heads" / "2026-01-02.json")]
    begun.append(begun_name(tmp_path / "accounts" / "user_1" / "2026-01-02.ndjson"))
    kept = [tmp_path / "heads" / "2026-01-02.json", tmp_path / "accounts" / ".2026-01-02.done"]
    kept.append(tmp_path / "accounts" / "user_1" / ".notes")
    for path in (*begun, *kept):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    await exporting(yard, tmp_path, today + HOUR).catch_up()
    assert all(path.exists() for path in (*begun, *kept))
    await exporting(yard, tmp_path, today + DAY + HOUR).catch_up()
    assert [path.exists() for path in (*begun, *kept)] == [False, False, True, True, True]
