"""`python -m bench [names…]`: measures, prints a table, and with `--json FILE` writes it for programs."""

import argparse
import sys
import warnings
from collections.abc import Sequence
from contextlib import AsyncExitStack
from pathlib import Path

import uvloop

from bench.benchmark import Bench, Benchmark, benchmarks
from bench.machine import machine
from bench.row import Row
from bench.table import render, write_json
from devnet.servers import ServerUnavailableError, scratch_folder
from telemetry import logs
from telemetry.garbage import collect_seldom


def parser(known: dict[str, Benchmark]) -> argparse.ArgumentParser:
    """The command line."""
    listing = "\n".join(f"  {each.name:10} {each.summary}" for each in known.values())
    words = argparse.ArgumentParser(
        prog="python -m bench",
        description=__doc__,
        epilog=f"benchmarks:\n{listing}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    words.add_argument("names", nargs="*", metavar="NAME", help="which ones (default: all)")
    words.add_argument("--json", type=Path, metavar="FILE", help="also write the rows as JSON")
    words.add_argument("--seconds", type=float, default=8.0, help="length of one measurement (default 8)")
    words.add_argument("--repeats", type=int, default=3, help="measurements of each figure, interleaved (default 3)")
    return words


async def measure(chosen: Sequence[Benchmark], seconds: float, repeats: int) -> list[Row]:
    """All rows, each benchmark's printed as soon as it is through."""
    rows: list[Row] = []
    async with AsyncExitStack() as stack:
        folder = stack.enter_context(scratch_folder("bench"))
        run = Bench(stack, folder, seconds=seconds, repeats=repeats)
        for each in chosen:
            print(f"measuring {each.name} …", file=sys.stderr, flush=True)
            measured = list(await each.measure(run))
            print(render(measured), end="\n\n", flush=True)
            rows += measured
    return rows


def main() -> int:
    """0 when every figure with a target reached it, 1 when one did not, 2 when nothing could be measured."""
    known = benchmarks()
    words = parser(known)
    given = words.parse_args()
    unknown = [name for name in given.names if name not in known]
    if unknown:
        words.error(f"unknown: {', '.join(unknown)}; there are {', '.join(known)}")
    logs.configure("warning", process="bench")
    warnings.simplefilter("ignore", ResourceWarning)
    collect_seldom()
    chosen = [known[name] for name in given.names or known]
    print(machine(), end="\n\n", flush=True)
    try:
        rows = uvloop.run(measure(chosen, given.seconds, given.repeats))
    except ServerUnavailableError as error:
        print(error, file=sys.stderr)
        return 2
    if len(chosen) > 1:
        print(render(rows))
    if given.json:
        write_json(given.json, rows)
    return 0 if all(row.ok for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
