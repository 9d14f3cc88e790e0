"""`python -m tests.simulation --seed N`, or `--seeds A-B`: prints each seed that fails, with what broke."""

import argparse
import sys
import time
import traceback

from tests.simulation.run import quiet, run_seed


def _seeds(text: str) -> range:
    first, _, last = text.partition("-")
    return range(int(first), int(last or first) + 1)


def main() -> int:
    """0 when every seed holds."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument("--seed", type=_seeds, dest="seeds", help="one seed")
    which.add_argument("--seeds", type=_seeds, help="from A to B, such as 0-1999")
    parser.add_argument("--keep-going", action="store_true", help="do not stop at the first seed that fails")
    words = parser.parse_args()
    started, steps, failed = time.perf_counter(), 0, 0
    happened: dict[str, int] = {}
    for seed in words.seeds:
        try:
            with quiet():
                world = run_seed(seed)
        except Exception:  # noqa: BLE001 - whatever it is, the seed is what matters
            traceback.print_exc()
            print(f"seed {seed} fails; alone: python -m tests.simulation --seed {seed}", flush=True)
            failed += 1
            if not words.keep_going:
                break
            continue
        steps += world.scheduler.steps
        for kind, count in world.happened.items():
            happened[kind] = happened.get(kind, 0) + count
    took = time.perf_counter() - started
    print(f"{len(words.seeds)} seeds, {failed} failed, {steps} steps, {took:.1f} s, {happened}")
    return min(failed, 1)


if __name__ == "__main__":
    sys.exit(main())
