"""Compares two tables of one collection's documents, shard by shard, inside the database."""

from msgspec import Struct

from eventstore.postgres.pool import DirectConnection

SHOWN_MAX = 5

DIFFERING = """
SELECT key,
    CASE
        WHEN live.doc IS NULL THEN 'missing'
        WHEN made.doc IS NULL THEN 'surplus'
        WHEN live.doc <> made.doc THEN 'another document'
        ELSE 'another owner or sort'
    END AS how,
    count(*) OVER () AS total
FROM (SELECT key, owner, sort, doc FROM {live} WHERE shard = $1) AS live
FULL JOIN (SELECT key, owner, sort, doc FROM {made} WHERE shard = $1) AS made USING (key)
WHERE (live.owner, live.sort, live.doc) IS DISTINCT FROM (made.owner, made.sort, made.doc)
ORDER BY key
LIMIT $2
"""


# A document's digest covers its columns; those of a shard are joined by XOR, which keys keep from cancelling out. Each
# table is read once, in its own order: by shards each of its pages would be read for many of them.
DIGESTS = """
SELECT shard, count(*) AS documents, bit_xor(
    jsonb_hash_extended(doc, hashtextextended(key, hashtextextended(owner, hashtextextended(sort, 0))))
) AS digest
FROM {table} GROUP BY shard
"""
UNLIKE = """
SELECT shard FROM ({live}) AS live FULL JOIN ({made}) AS made USING (shard)
WHERE (live.documents, live.digest) IS DISTINCT FROM (made.documents, made.digest)
ORDER BY shard
"""

# One connection compares all, so the server's other cores help with every table of more than 8 MB.
HELPED = "SET LOCAL parallel_setup_cost = 0"


class Difference(Struct, frozen=True, kw_only=True):
    """Documents of one collection and shard that are not what the log makes of them."""

    collection: str
    shard: int
    count: int
    shown: tuple[str, ...]
    """Some keys with what is wrong: `missing`, `surplus`, `another document`, `another owner or sort`."""


async def compare(
    connection: DirectConnection, collection: str, shard: int, *, live: str, made: str
) -> Difference | None:
    """How the table `live` differs from `made` on this shard; `None` where it does not."""
    rows = await connection.fetch(DIFFERING.format(live=live, made=made), shard, SHOWN_MAX)
    if not rows:
        return None
    return Difference(
        collection=collection,
        shard=shard,
        count=rows[0]["total"],
        shown=tuple(f"{row['key']} ({row['how']})" for row in rows),
    )


async def compare_digests(connection: DirectConnection, collection: str, *, live: str, made: str) -> list[Difference]:
    """The same of all shards, where nothing differs for little: documents are joined only where digests differ.

    Inside a transaction, which sees both tables at one moment.
    Digests of 64 bits are for chance, not for an enemy: fit where a difference is reported, not where it is proven.
    """
    sql = UNLIKE.format(live=DIGESTS.format(table=live), made=DIGESTS.format(table=made))
    await connection.execute(HELPED)
    unlike = [row["shard"] for row in await connection.fetch(sql)]
    found = [await compare(connection, collection, shard, live=live, made=made) for shard in unlike]
    return [difference for difference in found if difference is not None]
