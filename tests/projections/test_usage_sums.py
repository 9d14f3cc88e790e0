"""Sums of usage: whatever is asked, the answer is what counting event by event comes to, from either read model."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from domain.account.hold_corrections import HoldCorrected
from domain.account.holds import HoldClosed
from domain.account.usage import Usage
from domain.instant import DAY, HOUR, MINUTE
from eventstore.memory.store import MemoryStore
from eventstore.postgres.migrations import connect, migrate
from eventstore.postgres.pool import WORKER
from eventstore.postgres.store import PostgresStore
from projections import usage_days, usage_quarters, usage_sums
from projections.document_tables import migrate_documents
from projections.documents import DocumentReader
from projections.memory import MemoryDocuments
from projections.postgres import PostgresDocuments
from projections.usage import (
    FIGURES,
    HALF_HOUR,
    QUARTER,
    UsageSlots,
    figures_of,
    rows_before,
    rows_from,
    rows_of,
)
from projections.usage import counted as counted_into
from projections.usage_sums import FIELDS, Question, TooMuchUsage, sum_usage
from tests.domain.scenario import T0
from tests.eventstore.rows import claimed, now
from tests.projections.histories import ACCOUNT, folded, history
from tests.projections.usage_world import (
    HOURLY,
    ORG,
    PROJECTIONS,
    SPRING,
    changes,
    closed,
    corrected,
    counted,
    histories,
    recorded,
)

USED = Usage(source="provider", input=10, output=5)
_quarters = st.integers(-8, 4 * 24 * 4).map(lambda number: SPRING + number * QUARTER)
_cuts = st.one_of(
    st.just([0]),
    st.just([0, *HOURLY]),
    st.just([0, *(at - HOUR for at in HOURLY if at % DAY == 0)]),
    st.just([0, *(at - 5 * HOUR - HALF_HOUR for at in HOURLY if at % DAY == 0)]),
    st.just([0, *(at - 5 * HOUR - 3 * QUARTER for at in HOURLY if at % DAY == 0)]),
    st.just([0, *range(SPRING - DAY, SPRING + 5 * DAY, QUARTER)]),
)
_questions = st.builds(
    Question,
    account_id=st.just(ORG),
    start=_quarters,
    end=_quarters,
    dimensions=st.lists(st.sampled_from(list(FIELDS)), unique=True, max_size=4).map(tuple),
    times=_cuts,
    key_id=st.sampled_from((None, None, "key_1")),
)


def _stored(events: list[HoldClosed | HoldCorrected]) -> MemoryDocuments:
    documents = MemoryDocuments()
    documents._apply(changes(events))
    return documents


async def _answer(documents: DocumentReader, question: Question) -> dict[tuple[object, ...], tuple[int, ...]]:
    return {(*each.values, each.time): each.figures for each in await sum_usage(documents, 1, question)}


@given(histories(), st.lists(_questions, min_size=1, max_size=6))
@settings(max_examples=60)
async def test_a_sum_is_what_was_counted(events: list[HoldClosed | HoldCorrected], questions: list[Question]) -> None:
    """By any dimensions, any stretches of time and any period, late corrections included."""
    documents = _stored(events)
    for question in questions:
        assert await _answer(documents, question) == counted(events, question)


@given(histories())
def test_a_document_adds_up(events: list[HoldClosed | HoldCorrected]) -> None:
    """Its sums are those of its slots, which are in order, once each, and nothing of them is negative."""
    for projection in PROJECTIONS:
        for document in folded(projection, recorded(events)).values():
            rows = rows_of(document)
            assert tuple(map(sum, zip(*rows, strict=True)))[1:] == figures_of(document)
            assert [row[0] for row in rows] == sorted({row[0] for row in rows})
            assert all(figure >= 0 for row in rows for figure in row)


@given(st.lists(st.tuples(st.integers(0, 12), st.integers(1, 30)), min_size=1, max_size=20))
@settings(max_examples=60)
def test_a_document_is_cut_at_any_slot(happened: list[tuple[int, int]]) -> None:
    """Before its first slot, at its last, between those that are there, behind all: no slot is lost or told twice."""
    document = UsageSlots(account_id=ORG, start=SPRING, model="m")
    expected: dict[int, int] = {}
    for slot, requests in happened:
        document = counted_into(document, slot, (requests, *(0,) * (len(FIGURES) - 1)))
        expected[slot] = expected.get(slot, 0) + requests
    for cut in range(14):
        before, behind = ([row[:2] for row in rows(document, cut)] for rows in (rows_before, rows_from))
        assert before == sorted([slot, count] for slot, count in expected.items() if slot < cut)
        assert behind == sorted([slot, count] for slot, count in expected.items() if slot >= cut)


@given(st.integers(0, 2**32))
@settings(max_examples=60)
def test_usage_equals_charges(seed: int) -> None:
    """Both read models add up to what was charged and owed, and to the requests of all holds (made by the account)."""
    scenario, happened = history(seed)
    ends = [each for each in scenario.events if isinstance(each, HoldClosed)]
    cost = sum(each.cost for each in ends)
    cost += sum(each.difference for each in scenario.events if isinstance(each, HoldCorrected))
    for projection in PROJECTIONS:
        documents = folded(projection, happened).values()
        sums = [dict(zip(FIGURES, figures_of(each), strict=True)) for each in documents]
        assert sum(each["cost"] for each in sums) == cost
        assert sum(each["requests"] + each["failed"] for each in sums) == len(ends)
        assert all(each.account_id == ACCOUNT for each in documents)


def test_the_user_of_an_own_account_goes_without_saying() -> None:
    """In a user's account requests are the user's, also those of before users were put on record."""
    mine = folded(usage_quarters.PROJECTION, recorded([closed(T0, USED)], "user_7")).values()
    ours = folded(usage_quarters.PROJECTION, recorded([closed(T0, USED)], "org_7")).values()
    assert ([each.user_id for each in mine], [each.user_id for each in ours]) == (["user_7"], [None])


def test_corrections_move_the_histograms() -> None:
    """A late settle adds its time and tokens, what is taken back leaves no tokens behind."""
    ended = closed(SPRING + 7 * HOUR)
    late = corrected(ended, USED, latency_ms=900)
    [day] = folded(usage_days.PROJECTION, recorded([ended, late])).values()
    assert _told(day, "requests", "failed", "latency_ms") == [1, 0, 900]
    settled = closed(SPRING + 7 * HOUR, USED)
    back = corrected(settled, Usage(source="none"))
    [day] = folded(usage_days.PROJECTION, recorded([settled, back])).values()
    assert _told(day, "requests", "failed", "cost") == [0, 1, 0]
    assert "-1" not in day.tokens


def _told(document: UsageSlots, *names: str) -> list[int]:
    figures = dict(zip(FIGURES, figures_of(document), strict=True))
    return [figures[name] for name in names]


async def test_models_by_day_need_few_documents(monkeypatch: pytest.MonkeyPatch) -> None:
    """A question for models and times reads a document for each model and day, however many keys there are."""
    events: list[HoldClosed | HoldCorrected] = [
        closed(SPRING + hour * HOUR, USED, model=model, key_id=f"key_{key}")
        for hour in range(72)
        for model in ("m1", "m2")
        for key in range(3)
    ]
    documents = _stored(events)
    monkeypatch.setattr(usage_sums, "DOCUMENTS_MAX", 6)
    start, end = SPRING, SPRING + 3 * DAY
    question = Question(account_id=ORG, start=start, end=end, dimensions=("model",), times=range(start, end, DAY))
    assert len(await sum_usage(documents, 1, question)) == 6
    by_key = Question(account_id=ORG, start=start, end=end, dimensions=("api_key",))
    with pytest.raises(TooMuchUsage):
        await sum_usage(documents, 1, by_key)


async def test_groups_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """One group more than an answer can have is refused."""
    documents = _stored([closed(SPRING + minute * MINUTE, USED, key_id=f"key_{minute}") for minute in range(5)])
    question = Question(account_id=ORG, start=SPRING, end=SPRING + HOUR, dimensions=("api_key",))
    monkeypatch.setattr(usage_sums, "GROUPS_MAX", 5)
    assert len(await sum_usage(documents, 1, question)) == 5
    monkeypatch.setattr(usage_sums, "GROUPS_MAX", 4)
    with pytest.raises(TooMuchUsage):
        await sum_usage(documents, 1, question)


async def test_every_store_answers_alike(backing: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Over several pages of documents, from memory and from PostgreSQL."""
    monkeypatch.setattr(usage_sums, "PAGE", 7)
    events: list[HoldClosed | HoldCorrected] = [
        closed(SPRING + number * 25 * MINUTE, USED, key_id=f"key_{number % 3}", model=f"m{number % 2}")
        for number in range(150)
    ]
    store: MemoryStore | PostgresStore
    documents: MemoryDocuments | PostgresDocuments
    if backing is None:
        store, documents = MemoryStore(1, now), MemoryDocuments()
    else:
        connection = await connect(backing)
        await migrate(connection, shards=1)
        await migrate_documents(connection, PROJECTIONS)
        await connection.close()
        store = await PostgresStore.open(backing, WORKER)
        documents = PostgresDocuments(store.pool)
    async with store.round("w", await claimed(store, "w", 1)) as round_:
        await documents.save(round_, changes(events))
    for dimensions in (("model",), ("model", "api_key")):
        question = Question(
            account_id=ORG,
            start=SPRING + QUARTER,
            end=SPRING + 2 * DAY + QUARTER,
            dimensions=dimensions,
            times=[0, SPRING + DAY],
        )
        assert await _answer(documents, question) == counted(events, question)
    await store.close()
