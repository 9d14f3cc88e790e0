"""A command has one outcome; only a curable refusal is ever replaced."""

from msgspec import Raw

from domain.instant import DAY
from eventstore.records import Batch, Outcome
from eventstore.store import Store
from tests.eventstore.rows import claimed, outcome, write


def plain(found: dict[str, Outcome]) -> dict[str, dict[str, object]]:
    """Outcomes that can be compared: `Raw` is equal to itself only."""
    return {
        command_id: {name: getattr(each, name) for name in each.__struct_fields__} | {"data": bytes(each.data)}
        for command_id, each in found.items()
    }


async def test_an_outcome_comes_back_as_it_was_written(store: Store) -> None:
    """Every field survives, whatever signs its texts hold; ids without an outcome are left out."""
    full = outcome(
        0,
        "command-1",
        status="rejected",
        fingerprint="f",
        data=Raw(b'{"b": 1, "a": [1.50, "\xc3\xa9"]}'),
        secret="sealed",
        refused=("a,b", 'quo"te', "back\\slash", "{brace}", "NULL", "", "é"),
        curable=True,
    )
    bare = outcome(1, "command-2")
    leases = await claimed(store, "w", 2)
    await write(store, "w", leases, Batch(outcomes=[full, bare]))
    expected = plain({"command-1": full, "command-2": bare})
    ids = [(0, "command-1"), (1, "command-2"), (0, "unknown")]
    assert plain(await store.read_outcomes(ids)) == expected
    assert plain(await store.read_outcomes(iter(ids))) == expected
    async with store.round("w", leases) as round_:
        assert plain(await round_.outcomes(ids)) == expected
    assert await store.read_outcomes([]) == {}


async def test_a_curable_refusal_is_replaced(store: Store) -> None:
    """I2: time or money cured it, so the next attempt's outcome takes the place, and knows the refused attempts."""
    leases = await claimed(store, "w")
    refused = outcome(0, "command", status="rejected", attempt="one", curable=True, at=1)
    await write(store, "w", leases, Batch(outcomes=[refused]))
    final = outcome(0, "command", attempt="two", refused=("one",), stream="thing:2", at=2, fingerprint="f", secret="s")
    await write(store, "w", leases, Batch(outcomes=[final]))
    assert plain(await store.read_outcomes([(0, "command")])) == plain({"command": final})


async def test_of_two_outcomes_in_a_batch_the_last_stays(store: Store) -> None:
    """A refusal and its cure may arrive in one batch."""
    leases = await claimed(store, "w")
    refused = outcome(0, "command", status="rejected", attempt="one", curable=True)
    final = outcome(0, "command", attempt="two", refused=("one",))
    await write(store, "w", leases, Batch(outcomes=[refused, outcome(0, "other"), final]))
    found = await store.read_outcomes([(0, "command"), (0, "other")])
    assert found["command"].attempt == "two"
    assert found["other"].status == "applied"


async def test_secrets_are_purged_after_a_day(store: Store) -> None:
    """A secret shown once does not stay; its outcome does. Purging again finds nothing."""
    leases = await claimed(store, "w")
    outcomes = [outcome(0, f"old-{number}", at=number, secret="sealed", refused=("x",)) for number in range(1_005)]
    outcomes += [outcome(0, "young", at=2_000, secret="sealed"), outcome(0, "bare", at=0)]
    await write(store, "w", leases, Batch(outcomes=outcomes))
    assert await store.purge(1_500 + DAY) == 1_005
    found = await store.read_outcomes([(0, "old-0"), (0, "old-1004"), (0, "young"), (0, "bare")])
    assert {name: each.secret for name, each in found.items()} == {
        "old-0": None,
        "old-1004": None,
        "young": "sealed",
        "bare": None,
    }
    assert found["old-0"].refused == ("x",)
    assert await store.purge(1_500 + DAY) == 0
