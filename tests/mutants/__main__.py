"""`python -m tests.mutants [--seed S] [--count N] [--room R]`: exit status 1 when fewer than 95 % of the bugs are noticed."""

from __future__ import annotations

import argparse
import secrets
import sys
import tempfile
from pathlib import Path
from random import Random

from rich.progress import Progress

from tests.guards.house import room_sources
from tests.mutants.sites import mutants_of
from tests.mutants.trial import Trial
from tests.servers import Servers

KILLED_MIN = 0.95


def main() -> int:
    parser = argparse.ArgumentParser("python -m tests.mutants", description=__doc__)
    parser.add_argument("--seed", default=secrets.token_hex(3))
    parser.add_argument("--count", type=int, default=60)
    parser.add_argument("--room", action="append", help="only bugs in this room; may be given more than once")
    given = parser.parse_args()
    places = [one for source in room_sources() if not given.room or source.room in given.room for one in mutants_of(source)]
    drawn = Random(given.seed).sample(places, min(given.count, len(places)))
    print(f"seed {given.seed}: {len(drawn)} of {len(places)} bugs", flush=True)
    servers = Servers()
    survivors = []
    try:
        shared = {
            "TWOFOLD_TEST_POSTGRES_URL": servers.postgres_url,
            "TWOFOLD_TEST_BROKER_URL": servers.broker_url,
            "TWOFOLD_TEST_REDIS_URL": servers.redis_url,
        }
        with tempfile.TemporaryDirectory(prefix="twofold-mutants-") as folder, Progress() as bar:
            trial = Trial(Path(folder), shared)
            for mutant in bar.track(drawn, description="bugs"):
                killer = trial.killer(mutant)
                if killer is None:
                    survivors.append(mutant)
                print(f"{'SURVIVED' if killer is None else 'noticed '} {mutant}   {killer or ''}", flush=True)
    finally:
        servers.close()
    killed = 1 - len(survivors) / max(1, len(drawn))
    print(f"{killed:.1%} of {len(drawn)} noticed; survivors: {len(survivors)}")
    for mutant in survivors:
        print(f"  {mutant}")
    return 0 if killed >= KILLED_MIN else 1


if __name__ == "__main__":
    sys.exit(main())
