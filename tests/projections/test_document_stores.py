"""Documents are written in the round's transaction and read in the same order from every store."""

import asyncio
import itertools

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from eventstore.errors import Fenced
from eventstore.memory.store import MemoryStore
from projections.documents import Row
from projections.memory import MemoryDocuments
from tests.eventstore.rows import claimed, now
from tests.projections.conftest import SHARDS, Opened, change, open_documents, places

TEXTS = [
    "",
    *["a", "A", "Z", "b", "ab", "a-b", "é", "e", "ÿ", "中", "\uffff", "😀", "10", "9", "~", "_", "%", "'"],
    "a b",
]
"""Texts that sort differently by locale, by UTF-16 and by code point."""


async def test_a_document_comes_back_with_the_same_content(opened: Opened) -> None:
    """Whatever the store does to white space and the order of keys, the decoded document is the same."""
    doc = {"b": 1, "a": [1.5, 10**15, -1, 0, True, None, 'é\n"\\', {"": {}}], "": "\U0001f600"}
    await opened.save([change("k", doc=msgspec.json.encode(doc))])
    found = await opened.documents.get("things", 0, "k")
    assert found is not None
    assert msgspec.json.decode(found) == doc
    assert await opened.documents.get("things", 1, "k") is None
    assert await opened.documents.get("things", 0, "unknown") is None


async def test_a_round_loads_what_is_committed(opened: Opened) -> None:
    """Documents of several collections come at once, by collection and key; what does not exist is left out."""
    await opened.save([change("k", doc=b"[1]"), change("l", shard=2, doc=b"[2]")])
    await opened.save([change("k", doc=b"[3]")], "found")
    wanted = {"things": [(0, "k"), (2, "l"), (0, "l"), (0, "unknown")], "found": iter([(0, "k")]), "followed": []}
    async with opened.store.round("w", opened.leases) as round_:
        loaded = await opened.documents.load(round_, wanted)
        assert await opened.documents.load(round_, {}) == {}
    assert loaded == {("things", "k"): b"[1]", ("things", "l"): b"[2]", ("found", "k"): b"[3]"}


async def test_documents_are_read_several_at_once(opened: Opened) -> None:
    """Each by its shard and key; what does not exist, or lies elsewhere, is left out; of nothing there is nothing."""
    await opened.save([change("k", doc=b"[1]"), change("l", shard=2, doc=b"[2]"), change("m", doc=b"[3]")])
    found = await opened.documents.get_many("things", iter([(2, "l"), (0, "k"), (1, "m"), (0, "unknown"), (0, "k")]))
    assert found == {"k": b"[1]", "l": b"[2]"}
    assert await opened.documents.get_many("things", []) == {}


async def test_saving_replaces_and_removes(opened: Opened) -> None:
    """A change is the document from now on, with its owner and sort; `None` removes it, also if it never was."""
    await opened.save([change("k", sort="1"), change("l", sort="2"), change("m", sort="3")])
    await opened.save(
        [change("k", sort="9", owner="new", doc=b"[1]"), change("l", doc=None), change("never", doc=None)]
    )
    assert places(await opened.documents.page("things", 0, "o", limit=9)) == [("3", "m")]
    [row] = await opened.documents.page("things", 0, "new", limit=9)
    assert row == Row(shard=0, key="k", sort="9", doc=b"[1]")
    assert await opened.documents.get("things", 0, "l") is None


async def test_of_several_changes_of_a_document_the_last_stays(opened: Opened) -> None:
    """A removal and a new beginning in one batch do not trip over each other."""
    await opened.save([change("k", doc=b"[1]"), change("k", doc=None), change("k", doc=b"[2]")])
    assert await opened.documents.get("things", 0, "k") == b"[2]"
    await opened.save([change("k", doc=b"[3]"), change("k", doc=None)])
    assert await opened.documents.get("things", 0, "k") is None


async def test_a_rolled_back_round_saves_nothing(opened: Opened) -> None:
    """I4: documents become visible with their round's commit, never before, and not without it."""

    async def fail() -> None:
        async with opened.store.round("w", opened.leases) as round_:
            await opened.documents.save(round_, {"things": [change("k")]})
            assert await opened.documents.get("things", 0, "k") is None
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await fail()
    assert await opened.documents.get("things", 0, "k") is None
    await opened.store.give_back("w", opened.leases)
    with pytest.raises(Fenced):
        await opened.save([change("k")])


async def test_a_document_is_found_by_its_key_alone(opened: Opened) -> None:
    """The reader learns the shard with it."""
    await opened.save([change("k", shard=2, doc=b"[1]")], "found")
    assert await opened.documents.find("found", "k") == (2, b"[1]")
    assert await opened.documents.find("found", "unknown") is None


@pytest.mark.parametrize("newest_first", [True, False])
async def test_an_owners_documents_are_listed_over_all_shards(opened: Opened, newest_first: bool) -> None:
    """In one order, whatever shard each is in, page by page; others' never appear."""
    mine = [change(f"k{number}", sort=f"{number // 2}", shard=number % SHARDS) for number in range(9)]
    await opened.save([*mine, change("x", sort="1", owner="other"), change("gone")], "spread")
    await opened.save([change("gone", doc=None)], "spread")
    walked: list[Row] = []
    after: tuple[str, str] | None = None
    while page := await opened.documents.page_everywhere(
        "spread", "o", limit=2, newest_first=newest_first, after=after
    ):
        assert len(page) <= 2
        walked += page
        after = (page[-1].sort, page[-1].key)
    expected = [(each.shard, each.sort, each.key) for each in mine]
    assert [(row.shard, row.sort, row.key) for row in walked] == (expected[::-1] if newest_first else expected)
    assert await opened.documents.page_everywhere("spread", "nobody", limit=9) == []


async def test_pages_are_ordered_by_code_point(opened: Opened) -> None:
    """Whatever the database's locale, texts sort as Python sorts them, by sort and then by key, in both directions."""
    pairs = list(itertools.product(TEXTS[:12], TEXTS))
    await opened.save([change(f"{sort}|{key}", sort=sort) for sort, key in pairs])
    expected = sorted((sort, f"{sort}|{key}") for sort, key in pairs)
    assert places(await opened.documents.page("things", 0, "o", limit=999, newest_first=False)) == expected
    assert places(await opened.documents.page("things", 0, "o", limit=999)) == expected[::-1]


@pytest.mark.parametrize("newest_first", [True, False])
async def test_a_walk_over_pages_meets_each_document_once(opened: Opened, newest_first: bool) -> None:
    """A cursor is the last (sort, key); equal sorts are neither skipped nor repeated."""
    await opened.save([change(key, sort=sort) for sort, key in zip("aabbbbé", TEXTS[1:], strict=False)])
    everything = places(await opened.documents.page("things", 0, "o", limit=99, newest_first=newest_first))
    walked: list[tuple[str, str]] = []
    after: tuple[str, str] | None = None
    while page := places(
        await opened.documents.page("things", 0, "o", limit=2, newest_first=newest_first, after=after)
    ):
        walked += page
        after = page[-1]
    assert walked == everything
    assert len(walked) == 7


async def test_a_page_is_of_one_owner_and_shard_and_range(opened: Opened) -> None:
    """Others' documents never appear; the range is half-open; a cursor may name a document that is gone."""
    mine = [change(f"k{number}", sort=f"{number}") for number in range(6)]
    await opened.save([*mine, change("x", sort="3", owner="other"), change("y", sort="3", shard=1)])
    page = opened.documents.page
    found = await page("things", 0, "o", limit=9, sort_from="1", sort_to="4")
    assert [row.sort for row in found] == ["3", "2", "1"]
    found = await page("things", 0, "o", limit=9, sort_from="1", sort_to="4", after=("3", "l"), newest_first=True)
    assert [row.sort for row in found] == ["3", "2", "1"]
    found = await page("things", 0, "o", limit=9, sort_from="1", after=("3", "l"), newest_first=False)
    assert [row.sort for row in found] == ["4", "5"]
    assert await page("things", 0, "nobody", limit=9) == []
    assert await page("things", 0, "o", limit=9, sort_from="4", sort_to="4") == []


async def test_what_is_newer_comes_in_order_of_sort(opened: Opened) -> None:
    """Each shard has its own position; what lies on or before it does not come again; the limit is over all."""
    changes = [
        change(f"{shard}-{number}", sort=f"{number:020d}", shard=shard) for shard in (0, 1, 2) for number in (1, 2, 3)
    ]
    await opened.save(changes, "followed")
    newer = opened.documents.newer
    found = await newer("followed", {0: f"{1:020d}", 1: ""}, 99)
    assert [row.key for row in found] == ["1-1", "0-2", "1-2", "0-3", "1-3"]
    assert [row.shard for row in found] == [1, 0, 1, 0, 1]
    assert [row.key for row in await newer("followed", {0: "", 1: "", 2: ""}, 4)] == ["0-1", "1-1", "2-1", "0-2"]
    assert await newer("followed", {0: f"{3:020d}"}, 99) == []
    assert await newer("followed", {}, 99) == []


async def test_the_same_key_may_be_in_several_collections(opened: Opened) -> None:
    """One round writes many collections at once; each keeps its own."""
    async with opened.store.round("w", opened.leases) as round_:
        changes = {"things": [change("k", doc=b"[1]")], "found": [change("k", doc=b"[2]"), change("l", doc=None)]}
        await opened.documents.save(round_, changes | {"followed": []})
        await opened.documents.save(round_, {})
    assert await opened.documents.get("things", 0, "k") == b"[1]"
    assert await opened.documents.get("found", 0, "k") == b"[2]"


async def test_stores_agree_on_any_texts(database_url: str) -> None:
    """Whatever signs keys, sorts and owners hold, both stores answer the same pages."""
    store, documents = await open_documents(database_url)
    reference, remembered = MemoryStore(SHARDS, now), MemoryDocuments()
    sides = [
        Opened(store, documents, await claimed(store, "w", SHARDS)),
        Opened(reference, remembered, await claimed(reference, "w", SHARDS)),
    ]
    runner = asyncio.get_running_loop()
    texts = st.text(st.characters(exclude_characters="\x00", exclude_categories=["Cs"]), max_size=4)
    number = itertools.count()

    @settings(max_examples=30, suppress_health_check=list(HealthCheck))
    @given(rows=st.lists(st.tuples(texts, texts), min_size=1, max_size=8), after=st.tuples(texts, texts))
    def compare(rows: list[tuple[str, str]], after: tuple[str, str]) -> None:
        owner = f"owner {next(number)}"
        changes = [change(f"{owner} {key}", sort=sort, owner=owner) for sort, key in rows]

        async def pages(side: Opened) -> list[list[tuple[str, str]]]:
            await side.save(changes)
            page = side.documents.page
            return [
                places(await page("things", 0, owner, limit=5, newest_first=newest_first, after=cursor))
                for newest_first in (True, False)
                for cursor in (None, (after[0], f"{owner} {after[1]}"))
            ]

        found, expected = (asyncio.run_coroutine_threadsafe(pages(side), runner).result(30) for side in sides)
        assert found == expected

    await asyncio.to_thread(compare)
    await store.close()
