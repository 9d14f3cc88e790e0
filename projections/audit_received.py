"""What others did to an account, such as an admin who suspends it: its part of the trail that is not its own doing."""

from domain.recorded import Recorded
from projections.audit import AuditEntry, audited_events, entry_id, entry_of
from projections.paging import instant_sort
from projections.projection import Projection

HOLDERS = frozenset({"account", "user", "org"})
"""Categories whose streams have the id of the account that they belong to."""


def _key(recorded: Recorded) -> str | None:
    if recorded.entity_id == recorded.metadata.account:
        return None
    category, _, _ = recorded.stream.partition(":")
    return entry_id(recorded) if category in HOLDERS else None


PROJECTION = Projection(
    collection="audit_received",
    version=1,
    document=AuditEntry,
    events=audited_events(),
    key=_key,
    evolve=lambda _entry, recorded: entry_of(recorded, recorded.entity_id),
    owner=lambda entry: entry.account_id,
    sort=lambda entry: instant_sort(entry.at),
    begun_by=audited_events(),
    written_once=True,
    done=lambda _entry: True,
    listed_everywhere=True,
)
