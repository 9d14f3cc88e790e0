"""Whether the keys that chain events are those that the log was written with.

A worker with another secret under a known id would go on with chains that `verify` takes for tampering from there on.
"""

from eventstore.codec import MacChain
from eventstore.postgres.pool import Pool
from eventstore.records import StoredEvent

NEWEST = """
SELECT e.shard, e.stream, e.version, e.seq, e.at, e.type, e.schema_version, e.payload, e.metadata, e.mac,
    before.mac AS mac_before
FROM shard_head AS head
JOIN events AS e ON e.shard = head.shard AND e.seq = head.seq
LEFT JOIN events AS before ON before.shard = e.shard AND before.stream = e.stream AND before.version = e.version - 1
"""


async def why_other_keys(pool: Pool, macs: MacChain) -> str | None:
    """Says what is wrong where nothing that keys of these ids have signed last was signed with these secrets.

    One event that was tampered with stops nobody: that is for `verify` to find. `None` too while there is no event.
    """
    checked = 0
    for row in await pool.fetch(NEWEST):
        values = dict(row)
        before = values.pop("mac_before") or b""
        event = StoredEvent(**values)
        if not macs.knows(event.mac):
            continue
        if macs.verify(before, event):
            return None
        checked += 1
    if not checked:
        return None
    return (
        "the log was written with other secrets than those in FORMSTATE_LOG_MAC_KEYS, under the same id: "
        "give the ones it was written with; a new one needs an id of its own, and comes first"
    )
