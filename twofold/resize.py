"""`twofold lanes`: how many lanes there are, and another number of them."""

from __future__ import annotations

import time

import msgspec
from rich.console import Console

import twofold.eventstore.migrate
from twofold.kernel.errors import Misconfigured, Neighbour, Unavailable
from twofold.kernel.lanes import LaneState
from twofold.settings import Settings
from twofold.stores import log_url
from twofold.wiring import open_deployment

SECONDS_MAX = 120.0
"""How long one waits for the old lanes; workers go on without him."""
PAUSE_SECONDS = 1.0


def lanes(settings: Settings, count: int | None) -> None:
    """Show them, or have `count` of them. Whatever the setting says, which is what is asked for or about to change."""
    if not twofold.eventstore.migrate.is_current(log_url(settings)):
        name = "TWOFOLD_DATA" if settings.is_embedded else "TWOFOLD_DATABASE_URL"
        raise Misconfigured(f"{name}: the tables are not up to date; run `twofold migrate`")
    settings = msgspec.structs.replace(settings, lanes=None)
    if count is None:
        _show(settings)
    else:
        _change(settings, count)


def _show(settings: Settings) -> None:
    with open_deployment(settings) as deployment:
        state, depths = deployment.lane_state(), deployment.depths()
    console = Console()
    console.print(told(state))
    console.print("waiting: " + ", ".join(f"{lane}: {depth}" for lane, depth in depths.items()))


def _change(settings: Settings, count: int) -> None:
    """Until it is so. Raises Unavailable when it is not within SECONDS_MAX: it may be repeated, and what is open is finished."""
    console = Console()
    deadline = time.monotonic() + SECONDS_MAX
    said = ""
    with open_deployment(settings) as deployment:
        while True:
            try:
                for state in deployment.set_lanes(count):
                    if told(state) != said:
                        said = told(state)
                        console.print(said)
                    if time.monotonic() > deadline:
                        raise Unavailable(Neighbour.LANES, "not drained in time", detail="do workers run? they finish it alone")
                return
            except Unavailable as error:
                if time.monotonic() > deadline:
                    raise
                console.print(f"waits: {error}")
                time.sleep(PAUSE_SECONDS)


def told(state: LaneState) -> str:
    """How many there are, and what is left of those before."""
    now = f"{state.newest.lane_count} lanes, epoch {state.newest.number}"
    if state.old is None:
        return now
    if state.is_over:
        return f"{now}; the {state.old.lane_count} of epoch {state.old.number} are drained"
    return f"{now}; of epoch {state.old.number} {len(state.drained)} of {state.old.lane_count} lanes are drained"
