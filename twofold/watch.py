"""Tables for people: lag as it moves, and what is parked."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Sequence
from typing import Any
from urllib.parse import quote

from rich.console import Console
from rich.live import Live
from rich.table import Column, Table

from twofold.client import Gateway

REFRESH_SECONDS = 0.5
AUDIT_SECONDS = 3_600.0
"""As long as reading the whole log may take."""
ERROR_CHARS = 200
NOTE = re.compile(r"event \d+ \(")
"""How what could not be decoded is named, behind its error."""
OTHERS_CHARS_MIN = 70
COMMANDS_SHOWN = 2
HELD_SHOWN = 6


def show_lag(gateway: Gateway, watch: bool) -> None:
    """Print the lag once, or redraw it until Ctrl-C."""
    console = Console()
    if not watch:
        console.print(_lag_table(gateway.call("GET", "/lag")))
        return
    with Live(_lag_table(gateway.call("GET", "/lag")), console=console, auto_refresh=False) as live:
        try:
            while True:
                time.sleep(REFRESH_SECONDS)
                live.update(_lag_table(gateway.call("GET", "/lag")), refresh=True)
        except KeyboardInterrupt:
            return


def show_parked(parked: Any) -> None:
    """Print parked commands and keys; each row begins with the reference that `retry` and `discard` take."""
    table = Table(Column("ref", no_wrap=True), "what", "why", "error", title="parked")
    for command in parked["commands"]:
        table.add_row(
            command["ref"], f"{command['type']} on {command['stream']}", command["reason"], _last_line(command["error"])
        )
    for key in parked["keys"]:
        what = f"{key['view']} {key['key']}: {key['waiting']} waiting from {key['position']}"
        table.add_row(key["ref"], what, key.get("reason", "evolve raised"), _last_line(key["error"]))
    _print_whole(table, "nothing is parked")


def show_dead(dead: Any) -> None:
    """Print dead letters; each row begins with the id that `replay` and `discard` take."""
    table = Table(Column("id", no_wrap=True), "lane", "died", "commands", "why", title="dead letters")
    for letter in dead["items"]:
        what = ", ".join(f"{command['type']} on {command['stream']}" for command in letter["commands"][:COMMANDS_SHOWN])
        more = letter["command_count"] - COMMANDS_SHOWN
        shown = (f"{what}, and {more} more" if more > 0 else what) or f"{letter['bytes']} bytes"
        table.add_row(letter["id"], letter["lane"], letter["died_at"] or "", shown, letter["reason"])
    _print_whole(table, "nothing is dead")


def show_processes(answer: Any) -> None:
    """Print every process, and how many instances it has in which state."""
    table = Table("process", "running", "stuck", "done", "cancelled", "timers due", "events behind", title="processes")
    for one in answer["processes"]:
        more = {state: "+" if state in one["at_least"] else "" for state in one["instances"]}
        counts = [f"{count:,}{more[state]}" for state, count in one["instances"].items()]
        table.add_row(one["name"], *counts, f"{one['timers_due_seconds']:.3f} s", f"{one['lag_events']:,}")
    Console().print(table if table.row_count else "this domain has no processes")


def show_instances(items: Any, more: Sequence[str]) -> None:
    """Print instances; each row begins with what `show`, `retry` and `cancel` take. `more`: processes that have more of them."""
    table = Table(Column("process", no_wrap=True), Column("key", no_wrap=True), "state", "heard of", "due", title="instances")
    for one in items:
        state = ", ".join((one["status"], *one["stuck_because"]))
        table.add_row(one["process"], one["key"], state, one["heard_at"] or "", one["due"] or "")
    _print_whole(table, "there are none")
    for process in more:
        Console().print(f"{process} has more of them: GET /processes/{process} has all, page by page")


def _print_whole(table: Table, nothing: str) -> None:
    """The first column as it is, however narrow the terminal: it is what is typed next."""
    console = Console()
    if not table.row_count:
        console.print(nothing)
        return
    longest = max(len(str(cell)) for cell in table.columns[0].cells)
    console.width = max(console.width, longest + OTHERS_CHARS_MIN)
    console.print(table, soft_wrap=False)


def show_members(members: Any) -> None:
    """Print every living process, by room."""
    table = Table("room", "host", "pid", "version", "since", "last seen", "holds", title="members")
    for one in members:
        holds = "stands by" if one["standby"] else _some(one["holds"])
        table.add_row(one["room"], one["host"], str(one["pid"]), one["version"], one["since"], one["last_seen"], holds)
    console = Console()
    console.print(table if table.row_count else "nobody is alive")


def show_audit(gateway: Gateway, view: str | None) -> int:
    """Print what an audit of one view, or of all, finds; 1 when a row is not what it should be, or lacks what is parked."""
    console = Console()
    table, is_well = Table("view", "key", "expected", "found", title="differences"), True
    for name in [view] if view else [one["name"] for one in gateway.call("GET", "/views")["views"]]:
        checked, still_open, parked, after = 0, 0, 0, None
        while True:
            found = _audited(gateway, name, after)
            checked, still_open, after = checked + found["checked"], still_open + found["open"], found["next"]
            parked += found.get("parked", 0)
            for one in found["differences"]:
                table.add_row(name, one["key"], *_differing(one["expected"], one["found"]))
            if after is None:
                break
        moved_on = f", {still_open:,} moved on too fast" if still_open else ""
        waiting = f", {parked:,} parked (twofold parked list)" if parked else ""
        console.print(f"{name}: {found.get('note') or f'{checked:,} keys compared{moved_on}{waiting}'}")
        is_well = is_well and not parked
    if table.row_count:
        console.print(table)
    return 0 if is_well and not table.row_count else 1


def _differing(expected: Any, found: Any) -> tuple[str, str]:
    """Both rows; where both are there, only the fields in which they differ."""
    rows = [expected, found]
    if expected is not None and found is not None:
        same = {name for name in expected if name in found and expected[name] == found[name]}
        rows = [{name: value for name, value in row.items() if name not in same} for row in rows]
    told, as_found = (json.dumps(row, ensure_ascii=False) for row in rows)
    return told, as_found


def _audited(gateway: Gateway, view: str, after: str | None) -> Any:
    """One call's worth of keys; the whole log is read for it."""
    behind = "" if after is None else f"?after={quote(after, safe='')}"
    return gateway.call("POST", f"/views/{quote(view, safe='')}/audit{behind}", timeout_seconds=AUDIT_SECONDS)


def _lag_table(lag: Any) -> Table:
    table = Table("view", "state", title=f"log head {lag['head']:,}")
    for column in ("position", "events behind", "seconds behind"):
        table.add_column(column, justify="right")
    for name, view in sorted(lag["views"].items()):
        colour = {"live": "green", "behind": "yellow"}.get(view["state"], "red")
        state = f"[{colour}]{view['state']}[/]"
        table.add_row(name, state, f"{view['position']:,}", f"{view['lag_events']:,}", f"{view['lag_seconds']:.3f}")
    return table


def _some(names: list[str]) -> str:
    more = len(names) - HELD_SHOWN
    return ", ".join(names[:HELD_SHOWN]) + (f", and {more} more" if more > 0 else "")


def _last_line(error: str) -> str:
    """What was raised, with the note that says for which event, if it has one."""
    lines = error.strip().splitlines()
    told = lines[-2:] if len(lines) > 1 and NOTE.match(lines[-1]) else lines[-1:]
    return "; ".join(told)[:ERROR_CHARS]
