"""`python -m bench`: measure, print one table, exit 1 when a floor is not met or a measurement failed.

python -m bench                     everything but growth, overload, crowd and streams: some minutes on 2 cores
python -m bench --growth            that, and the log grown to 500,000 commands
python -m bench --overload          that, and five minutes of twice what it can decide, served and embedded
python -m bench --crowd             that, and 10,000 who wait and 600 who do not read, beside others
python -m bench --streams           that, and commands on streams of 1,000,000 events
python -m bench --only served peer  some sections
python -m bench --scale 0.1         fewer commands: whether it works, not how fast
"""

from __future__ import annotations

import argparse
import importlib
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import psycopg

from bench import table
from bench.results import Row
from bench.run import Run
from tests.servers import Servers
from tests.servers.postgres import DurablePostgres, libpq

SECTIONS = {
    "served": "bench.endtoend:served_rows",
    "peer": "bench.endtoend:peer_rows",
    "embedded": "bench.endtoend:embedded_rows",
    "shop": "bench.endtoend:whole_shop_rows",
    "beside": "bench.beside:rows",
    "ways": "bench.ways.measure:rows",
    "inprocess": "bench.inprocess:rows",
    "replay": "bench.replay:rows",
    "growth": "bench.growth:rows",
    "overload": "bench.overload:rows",
    "crowd": "bench.crowd:rows",
    "streams": "bench.streams:rows",
}
"""In the order of the table. Imported when measured: a section needs only what it measures."""
LONG = ("growth", "overload", "crowd", "streams")
"""Measured when asked for."""


def measure(name: str, run: Run) -> list[Row]:
    module, _, function = SECTIONS[name].partition(":")
    section: Callable[[Run], list[Row]] = getattr(importlib.import_module(module), function)
    return section(run)


def durability_of(url: str) -> str:
    """What the measured PostgreSQL does before it says that something is committed, as it tells itself."""
    names = ("server_version", "fsync", "synchronous_commit", "full_page_writes")
    with psycopg.connect(libpq(url)) as connection:
        told = {name: connection.execute("SELECT current_setting(%s)", (name,)).fetchall()[0][0] for name in names}
    return f"PostgreSQL {told.pop('server_version')}, " + ", ".join(f"{name} {value}" for name, value in told.items())


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench", description="Measure the house next to its peers.")
    parser.add_argument("--only", nargs="+", choices=list(SECTIONS), help="sections to measure")
    parser.add_argument("--growth", action="store_true", help="also grow the log to 500,000 commands")
    parser.add_argument("--overload", action="store_true", help="also offer twice what it can decide for five minutes")
    parser.add_argument("--crowd", action="store_true", help="also measure what others feel of 10,000 who wait")
    parser.add_argument("--streams", action="store_true", help="also decide on streams of 1,000,000 events")
    parser.add_argument("--repeats", type=int, default=3, help="how often each number is measured (default 3)")
    parser.add_argument("--scale", type=float, default=1.0, help="factor on the number of commands (default 1)")
    chosen = parser.parse_args()
    names = chosen.only or [name for name in SECTIONS if name not in LONG or getattr(chosen, name)]
    machine = table.machine()
    durability = ""
    rows: list[Row] = []
    failures: list[str] = []
    servers = Servers(DurablePostgres)
    try:
        with tempfile.TemporaryDirectory(prefix="twofold-bench-") as folder:
            durability = durability_of(servers.postgres_url)
            run = Run(servers.postgres_url, servers.broker_url, Path(folder), chosen.repeats, chosen.scale)
            for name in names:
                begin = time.monotonic()
                try:
                    rows += measure(name, run)
                except (RuntimeError, OSError, AssertionError) as error:
                    failures.append(f"{name}: {error}")
                print(f"{name}: {time.monotonic() - begin:.0f} s", file=sys.stderr, flush=True)
    finally:
        servers.close()
    all_met = table.show(rows, f"{machine}; {durability}", chosen.scale)
    print(f"numbers: {table.save(rows, f'{machine}; {durability}')}")
    for failure in failures:
        print(f"FAILED {failure}", file=sys.stderr)
    return 0 if all_met and not failures else 1


if __name__ == "__main__":
    sys.exit(main())
