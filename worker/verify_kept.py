"""What `verify` knows of rows that are kept beside the log, so that they can be erased: claims and data keys.

Nothing but the log says which there must be: without its claim an address could be registered a second time, and
without its key nobody opens again what a user has told.
"""

from domain.erasure import MEMBERSHIPS
from domain.user import User
from eventstore.postgres.pool import DirectConnection
from worker.findings import Findings

CLAIMS = """
SELECT wanted.kind, wanted.stream, held.stream AS holder
FROM unnest($1::text[], $2::text[], $3::text[]) AS wanted (kind, value, stream)
LEFT JOIN claims AS held USING (kind, value)
WHERE held.stream IS DISTINCT FROM wanted.stream
ORDER BY wanted.stream, wanted.kind
"""

# Of an erased subject the row stays, empty, so that there is never a key again.
KEYS = """
SELECT wanted.subject, stored.subject IS NULL AS missing
FROM unnest($1::text[], $2::boolean[]) AS wanted (subject, erased)
LEFT JOIN data_keys AS stored USING (subject)
WHERE stored.subject IS NULL OR (stored.wrapped = '') > wanted.erased
ORDER BY wanted.subject
"""


class KeptRows:
    """Which rows the streams of a chunk prove; `check` compares them with those that there are."""

    def __init__(self) -> None:
        self._claims: list[tuple[str, str, str]] = []
        self._keys: list[tuple[str, bool]] = []

    def prove(self, stream: str, state: object) -> None:
        """Takes the state at the end of a stream."""
        if not isinstance(state, User) or not (state.exists or state.erased):
            return
        self._keys.append((stream, state.erased))
        if state.email_hash and not state.erased:
            self._claims.append(("email", state.email_hash, stream))
        if state.erasing is not None:
            self._claims.append((MEMBERSHIPS, stream.partition(":")[2], stream))

    async def check(self, connection: DirectConnection, findings: Findings) -> None:
        """Each row that must be there is, and is whose it must be."""
        claims, self._claims = self._claims, []
        keys, self._keys = self._keys, []
        if claims:
            kinds, values, streams = map(list, zip(*claims, strict=True))
            for row in await connection.fetch(CLAIMS, kinds, values, streams):
                found = "is missing" if row["holder"] is None else f"is held by {row['holder']}"
                findings.add("claim", row["stream"], f"its claim {row['kind']} {found}")
        if keys:
            subjects, erased = map(list, zip(*keys, strict=True))
            for row in await connection.fetch(KEYS, subjects, erased):
                found = "is missing" if row["missing"] else "was erased, which the log does not say"
                findings.add("data key", row["subject"], f"its data key {found}")
