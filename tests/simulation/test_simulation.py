"""Bus, workers and store in virtual time, over many seeds; and the proof that the simulation bites."""

import os
from collections.abc import Iterator

import pytest

from tests.simulation.mutations import MUTATIONS
from tests.simulation.run import quiet, run_seed

pytestmark = pytest.mark.slow

SEEDS = int(os.environ.get("FORMSTATE_SIMULATION_SEEDS", "2000"))
SLICES = 10
SEEDS_TO_BITE = 1_000
"""Within so many seeds each mutation must be found."""
KNOWN = {"claims_freed": 37, "claims_unchecked": 252, "keep_documents": 110, "keep_shards": 673, "overdue": 125}
"""Seeds that found one lately are tried first. Where they find nothing any more, all the others still do."""


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    with quiet():
        yield


@pytest.mark.parametrize("part", range(SLICES))
def test_every_seed_holds(part: int) -> None:
    """I1 to I4, I6 and I7 hold through crashes, zombies, outages, duplicates and moving shards, whatever the order."""
    for seed in range(part * SEEDS // SLICES, (part + 1) * SEEDS // SLICES):
        _run(seed)


@pytest.mark.parametrize("name", sorted(MUTATIONS))
def test_a_missing_safeguard_is_noticed(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """With any one safeguard taken out, some seed fails: the simulation would have found its absence."""
    MUTATIONS[name](monkeypatch)
    for seed in (KNOWN.get(name, 0), *range(SEEDS_TO_BITE)):
        try:
            run_seed(seed)
        except Exception as error:  # noqa: BLE001 - however it is noticed
            print(f"{name}: seed {seed}: {type(error).__name__}: {str(error)[:200]}")
            return
    pytest.fail(f"{SEEDS_TO_BITE} seeds did not miss what {name} took out")


def test_a_seed_reruns_alike() -> None:
    """A failing seed reruns alone: the same seed takes the same steps to the same end."""
    first, again = run_seed(7), run_seed(7)
    assert (first.scheduler.steps, first.happened) == (again.scheduler.steps, again.happened)
    assert first.store.committed == again.store.committed


def _run(seed: int) -> None:
    try:
        run_seed(seed)
    except BaseException as error:
        error.add_note(f"seed {seed}; alone: python -m tests.simulation --seed {seed}")
        raise
