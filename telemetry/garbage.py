"""How often Python looks for cycles of garbage: seldom, in processes that keep many small objects for long.

A worker keeps a hundred thousand structs in its caches and makes tens of thousands for each batch. Nearly none are in
cycles: reference counts free them. With Python's own thresholds the collector walks through all of that every few
hundred commands, which took more than a third of a worker's time (docs/performance.md).
"""

import gc

YOUNG_MAX = 50_000
"""New containers between two looks at the young ones."""
MIDDLE, OLD = 20, 20


def collect_seldom(young_max: int = YOUNG_MAX) -> None:
    """Takes what was imported out of the collector's sight, and lets it look less often at the rest.

    Structs that are made by the thousand say `gc=False` besides: they cannot be in a cycle, and are never looked at.
    """
    gc.freeze()
    gc.set_threshold(young_max, MIDDLE, OLD)
