"""Reading beside each other: four projectors against one, the shop's views against one; how soon a row is seen at half load.

What is compared is measured in turns, on stacks that stand at the same time: a machine that is slow for a while is slow for both.
"""

from __future__ import annotations

from statistics import quantiles

from bench import house, visibility
from bench.databases import fresh_database
from bench.endtoend import ORDERS_ONLY, SINGLES, WHOLE_SHOP
from bench.load import Load, Work
from bench.load import run as run_load
from bench.processes import HOST, wait_until
from bench.results import Row
from bench.run import CONNECTIONS, VISIBLE_SECONDS_MAX, Meter, Run

SLOW_SHOP = "bench.slow"
SECONDS = 10.0
FOLLOW_EVERY = 4
SLOW_PER_SECOND = 20.0
"""Each order takes one projector more than twenty milliseconds where folding is slow: close to half of its time."""
PROJECTORS = (1, 4)
NAMES = {1: "one", 4: "four"}


def rows(run: Run) -> list[Row]:
    with (
        fresh_database(run.postgres_url) as one_url,
        house.served(ORDERS_ONLY, one_url, run.broker_url, run.folder) as one,
        fresh_database(run.postgres_url) as whole_url,
        house.served(WHOLE_SHOP, whole_url, run.broker_url, run.folder) as whole,
    ):
        meter = Meter(whole)
        found = _views(run, Meter(one), meter)
        found += _projectors(run, whole, meter, "beside", found[1].median / 4, "the shop's views", "fast")
    with fresh_database(run.postgres_url) as url, house.served(SLOW_SHOP, url, run.broker_url, run.folder) as slow:
        return found + _projectors(
            run, slow, Meter(slow), "beside-slow", SLOW_PER_SECOND, "the same, each evolve takes 3 ms", "slow"
        )


def _views(run: Run, one: Meter, whole: Meter) -> list[Row]:
    """Throughput of both, and at half of what one view does, how soon a row is seen."""
    sides = {"one": one, "whole": whole}
    for side in sides.values():
        side.commands_per_second("warm", run.count(1_000), 1)
    rates: dict[str, list[float]] = {name: [] for name in sides}
    for number in range(run.repeats):
        for name, side in sides.items():
            rates[name].append(side.commands_per_second(f"single{number}", run.count(SINGLES), 1))
    note = f"single posts, {CONNECTIONS} connections, in turns"
    found = [
        Row("beside-one-view", "served: one view", "commands/s", tuple(rates["one"]), note),
        Row("beside-shop-views", "served: the shop's views", "commands/s", tuple(rates["whole"]), note),
    ]
    return found + visibility.rows(run, one, rate=found[0].median / 2, key="beside-visible", name="half")


def _projectors(run: Run, running: house.Running, meter: Meter, key: str, rate: float, what: str, kind: str) -> list[Row]:
    """p50 and p99 of reads with a token, with one projector and with four, at the same rate."""
    reads: dict[int, list[list[float]]] = {count: [] for count in PROJECTORS}
    for number in range(run.repeats):
        for count in PROJECTORS:
            with running.with_projectors(count):
                reads[count].append(_reads(run, meter, f"{kind}{number}of{count}", rate).reads)
    note = f"{what}; {rate:.0f} commands/s, every {FOLLOW_EVERY}th read with its token until its row has arrived"
    return [
        Row(
            f"{key}-{NAMES[count]}-p{percent}",
            f"a token read with {count} projector{'s' if count > 1 else ''}, p{percent}",
            "ms",
            tuple(quantiles(values, n=100)[percent - 1] * 1000 for values in reads[count]),
            note,
        )
        for percent in (50, 99)
        for count in PROJECTORS
    ]


def _reads(run: Run, meter: Meter, prefix: str, rate: float) -> Load:
    count = run.count(int(rate * SECONDS))
    load = run_load(Work(HOST, meter.side.port, prefix, count, CONNECTIONS, rate=rate, follow_every=FOLLOW_EVERY))
    if load.late_seconds > visibility.LATE_SECONDS_MAX:
        raise RuntimeError(f"load {prefix}: a post left {load.late_seconds:.2f} s late, so this was no open loop")
    meter.events += count
    wait_until("the last order's row", lambda: meter.side.shows(meter.events), VISIBLE_SECONDS_MAX, meter.side.members)
    meter.check(prefix, count)
    return load
