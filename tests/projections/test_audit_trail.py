"""The merged trail: every entry of every source once, in one order, however many there are of each."""

from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from domain.account.holds import HoldClosed
from domain.audit import RequestsRefused
from domain.envelope import Actor
from domain.message import Event
from domain.recorded import Metadata, Recorded
from domain.user import RoleGranted
from eventstore.clock import system_clock
from eventstore.memory.store import MemoryStore
from eventstore.records import Batch, Refusal
from projections import audit, audit_received, audit_trail
from projections.audit import AuditEntry, audited_events
from projections.audit_trail import before, is_place, trail
from projections.documents import Change
from projections.memory import MemoryDocuments
from projections.paging import instant_sort
from tests.eventstore.rows import claimed, write

ACTOR = Actor(kind="user", id="u", origin="o")
REFUSAL = Refusal(
    shard=0,
    command_id="",
    attempt="t",
    account="a",
    at=0,
    command="x",
    code="c",
    actor=b'{"kind":"user","id":"u"}',
    mac=b"",
)
PLACES = st.lists(
    st.tuples(st.integers(0, 5), st.uuids(version=4).map(str)), max_size=25, unique_by=lambda each: each[1]
)


async def filled(
    own: list[tuple[int, str]], others: list[tuple[int, str]], refused: list[tuple[int, str]]
) -> tuple[MemoryDocuments, MemoryStore]:
    """Sources with entries at these instants, under these ids."""
    documents, store = MemoryDocuments(), MemoryStore(1, system_clock)
    for projection, places in ((audit.PROJECTION, own), (audit_received.PROJECTION, others)):
        changes = []
        for at, key in places:
            entry = AuditEntry(
                id=key, account_id="a", at=at, actor=ACTOR, command_id=key, action="x", stream="account:a"
            )
            doc = projection.encode(entry)
            changes.append(Change(shard=0, key=key, owner="a", sort=instant_sort(at), doc=doc))
        documents._apply({projection.collection: changes})
    rows = [replace(REFUSAL, at=at, command_id=key) for at, key in refused]
    await write(store, "w", await claimed(store, "w"), Batch(refusals=rows))
    return documents, store


@settings(deadline=None, max_examples=60)
@given(PLACES, st.integers(1, 4), st.integers(0, 25), st.data())
async def test_a_trail_is_all_of_its_sources_in_order(
    places: list[tuple[int, str]], step: int, skipped: int, data: st.DataObject
) -> None:
    """Wherever one begins, and however few rows are read at once."""
    sources = [data.draw(st.integers(0, 2)) for _ in places]
    parts = [[place for place, source in zip(places, sources, strict=True) if source == each] for each in range(3)]
    documents, store = await filled(*parts)
    expected = sorted(places, reverse=True)
    after = None
    if 0 < skipped <= len(expected):
        at, key = expected[skipped - 1]
        after, expected = (instant_sort(at), key), expected[skipped:]
    original, audit_trail.STEP = audit_trail.STEP, step
    try:
        found = [placed async for placed in trail(documents, store, "a", after)]
    finally:
        audit_trail.STEP = original
    assert [(placed.entry.at, placed.entry.command_id) for placed in found] == expected
    assert all(is_place(placed.place) for placed in found)


async def test_what_others_did_says_not_from_where() -> None:
    """Their address is theirs; one's own is shown."""
    documents, store = await filled([(1, "c1")], [(2, "c2")], [])
    found = {placed.entry.id: placed.entry async for placed in trail(documents, store, "a", before(9))}
    assert found["c1"].actor.origin == "o"
    assert found["c2"].actor.origin is None
    assert [placed.entry.id async for placed in trail(documents, store, "a", before(2))] == ["c1"]


def recorded(
    event: Event, *, version: int = 1, account: str = "u", stream: str = "user:u", **metadata: str
) -> Recorded:
    """An event of a command."""
    return Recorded(
        stream=stream,
        entity_id=stream.partition(":")[2],
        version=version,
        shard=0,
        seq=version,
        at=5,
        metadata=Metadata(command_id="c", account=account, actor=ACTOR, **metadata),
        event=event,
    )


def test_all_events_of_a_command_make_one_entry() -> None:
    """The same whichever comes first: so a rebuild in other chunks makes the same document (I5)."""
    one = recorded(RoleGranted(role="admin"), version=1, command="user.grant_role")
    two = recorded(RoleGranted(role="user"), version=2, command="user.grant_role")
    project = audit.PROJECTION
    assert project.key(one) == project.key(two) == "c@user:u"
    assert project.evolve(None, one) == project.evolve(None, two) == project.evolve(project.evolve(None, one), two)


def test_events_that_do_not_say_their_command_have_entries_of_their_own() -> None:
    """Those of the first releases: by their place, under their own tag."""
    one, two = (recorded(RoleGranted(role="admin"), version=version) for version in (1, 2))
    assert [audit.PROJECTION.key(each) for each in (one, two)] == ["user:u@1", "user:u@2"]
    entry = audit.PROJECTION.evolve(None, one)
    assert entry is not None
    assert entry.action == "user.role_granted"


def test_uses_are_left_out_and_refused_requests_are_of_whom_they_were() -> None:
    """Holds are transactions; a counted refusal names its principal, not the API process."""
    assert HoldClosed not in audited_events()
    event = RequestsRefused(minute=0, actor=Actor(kind="key", id="x", key_id="k"), code="c", route="GET /", count=3)
    refused = recorded(event, stream="audit:u", command="audit.record_refusals")
    entry = audit.PROJECTION.evolve(None, refused)
    assert entry is not None
    assert (entry.id, entry.actor.key_id, entry.action, entry.code, entry.count) == ("audit:u@1", "k", "GET /", "c", 3)


def test_what_others_did_is_received_by_whom_it_was_done_to() -> None:
    """Of accounts, users and organizations; one's own doing is not received."""
    by_admin = recorded(RoleGranted(role="admin"), account="admin", command="user.grant_role")
    assert audit_received.PROJECTION.key(by_admin) == "c@user:u"
    entry = audit_received.PROJECTION.evolve(None, by_admin)
    assert entry is not None
    assert entry.account_id == "u"
    for own in (recorded(RoleGranted(role="admin")), recorded(RoleGranted(role="admin"), stream="project:p")):
        assert audit_received.PROJECTION.key(own) is None
    anonymous = recorded(RoleGranted(role="admin"), account="")
    assert (audit.PROJECTION.key(anonymous), audit_received.PROJECTION.key(anonymous)) == (None, "user:u@1")
