"""`twofold rebuild`: asks a gateway, then shows how far it is until it is over. Whoever stops looking stops nothing."""

from __future__ import annotations

import time
from typing import Any
from urllib.parse import quote

import typer
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from twofold.client import Gateway
from twofold.terminal import show

LOOK_SECONDS = 0.5


def run(gateway: Gateway, view: str, is_dry: bool, throttle: str | None, is_cancelling: bool, is_going_back: bool) -> int:
    """The exit status."""
    if is_dry + is_cancelling + is_going_back > 1:
        raise typer.BadParameter("one of --dry-run, --cancel and --rollback")
    path = f"/views/{quote(view, safe='')}/rebuild"
    if is_dry:
        report = gateway.call("GET", "/lag")
        if view not in report["views"]:
            raise typer.BadParameter(f"no view {view}; those are: {', '.join(report['views'])}")
        show({"view": view, "state": report["views"][view]["state"], "events_to_fold": report["head"]})
        return 0
    if is_cancelling:
        show(gateway.call("DELETE", path))
        return 0
    if is_going_back:
        gateway.call("POST", f"{path}/rollback")
    else:
        gateway.call("POST", path, {"throttle": rate_of(throttle)} if throttle else {})
    last = _watched(gateway, path)
    show(last)
    return 0 if last["state"] == "swapped" else 1


def rate_of(throttle: str) -> float:
    """Of `500/s` or `500`."""
    try:
        rate = float(throttle.removesuffix("/s"))
    except ValueError:
        rate = 0.0
    if not 0 < rate < float("inf"):
        raise typer.BadParameter(f"--throttle {throttle}: a number of events a second, as in 500/s")
    return rate


def _watched(gateway: Gateway, path: str) -> Any:
    columns = TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[rate]} events/s"), TimeRemainingColumn()
    with Progress(*columns, transient=True) as progress:
        task = progress.add_task("building", total=None, rate=0)
        while True:
            last = gateway.call("GET", path)
            rate, head = last["events_per_second"], last["head"]
            progress.update(task, description=last["state"], total=head or None, completed=last["position"], rate=rate)
            if last["state"] not in ("building", "verifying"):
                return last
            time.sleep(LOOK_SECONDS)
