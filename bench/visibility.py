"""How long append → visible takes, at a steady part of the load: open loop, seen from outside.

Visible is when the answer to a read with the command's own token has arrived at the client (bench/paced.py); append is the
event's `recorded_at`, read from the log afterwards. Both clocks are this machine's.
"""

from __future__ import annotations

from datetime import datetime
from statistics import quantiles

from bench.load import Work
from bench.load import run as run_load
from bench.processes import HOST, fetch, wait_until
from bench.results import Row
from bench.run import VISIBLE_SECONDS_MAX, Meter, Run

SECONDS = 8.0
CONNECTIONS = 64
FOLLOW_EVERY = 4
PAGE_EVENTS = 1_000
LATE_SECONDS_MAX = 0.25
"""A post that waited longer for a free connection was not sent at its time: the loop was not open, the number means nothing."""


def rows(run: Run, meter: Meter, rate: float, key: str = "visible", name: str = "paced") -> list[Row]:
    """p50 and p99 of each repeat, in milliseconds."""
    count = run.count(int(rate * SECONDS))
    seconds = [_one(meter, f"{name}{number}", rate, count) for number in range(run.repeats)]
    cuts = [quantiles(values, n=100) for values in seconds]
    note = f"{rate:.0f} commands/s, every {FOLLOW_EVERY}th followed, until its row has arrived over HTTP"
    return [
        Row(f"{key}-p50", "append → visible, p50", "ms", tuple(cut[49] * 1000 for cut in cuts), note),
        Row(f"{key}-p99", "append → visible, p99", "ms", tuple(cut[98] * 1000 for cut in cuts), note),
    ]


def _one(meter: Meter, prefix: str, rate: float, count: int) -> list[float]:
    """Seconds from append to visible, of each followed order."""
    load = run_load(Work(HOST, meter.side.port, prefix, count, CONNECTIONS, rate=rate, follow_every=FOLLOW_EVERY))
    if load.late_seconds > LATE_SECONDS_MAX:
        raise RuntimeError(f"load {prefix}: a post left {load.late_seconds:.2f} s late, so this was no open loop")
    before = meter.events
    meter.events += count
    wait_until("the last order's row", lambda: meter.side.shows(meter.events), VISIBLE_SECONDS_MAX, meter.side.members)
    meter.check(prefix, count)
    recorded = _recorded_at(meter.side.port, before, f"order-{prefix}-")
    return [seen - recorded[number] for number, seen in load.seen_at.items()]


def _recorded_at(port: int, after: int, stream_prefix: str) -> dict[int, float]:
    """Order number to the time its first event was recorded, from the log after this position."""
    found: dict[int, float] = {}
    while True:
        events = fetch(port, f"/events?after={after}&limit={PAGE_EVENTS}")["events"]
        for event in events:
            found.setdefault(
                int(event["stream"].removeprefix(stream_prefix)), datetime.fromisoformat(event["recorded_at"]).timestamp()
            )
        if not events:
            return found
        after = events[-1]["position"]
