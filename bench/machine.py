"""What the figures were measured on."""

import os
import platform
from pathlib import Path

import psutil


def machine() -> str:
    """Processor, cores, memory, kernel and Python, in one line; and who else is using it."""
    memory_gb = psutil.virtual_memory().total / 2**30
    busy = os.getloadavg()[0]
    return (
        f"{_processor()}, {len(os.sched_getaffinity(0))} cores, {memory_gb:.0f} GiB, "
        f"{platform.system()} {platform.release()}, Python {platform.python_version()}; load before: {busy:.2f}"
    )


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.machine()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "?")
