"""One run: how large, on which servers, in which folder. Every section of the bench gets this and gives back rows."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from bench.load import Work
from bench.load import run as run_load
from bench.orders import total_minor
from bench.processes import HOST, Process, wait_until
from bench.results import Row

VISIBLE_SECONDS_MAX = 180.0
CONNECTIONS = 64
BULK_CONNECTIONS = 8


@dataclass(frozen=True, slots=True)
class Run:
    """`scale` multiplies the number of commands; `repeats` is how often each number is measured."""

    postgres_url: str
    broker_url: str
    folder: Path
    repeats: int = 3
    scale: float = 1.0

    def count(self, commands: int) -> int:
        return max(1, round(commands * self.scale))


class Side(Protocol):
    """A system under load: the house, served or embedded, or the hand-made peer."""

    @property
    def port(self) -> int: ...

    @property
    def members(self) -> list[Process]: ...

    def shows(self, events: int) -> bool: ...

    def rows(self, prefix: str) -> tuple[int, int]: ...


class Meter:
    """Puts loads on one side, one after the other, and knows how many events it must show by now."""

    def __init__(self, side: Side) -> None:
        self.side = side
        self.events = 0

    def commands_per_second(self, prefix: str, count: int, items: int) -> float:
        """From the first post until the view shows the last order. Raises RuntimeError when the rows are wrong."""
        connections = CONNECTIONS if items == 1 else BULK_CONNECTIONS
        load = run_load(Work(HOST, self.side.port, prefix, count, connections, items))
        self.events += count
        seen = wait_until("the last order's row", lambda: self.side.shows(self.events), VISIBLE_SECONDS_MAX, self.side.members)
        self.check(prefix, count)
        return count / (seen - load.started_at)

    def check(self, prefix: str, count: int) -> None:
        """The view holds this load's orders, all of them, to the penny."""
        found, expected = self.side.rows(prefix), (count, total_minor(count))
        if found != expected:
            raise RuntimeError(f"load {prefix}: the view holds (orders, total) {found}, not {expected}")


def throughput(run: Run, meter: Meter, key: str, label: str, singles: int, bulk: int, bulk_items: int) -> list[Row]:
    """Warm up, then measure single posts and bulk."""
    meter.commands_per_second("warm", run.count(min(singles, 1_000)), 1)
    one = tuple(meter.commands_per_second(f"single{number}", run.count(singles), 1) for number in range(run.repeats))
    many = tuple(meter.commands_per_second(f"bulk{number}", run.count(bulk), bulk_items) for number in range(run.repeats))
    return [
        Row(
            f"{key}-single", f"{label}, single posts, {CONNECTIONS} connections", "commands/s", one, "HTTP → visible in the view"
        ),
        Row(f"{key}-bulk", f"{label}, bulk of {bulk_items}", "commands/s", many, "HTTP → visible in the view"),
    ]
