"""What `verify` knows about an account's read models of money: all of them tell the same, and the log with them."""

from eventstore.postgres.pool import DirectConnection
from projections.usage import FIGURES
from worker.findings import Findings

# Numbers that are zero and holds that are open do not say so in their documents.
DISAGREEING = """
WITH credits AS (
    SELECT owner, (doc->>'balance')::numeric AS balance, (doc->>'held')::numeric AS held,
        (doc->>'debt')::numeric AS debt,
        (SELECT coalesce(sum((grants->>'remaining')::numeric), 0) FROM jsonb_array_elements(doc->'grants') AS grants)
            AS granted
    FROM rm_credits WHERE shard = $1
), transactions AS (
    SELECT owner,
        sum((doc->>'amount')::numeric) AS moved,
        sum(coalesce((doc->>'owed')::numeric, 0) - coalesce((doc->>'repaid')::numeric, 0)) AS owed,
        sum(
            coalesce((doc->>'owed')::numeric, 0) - coalesce((doc->>'repaid')::numeric, 0) - (doc->>'amount')::numeric
        ) FILTER (WHERE doc->>'kind' IN ('charge', 'correction')) AS cost
    FROM rm_transactions WHERE shard = $1 GROUP BY owner
), holds AS (
    SELECT owner,
        count(*) AS listed,
        count(*) FILTER (WHERE coalesce(doc->>'status', 'open') <> 'open') AS over,
        count(*) FILTER (WHERE (doc->>'corrected')::boolean) AS corrected,
        sum((doc->>'amount')::numeric) FILTER (WHERE coalesce(doc->>'status', 'open') = 'open') AS held,
        sum(coalesce((doc->>'cost')::numeric, 0)) AS cost
    FROM rm_holds WHERE shard = $1 GROUP BY owner
), log AS (
    SELECT substr(stream, 9) AS owner,
        count(*) FILTER (WHERE type = 'hold.placed') AS placed,
        count(*) FILTER (WHERE type = 'hold.closed') AS closed,
        count(*) FILTER (WHERE type = 'hold.corrected') AS corrected
    FROM events WHERE shard = $1 AND type IN ('hold.placed', 'hold.closed', 'hold.corrected') GROUP BY stream
), days AS (
    SELECT owner, sum({last} + {earlier_sum}) AS cost, sum({last} + {earlier}) AS slots
    FROM rm_usage_days WHERE shard = $1 GROUP BY owner
), quarters AS (
    SELECT owner, sum({last} + {earlier_sum}) AS cost, sum({last} + {earlier}) AS slots
    FROM rm_usage_quarters WHERE shard = $1 GROUP BY owner
), account AS (
    SELECT owner,
        coalesce(credits.balance, 0) AS balance, coalesce(transactions.moved, 0) AS moved,
        coalesce(credits.granted, 0) AS granted,
        coalesce(credits.debt, 0) AS debt, coalesce(transactions.owed, 0) AS owed,
        coalesce(credits.held, 0) AS held, coalesce(holds.held, 0) AS open_holds,
        coalesce(log.placed, 0) AS placed, coalesce(holds.listed, 0) AS listed,
        coalesce(log.closed, 0) AS closed, coalesce(holds.over, 0) AS over,
        coalesce(log.corrected, 0) AS corrections, coalesce(holds.corrected, 0) AS corrected,
        coalesce(transactions.cost, 0) AS charged, coalesce(holds.cost, 0) AS held_cost,
        coalesce(days.cost, 0) AS by_day, coalesce(days.slots, 0) AS by_half_hour,
        coalesce(quarters.cost, 0) AS by_block, coalesce(quarters.slots, 0) AS by_quarter
    FROM credits FULL JOIN transactions USING (owner) FULL JOIN holds USING (owner) FULL JOIN log USING (owner)
        FULL JOIN days USING (owner) FULL JOIN quarters USING (owner)
)
SELECT * FROM account
WHERE balance < held OR (debt > 0 AND balance > held) OR {contradictions}
ORDER BY owner
LIMIT $2
"""

# A slot is its number and then its figures, in a text; the last one stands apart from those before it and their sum.
LAST = "coalesce((nullif(doc->>'last', '')::jsonb->>{slot_cost})::numeric, 0)"
EARLIER_SUM = "coalesce((nullif(doc->>'earlier_sum', '')::jsonb->>{cost})::numeric, 0)"
EARLIER = """(
    SELECT coalesce(sum((slot->>{slot_cost})::numeric), 0)
    FROM jsonb_array_elements(('[' || coalesce(doc->>'earlier', '') || ']')::jsonb) AS slot
)"""

CONTRADICTIONS = (
    ("balance", "moved", "the balance is {}, its transactions sum to {}"),
    ("balance", "granted", "the balance is {}, its grants have {} left"),
    ("debt", "owed", "the debt is {}, transactions leave {} owed"),
    ("held", "open_holds", "{} is held, the open holds sum to {}"),
    ("placed", "listed", "{} holds were placed, {} are listed"),
    ("closed", "over", "holds ended {} times, {} are over"),
    ("corrections", "corrected", "holds were corrected {} times, {} are corrected"),
    ("charged", "held_cost", "transactions charge {}, the holds came to {}"),
    ("charged", "by_day", "transactions charge {}, the usage by day {}"),
    ("charged", "by_half_hour", "transactions charge {}, the usage by half hour {}"),
    ("charged", "by_block", "transactions charge {}, the usage by key and user {}"),
    ("charged", "by_quarter", "transactions charge {}, the usage by quarter hour {}"),
)
"""Pairs of figures that must be the same, and what is said where they are not."""

_COST = FIGURES.index("cost")
_SQL = DISAGREEING.format(
    last=LAST.format(slot_cost=_COST + 1),
    earlier_sum=EARLIER_SUM.format(cost=_COST),
    earlier=EARLIER.format(slot_cost=_COST + 1),
    contradictions=" OR ".join(f"{one} <> {other}" for one, other, _ in CONTRADICTIONS),
)


async def compare_views(connection: DirectConnection, shard: int, findings: Findings, *, shown_max: int) -> None:
    """Balance, debt, transactions, holds and usage of every account say the same."""
    for row in await connection.fetch(_SQL, shard, shown_max):
        said = [text.format(row[one], row[other]) for one, other, text in CONTRADICTIONS if row[one] != row[other]]
        if row["balance"] < row["held"]:
            said.append(f"{row['balance']} cannot hold {row['held']}")
        elif row["debt"] > 0 and row["balance"] > row["held"]:
            said.append(f"{row['debt']} is owed although {row['balance'] - row['held']} is available")
        findings.add("money views", f"account:{row['owner']}", "; ".join(said))
