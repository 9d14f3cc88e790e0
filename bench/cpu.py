"""CPU time by process: on a machine that others use too it is the steadiest figure there is."""

from collections.abc import Mapping

import psutil

from bench.row import Row, reported

Cpu = dict[str, float]
"""Seconds of CPU by the name of the process, its children included."""


def cpu_of(pids: Mapping[str, int | None]) -> Cpu:
    """Seconds that each process and all below it have used so far. One that is not ours (`None`) is left out."""
    return {name: _tree(pid) for name, pid in pids.items() if pid is not None}


def _tree(pid: int) -> float:
    try:
        root = psutil.Process(pid)
        everyone = [root, *root.children(recursive=True)]
    except psutil.NoSuchProcess:
        return 0.0
    return sum(_own(process) for process in everyone)


def _own(process: psutil.Process) -> float:
    try:
        times = process.cpu_times()
    except psutil.NoSuchProcess:
        return 0.0
    # What the kernel adds for children that have ended and been waited for.
    return times.user + times.system + times.children_user + times.children_system


def cpu_between(before: Cpu, after: Cpu) -> Cpu:
    """What was used in between."""
    return {name: after[name] - before[name] for name in before if name in after}


def cpu_rows(name: str, used: Cpu, units: float, unit: str) -> list[Row]:
    """CPU milliseconds per unit of work, one row a process."""
    return [reported(f"{name} cpu {process}", used[process] * 1_000 / units, f"ms/{unit}") for process in used]


def resident_mb(pid: int) -> float:
    """Resident memory of one process, in MB of 10^6 bytes."""
    return float(psutil.Process(pid).memory_info().rss) / 1e6
