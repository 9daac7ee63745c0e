"""What is told of processes at every scrape, and that it costs no more where there are more instances."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, cast

import msgspec
import pytest

from examples.bills import UNPAID_BILL, Unpaid
from twofold.kernel.instances import Instance, InstanceStatus, instances_of
from twofold.kernel.rows import Advance, Query, Row
from twofold.monitoring import instances
from twofold.monitoring.facts import told_of_processes
from twofold.monitoring.instances import InstanceCounts, count_instances
from twofold.testing.clock import NOON
from twofold.testing.memory_rows import MemoryViewStore

VIEW = instances_of(UNPAID_BILL)
LIMIT = timedelta(seconds=UNPAID_BILL.limit_seconds)


class Asked(MemoryViewStore):
    """Notes how many rows it may be asked to look at."""

    def __init__(self) -> None:
        super().__init__()
        self.most: list[int] = []

    def count(self, view: str, query: Query, most: int) -> int:
        self.most.append(most)
        return super().count(view, query, most)


def store(*rows: Instance, waiting: dict[str, list[int]] | None = None) -> Asked:
    made = Asked()
    generation = made.make(VIEW, 1)
    values = {row.key: Row(row.key, row, 1) for row in rows}
    made.commit([Advance(generation.slice_ids()[0], 0, 9, values, waiting or {}, dict.fromkeys(waiting or {}, "it broke"))])
    return made


def bill(key: str, status: InstanceStatus = "running", **fields: Any) -> Instance:
    kept: Any = cast(Any, VIEW.row)(key=key, status=status, since=NOON, heard_at=NOON, state=Unpaid(key, "ann"))
    made: Instance = msgspec.structs.replace(kept, **fields)
    return made


def test_each_instance_is_counted_once_and_a_parked_one_as_stuck_whatever_its_row_says() -> None:
    silent: dict[str, Any] = {"heard_at": NOON - LIMIT - timedelta(seconds=1)}
    rows = store(
        bill("fresh"),
        bill("silent", **silent),
        bill("silent and parked", **silent),
        bill("given up", "stuck"),
        bill("done"),
        bill("gone", "cancelled", **silent),
        bill("over", "done"),
        bill("over and parked", "done"),
        waiting={"done": [7], "silent and parked": [7], "over and parked": [8], "nothing yet": [9], "!stream/bill-x": [9]},
    )
    found = count_instances(rows, rows, UNPAID_BILL, NOON)
    assert found == InstanceCounts({"running": 1, "stuck": 6, "done": 1, "cancelled": 1}, (), 0.0)


def test_of_many_there_are_at_least_so_many_and_no_more_are_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(instances, "COUNTED_MAX", 3)
    rows = store(*(bill(f"b{number}") for number in range(5)), *(bill(f"d{number}", "done") for number in range(3)))
    found = count_instances(rows, rows, UNPAID_BILL, NOON)
    assert (found.instances, found.at_least) == ({"running": 3, "stuck": 0, "done": 3, "cancelled": 0}, ("running",))
    assert set(rows.most) == {4}


def test_the_timer_that_has_been_due_for_longest_is_told() -> None:
    minute = timedelta(minutes=1)
    rows = store(bill("a", due=NOON - minute), bill("b", due=NOON - 2 * minute), bill("c", due=NOON + minute), bill("d"))
    assert count_instances(rows, rows, UNPAID_BILL, NOON).timers_due_seconds == 120.0
    assert count_instances(rows, rows, UNPAID_BILL, NOON - 3 * minute).timers_due_seconds == 0.0


def test_what_is_told_has_a_line_for_each_state_and_one_for_the_timers_of_all() -> None:
    counts = {
        "one": InstanceCounts({"running": 4, "stuck": 1}, (), 2.5),
        "two": InstanceCounts({"running": 0, "stuck": 0}, (), 7.0),
    }
    states, due = told_of_processes(counts)
    assert {(one.labels["process"], one.labels["state"]): one.value for one in states.samples} == {
        ("one", "running"): 4,
        ("one", "stuck"): 1,
        ("two", "running"): 0,
        ("two", "stuck"): 0,
    }
    assert [one.value for one in due.samples] == [7.0]
    assert [one.value for one in told_of_processes({})[1].samples] == [0.0]
