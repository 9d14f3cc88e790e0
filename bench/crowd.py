"""A million keys and their users: what an API process keeps of them, and what finding one among them costs."""

import statistics
import time
from collections.abc import Sequence

import asyncpg
import msgspec
import psutil

from api.account_plan import AccountPlan
from api.identity.identity_cache import Identity, IdentityCache
from api.plans import load_plans
from api.rate_limits.limiter import RateLimiter
from api.rate_limits.rules import caller_allowance
from bench.benchmark import Bench, Benchmark
from bench.databases import migrated_database
from bench.deployment import PLANS
from bench.row import Row, held
from domain.account.api_key_limits import NO_LIMITS
from eventstore.postgres.pool import API, Pool
from projections.api_keys import ApiKeyView, find_api_key
from projections.document_tables import table_of
from projections.postgres import PostgresDocuments

FEW, MANY = 10_000, 1_000_000
FLAT = 1.3
KEPT_MB = 100.0
"""Of identities, rules and windows together, each of which keeps 20,000."""
LOOK_UPS = 500
SCATTER = 7_919
"""A prime: numbers that are this far apart lie on many pages."""
TELL_EVERY = 1_000

FILL = """
INSERT INTO {table} (shard, key, owner, sort, doc)
SELECT n % 32, 'key_' || lpad(to_hex(n), 32, '0'), 'user_' || lpad(to_hex(n), 32, '0'), lpad(n::text, 20, '0'),
    jsonb_set($1::jsonb, '{{id}}', to_jsonb('key_' || lpad(to_hex(n), 32, '0')))
FROM generate_series(0, $2::bigint - 1) AS n
"""


async def measure(bench: Bench) -> Sequence[Row]:
    """Look-ups by turns among few and among many, then what a crowd leaves behind in this process."""
    few, many = [], []
    async with migrated_database(bench.postgres) as small, migrated_database(bench.postgres) as large:
        await _fill(small, FEW)
        await _fill(large, MANY)
        for _ in range(bench.repeats):
            few.append(await _look_up_us(small, FEW))
            many.append(await _look_up_us(large, MANY))
    return [
        held(
            "crowd key look-up",
            statistics.median(many),
            "µs",
            ceiling=statistics.median(few),
            target=FLAT,
            better="low",
        ),
        held("crowd memory", _crowded_mb(MANY), "MB", target=KEPT_MB, better="low"),
    ]


async def _fill(url: str, keys: int) -> None:
    view = ApiKeyView(
        id="",
        account_id="user_" + "0" * 32,
        name="bench",
        scopes=("read", "write"),
        mode="live",
        digest="d" * 64,
        hint="fs_live_…abcd",
        created_by="user_" + "0" * 32,
        created_at=0,
        expires_at=None,
    )
    connection = await asyncpg.connect(url)
    try:
        table = table_of("api_keys")
        await connection.execute(FILL.format(table=table), msgspec.json.encode(view).decode(), keys)
        await connection.execute(f"VACUUM ANALYZE {table}")
    finally:
        await connection.close()


async def _look_up_us(url: str, keys: int) -> float:
    """Microseconds of finding a key that was not asked for before, the first ones left out."""
    pool = await Pool.open(url, API, connections_max=1)
    documents, took = PostgresDocuments(pool), []
    try:
        for number in range(LOOK_UPS):
            began = time.perf_counter()
            found = await find_api_key(documents, f"key_{number * SCATTER % keys:032x}")
            took.append(time.perf_counter() - began)
            assert found is not None
    finally:
        await pool.close()
    return statistics.median(took[LOOK_UPS // 10 :]) * 1e6


def _crowded_mb(keys: int) -> float:
    """What this process grows by when so many keys ask once."""
    process, plan = psutil.Process(), load_plans(PLANS).free
    cache, limiter = IdentityCache(), RateLimiter()
    subscription = AccountPlan(account_id="", plan=plan, status="active", seats=1)
    before = process.memory_info().rss
    for number in range(keys):
        user_id, key_id = f"user_{number:032x}", f"key_{number:032x}"
        identity = Identity(
            principals=(key_id, user_id, f"account:{user_id}"),
            user_id=user_id,
            account_id=user_id,
            key_id=key_id,
            role="user",
            scopes=frozenset(),
            mode="live",
            expires_at=None,
            subscription=subscription,
        )
        cache.keep(number.to_bytes(32), identity, cache.generation)
        limiter.take(caller_allowance(user_id, plan, key_id, NO_LIMITS, enforced=True))
        if number % TELL_EVERY == 0:
            limiter.tell(2 * keys)
    return (process.memory_info().rss - before) / 1e6


BENCHMARK = Benchmark(
    name="crowd", summary="a million keys: what an API process keeps of them, and finding one", measure=measure
)
