"""Prints a run: one table on a terminal, the same as plain text elsewhere, and a JSON file with every number."""

from __future__ import annotations

import os
import platform
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import msgspec
from rich.console import Console
from rich.table import Table

from bench.results import FLOORS, Row

RESULTS = Path(__file__).parent / "results"
PLAIN_WIDTH = 140


def machine() -> str:
    """One line: processor, cores, memory, kernel, Python, and how busy it was before the run."""
    model = next(
        (line.split(":", 1)[1].strip() for line in _lines("/proc/cpuinfo") if line.startswith("model name")), platform.machine()
    )
    memory = next((int(line.split()[1]) for line in _lines("/proc/meminfo") if line.startswith("MemTotal")), 0) / 1024 / 1024
    load = os.getloadavg()[0]
    return (
        f"{os.cpu_count()} cores of {model}, {memory:.0f} GiB, {platform.system()} {platform.release()}, "
        f"Python {platform.python_version()}, load average before the run {load:.1f}"
    )


def show(rows: Sequence[Row], machine_line: str, scale: float) -> bool:
    """Print the table. Whether every measured floor is met."""
    title = "everything on one machine, load generator and servers included"
    if scale < 1:
        title += f"; {scale:g} of the commands, so a trial and no measurement"
    console = Console(width=None if sys.stdout.isatty() else PLAIN_WIDTH)
    console.print(f"[bold]machine[/] {machine_line}", highlight=False)
    console.print(f"[bold]command[/] python -m bench {' '.join(sys.argv[1:])}", highlight=False)
    table = Table("what", "median", "unit", "repeats", "", title=title)
    table.columns[1].justify = "right"
    for row in rows:
        table.add_row(row.label, _number(row.median), row.unit, " ".join(_number(value) for value in row.values), row.note)
    table.add_section()
    by_key = {row.key: row for row in rows}
    all_met = True
    for floor in FLOORS:
        value = floor.value(by_key)
        if value is not None:
            met = floor.is_met(value)
            all_met = all_met and met
            verdict = "[green]met[/]" if met else "[red]NOT MET[/]"
            table.add_row(floor.label, f"{value:.2f}", "ms" if floor.of is None else "×", f"floor {floor.bound()}", verdict)
    console.print(table)
    return all_met


def save(rows: Sequence[Row], machine_line: str) -> Path:
    """Write every number of the run to a file of its own."""
    RESULTS.mkdir(exist_ok=True)
    file = RESULTS / f"{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}.json"
    file.write_bytes(
        msgspec.json.format(msgspec.json.encode({"machine": machine_line, "arguments": sys.argv[1:], "rows": list(rows)}))
    )
    return file


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def _lines(path: str) -> list[str]:
    try:
        return Path(path).read_text().splitlines()
    except OSError:
        return []
