"""How the instances of a process are: how many in which state, as users are told it, and since when its timers have been due.

    stuck      a call was given up, or nothing was heard for longer than the process' limit, or its key is parked
    running, done, cancelled     none of these, and the row says so

Every question is one walk along an index, no further than to so many: a million instances that are done cost what ten
thousand do.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import Literal, get_args

import msgspec

from twofold.kernel.instances import VIEW_PREFIX, Instance, InstanceStatus
from twofold.kernel.ports import ParkedLines, Rows
from twofold.kernel.process import AnyProcess
from twofold.kernel.rows import STREAM_PREFIX, Query, Range

COUNTED_MAX = 10_000
"""So many of a state are counted. If there are more, there are "at least" so many."""
PARKED_READ_MAX = 1_000
"""Of so many parked keys it is looked up what else they would be counted as."""
LIMIT_SECONDS_MAX = 3e9
"""A limit beyond it, a century, is none."""

STATES: tuple[InstanceStatus, ...] = get_args(InstanceStatus)

Because = Literal["call-given-up", "silent", "parked"]
"""Why an instance is told as stuck."""


class InstanceCounts(msgspec.Struct, frozen=True):
    """By state; of those that are named in `at_least` there may be more. `timers_due_seconds`: how long the timer that has been
    due for longest has been; 0 where none is."""

    instances: Mapping[str, int]
    at_least: tuple[str, ...]
    timers_due_seconds: float


def view_of_instances(process: AnyProcess) -> str:
    return f"{VIEW_PREFIX}{process.name}"


def silent_since(process: AnyProcess, now: datetime) -> datetime:
    """Who was heard of last before this moment, and is not done, has been silent for too long."""
    return now - timedelta(seconds=min(process.limit_seconds, LIMIT_SECONDS_MAX))


def questions(process: AnyProcess, now: datetime) -> dict[str, Query]:
    """For each state, and for the two ways in which a row says that its instance is stuck: which rows these are, but for those of
    parked keys. Whoever was heard of longest ago comes first; of those that are over, last."""
    since = silent_since(process, now)

    def of(status: InstanceStatus, *heard: Range, is_over: bool = False) -> Query:
        return Query(where=(("status", status),), ranges=heard, order="heard_at", descending=is_over)

    return {
        "running": of("running", Range("heard_at", since, None)),
        "call-given-up": of("stuck"),
        "silent": of("running", Range("heard_at", None, since)),
        "done": of("done", is_over=True),
        "cancelled": of("cancelled", is_over=True),
    }


def stuck_because(process: AnyProcess, instance: Instance | None, is_parked: bool, now: datetime) -> list[Because]:
    """Why it is; empty when it is not. None: its key is parked before there was a row."""
    because: list[Because] = []
    if instance is not None and instance.status == "stuck":
        because.append("call-given-up")
    if instance is not None and instance.status == "running" and instance.heard_at < silent_since(process, now):
        because.append("silent")
    return [*because, "parked"] if is_parked else because


def parked_instances(lines: ParkedLines, process: AnyProcess) -> list[str]:
    """Keys of instances whose next event could not be folded, in their order."""
    found = {line.key for line in lines.parked_lines(view_of_instances(process))}
    return sorted(key for key in found if not key.startswith(STREAM_PREFIX))


def count_instances(rows: Rows, lines: ParkedLines, process: AnyProcess, now: datetime) -> InstanceCounts:
    view = view_of_instances(process)
    counted = {name: rows.count(view, query, COUNTED_MAX + 1) for name, query in questions(process, now).items()}
    parked = parked_instances(lines, process)
    for name in _otherwise(rows, view, process, parked[:PARKED_READ_MAX], now):
        counted[name] -= 1
    stuck = counted.pop("call-given-up") + counted.pop("silent") + len(parked)
    found: dict[str, int] = {state: counted.get(state, stuck) for state in STATES}
    more = tuple(state for state, count in found.items() if count > COUNTED_MAX)
    return InstanceCounts({state: min(count, COUNTED_MAX) for state, count in found.items()}, more, _due_seconds(rows, view, now))


def _otherwise(rows: Rows, view: str, process: AnyProcess, parked: Iterable[str], now: datetime) -> Iterable[str]:
    """What the rows of these keys have been counted as, each once."""
    for found in rows.get(view, list(parked)):
        if found.row is not None:
            instance: Instance = found.row.value  # type: ignore[assignment]
            yield next(iter(stuck_because(process, instance, False, now)), instance.status)


def _due_seconds(rows: Rows, view: str, now: datetime) -> float:
    due = rows.find(view, Query(ranges=(Range("due", None, now),), order="due", limit=1)).rows
    return max(0.0, (now - due[0].value.due).total_seconds()) if due else 0.0  # type: ignore[attr-defined]
