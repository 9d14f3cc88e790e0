"""`make chaos`: kills real workers in mid-batch a thousand times under load, auditing everything after every fifty.

Each round has a database, a topic and a seed of its own, so that a round that failed can be had again alone.
"""

import argparse
import asyncio
import random
import secrets
import sys
import time
from pathlib import Path

from devnet.servers import create_database, drop_database, running_kafka, running_postgres, scratch_folder
from telemetry import logs
from tests.crash.deployment import Deployment
from tests.crash.site import open_site, storm

KILLS = 1_000
KILLS_A_ROUND = 50


def parser() -> argparse.ArgumentParser:
    """The command line."""
    words = argparse.ArgumentParser(
        prog="python -m tests.chaos", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    words.add_argument("--kills", type=int, default=KILLS, metavar="N", help=f"kills in all (default {KILLS})")
    words.add_argument("--workers", type=int, default=3, metavar="N", help="workers at a time (default 3)")
    words.add_argument("--seed", metavar="TEXT", help="the first round's seed, as a failed round printed it")
    return words


async def one_round(folder: Path, server_url: str, kafka: str, seed: str, kills: int, workers: int) -> str:
    """Kills `kills` workers and audits; answers what was found, raises `AssertionError` when something is wrong."""
    url = await create_database(server_url)
    deployment = Deployment(folder, database_url=url, kafka=kafka)
    deployment.migrate()
    try:
        async with open_site(deployment, seed) as site:
            await site.workers(workers)
            await site.begin()
            steps = await storm(site, kills, random.Random(seed), workers=workers)
            findings = await site.finish()
    except BaseException:
        print("\n".join(deployment.report()), file=sys.stderr)
        raise
    finally:
        deployment.end()
    await drop_database(server_url, url)
    return f"{findings.applied} of {findings.outcomes} commands applied, killed in {dict(sorted(steps.items()))}"


def main() -> int:
    """Runs the rounds; 0 when nothing was ever lost or doubled."""
    given = parser().parse_args()
    logs.configure("error", process="chaos")
    seed, done = given.seed or secrets.token_hex(4), 0
    with (
        scratch_folder("chaos") as folder,
        running_postgres(folder / "postgres") as server_url,
        running_kafka(folder / "kafka") as kafka,
    ):
        while done < given.kills:
            kills, began = min(KILLS_A_ROUND, given.kills - done), time.monotonic()
            (logs_folder := folder / f"round-{done}").mkdir()
            print(f"seed {seed}: {kills} kills …", end=" ", flush=True)
            found = asyncio.run(one_round(logs_folder, server_url, kafka, seed, kills, given.workers))
            done += kills
            print(f"{found}, in {time.monotonic() - began:.0f} s; {done} of {given.kills}", flush=True)
            seed = secrets.token_hex(4)
    return 0


if __name__ == "__main__":
    sys.exit(main())
