"""What a run found: rows of numbers, and the floors their ratios are held against."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from statistics import median

import msgspec


class Row(msgspec.Struct, frozen=True):
    """One line of the table. `values` are the repeats as measured; `key` is stable, for the floors and the JSON file."""

    key: str
    label: str
    unit: str
    values: tuple[float, ...]
    note: str = ""

    @property
    def median(self) -> float:
        return median(self.values)


@dataclass(frozen=True, slots=True)
class Floor:
    """A claim about two rows (their ratio) or about one (its median, `of` None)."""

    label: str
    row: str
    of: str | None
    at_least: float | None = None
    at_most: float | None = None

    def value(self, rows: Mapping[str, Row]) -> float | None:
        """None when a row it needs was not measured."""
        if self.row not in rows or (self.of is not None and self.of not in rows):
            return None
        return rows[self.row].median / (rows[self.of].median if self.of is not None else 1.0)

    def is_met(self, value: float) -> bool:
        return (self.at_least is None or value >= self.at_least) and (self.at_most is None or value < self.at_most)

    def bound(self) -> str:
        return f"≥ {self.at_least:g}" if self.at_least is not None else f"< {self.at_most:g}"


FLOORS = (
    Floor("single posts: served ÷ hand-made peer", "served-single", "peer-single", at_least=10),
    Floor("in process on PostgreSQL ÷ eventsourcing, its default", "inprocess-postgres-64", "library-postgres", at_least=4),
    Floor(
        "in process on PostgreSQL ÷ eventsourcing, its fastest", "inprocess-postgres-64", "library-postgres-functions", at_least=4
    ),
    Floor("embedded single posts, with HTTP and view ÷ eventsourcing on SQLite", "embedded-single", "library-sqlite", at_least=1),
    Floor("append → visible p99 at a quarter of the load, ms", "visible-p99", None, at_most=50),
    Floor("append → visible p99 at half of the load, ms", "beside-visible-p99", None, at_most=25),
    Floor("a token read, p50: 4 projectors ÷ 1", "beside-four-p50", "beside-one-p50", at_most=1.15),
    Floor("the same where folding is slow", "beside-slow-four-p50", "beside-slow-one-p50", at_most=1),
    Floor("the shop's views ÷ one view, single posts", "beside-shop-views", "beside-one-view", at_least=0.75),
    Floor("a stream of 1,000,000 events, served: cold ÷ warm", "streams-served-cold", "streams-served-warm", at_most=1.2),
    Floor(
        "a stream of 1,000,000 events, embedded: cold ÷ warm",
        "streams-embedded-cold",
        "streams-embedded-warm",
        at_most=1.2,
    ),
    Floor("worker memory, 500,000 ÷ 10,000 commands", "growth-memory-last", "growth-memory-first", at_most=1.1),
    Floor("command time, 500,000 ÷ 10,000 commands", "growth-command-last", "growth-command-first", at_most=1.1),
    Floor("query time, 500,000 ÷ 10,000 commands", "growth-query-last", "growth-query-first", at_most=1.1),
)
