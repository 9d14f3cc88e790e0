"""What must be true afterwards, whatever was killed: checked from the log itself, not by what the workers say."""

from collections import Counter, defaultdict
from collections.abc import Mapping
from typing import Any

import msgspec
from msgspec import Struct

from domain.account.credits import AddCredits, CreditsGranted
from domain.account.hold_corrections import HoldCorrected
from domain.account.holds import HoldClosed, HoldPlaced, PlaceHold, ReleaseHold, SettleHold
from domain.account.usage import cost
from domain.recorded import Recorded
from eventstore import codec
from eventstore.postgres.store import PostgresStore
from eventstore.records import Outcome
from projections.credits import CreditsView
from projections.document_tables import table_of
from projections.registry import all_projections, projections_of
from tests.crash.load import PRICE, Sent
from tests.shard_log import read_shard

CHUNK = 2_000
Place = tuple[str, int, str]
"""(collection, shard, key)."""


class Findings(Struct, frozen=True, kw_only=True):
    """How much was looked at, so that a test can say that it was not nothing."""

    outcomes: int
    applied: int
    events: int
    documents: int


async def audit(store: PostgresStore, macs: codec.MacChain, sent: Mapping[str, Sent]) -> Findings:
    """Checks I1, I2, I5, I6, I7 and the tamper chain over the whole database; `AssertionError` says what is wrong."""
    recorded = await read_log(store, macs)
    outcomes = await _final_outcomes(store, sent)
    documents = await _read_models(store)
    assert documents == _folded(recorded), "the read models are not what their projections make of the log"
    applied = {command_id: sent[command_id] for command_id, each in outcomes.items() if each.status == "applied"}
    _each_once(applied, recorded)
    _sums(applied, outcomes, documents)
    return Findings(outcomes=len(outcomes), applied=len(applied), events=len(recorded), documents=len(documents))


async def read_log(store: PostgresStore, macs: codec.MacChain) -> list[Recorded]:
    """All events, once `seq`, versions, `mac`s and heads were found to be without a gap."""
    recorded: list[Recorded] = []
    ends: dict[str, tuple[int, bytes]] = {}
    for head in await store.shard_heads():
        seq = 0
        async for event in read_shard(store, head.shard):
            version, mac = ends.get(event.stream, (0, b""))
            assert event.seq == seq + 1, f"shard {head.shard} has a gap behind {seq}"
            assert event.version == version + 1, f"{event.stream} has a gap behind {version}"
            assert macs.verify(mac, event), f"{event.stream} version {event.version} is not what was written"
            seq, ends[event.stream] = event.seq, (event.version, event.mac)
            recorded.append(codec.recorded(event))
        assert head.seq == seq, f"shard {head.shard} counts {head.seq} events and has {seq}"
        assert head.stopped is None, f"shard {head.shard} was stopped: {head.stopped}"
    rows = await store.pool.fetch("SELECT stream, version, mac FROM stream_head WHERE version > 0")
    assert {row["stream"]: (row["version"], row["mac"]) for row in rows} == ends
    return recorded


async def _final_outcomes(store: PostgresStore, sent: Mapping[str, Sent]) -> dict[str, Outcome]:
    """All outcomes: one for each acknowledged command, none for a command that nobody sent."""
    assert await store.dead_letters() == []
    assert await store.quarantined() == []
    outcomes: dict[str, Outcome] = {}
    ids = [(each.shard, command_id) for command_id, each in sent.items()]
    for start in range(0, len(ids), CHUNK):
        outcomes |= await store.read_outcomes(ids[start : start + CHUNK])
    lost = [command_id for command_id, each in sent.items() if each.acknowledged and command_id not in outcomes]
    assert not lost, f"{len(lost)} acknowledged commands have no outcome, among them {lost[:3]}"
    assert {each.status for each in outcomes.values()} <= {"applied", "rejected"}
    assert await store.pool.fetchval("SELECT count(*) FROM outcomes") == len(outcomes)
    return outcomes


async def _read_models(store: PostgresStore) -> dict[Place, Any]:
    found: dict[Place, Any] = {}
    for projection in all_projections().values():
        collection = projection.collection
        for row in await store.pool.fetch(f"SELECT shard, key, doc::text FROM {table_of(collection)}"):  # noqa: S608
            found[collection, row["shard"], row["key"]] = projection.decode(row["doc"].encode())
    return found


def _folded(recorded: list[Recorded]) -> dict[Place, Any]:
    """Every document, folded anew from the log alone (I5)."""
    documents: dict[Place, Any] = {}
    for each in recorded:
        for projection in projections_of(type(each.event)):
            key = projection.key(each)
            if key is not None:
                place = (projection.collection, each.shard, key)
                documents[place] = projection.evolve(documents.get(place), each)
    return {place: document for place, document in documents.items() if document is not None}


def _each_once(applied: Mapping[str, Sent], recorded: list[Recorded]) -> None:
    """Each applied command has left its event exactly once (I1), each hold has one end (I7)."""
    happened: dict[type, Counter[str]] = defaultdict(Counter)
    for each in recorded:
        match each.event:
            case CreditsGranted(grant_id=name) | HoldPlaced(hold_id=name):
                happened[type(each.event)][name] += 1
            case HoldClosed(hold_id=name) | HoldCorrected(hold_id=name):
                happened[type(each.event)][name] += 1
    bodies = [each.envelope.body for each in applied.values()]
    assert happened[CreditsGranted] == Counter(each.grant_id for each in bodies if isinstance(each, AddCredits))
    assert happened[HoldPlaced] == Counter(each.hold_id for each in bodies if isinstance(each, PlaceHold))
    ends = Counter(each.hold_id for each in bodies if isinstance(each, SettleHold | ReleaseHold))
    assert happened[HoldClosed] == Counter(ends.keys())
    assert set(happened[HoldClosed].values()) <= {1}
    assert happened[HoldCorrected].keys() <= {hold_id for hold_id, count in ends.items() if count > 1}


def _sums(applied: Mapping[str, Sent], outcomes: Mapping[str, Outcome], documents: Mapping[Place, Any]) -> None:
    """Balances, debts, holds and transactions are what the applied commands add up to (I6)."""
    worth: Counter[str] = Counter()
    placed: dict[str, tuple[str, int]] = {}
    costs: dict[str, tuple[str, int]] = {}
    for command_id, sent in applied.items():
        account = sent.envelope.header.account
        match sent.envelope.body:
            case AddCredits(amount=amount):
                worth[account] += amount
            case PlaceHold(hold_id=hold_id):
                held = msgspec.json.decode(outcomes[command_id].data).get("amount", 0)
                placed[hold_id] = (account, held)
    ends = [each.envelope for each in applied.values()]
    for envelope in sorted(ends, key=lambda each: isinstance(each.body, ReleaseHold)):
        match envelope.body:
            case SettleHold(hold_id=hold_id, usage=usage):
                costs[hold_id] = (envelope.header.account, cost(usage, PRICE))
            case ReleaseHold(hold_id=hold_id):
                costs[hold_id] = (envelope.header.account, 0)
    for account, paid in costs.values():
        worth[account] -= paid
    held_by: Counter[str] = Counter()
    for hold_id, (account, held) in placed.items():
        held_by[account] += held if hold_id not in costs else 0
    _compare(worth, held_by, documents)


def _compare(worth: Counter[str], held: Counter[str], documents: Mapping[Place, Any]) -> None:
    moved: Counter[str] = Counter()
    for (collection, _, _), document in documents.items():
        if collection == "transactions":
            moved[document.account_id] += document.amount
    for (collection, _, _), view in documents.items():
        if collection == "credits":
            assert isinstance(view, CreditsView)
            assert view.available >= 0, view
            assert view.balance == sum(grant.remaining for grant in view.grants) == moved[view.account_id], view
            assert view.balance - view.debt == worth[view.account_id], view
            assert view.held == held[view.account_id], view
