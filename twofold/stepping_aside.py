"""What a worker does with a lane that it cannot go on with: it waits, or gives the lane to one that can.

    met ── some living worker knows it ──> the lane is not wanted for a while, and goes to others
     └──── nobody does ──> the lane waits in place, and after a bound says so loudly, until a worker comes that knows it

During a rolling deploy both versions are right: nothing is settled, nothing parked, and the order of the lane is kept. Who only
waits does not let go of the lane either: every change of hands counts on the broker, and would in the end bury what waits.
Only an operator may say that nobody will ever know a command (TWOFOLD_PARK_UNKNOWN). A set of inline views that the log wants
folded is in the way of every lane: who does not know it wants none, as long as somebody who does has some. And who is cut from
the lanes, but not from the leases, wants none until he is there again.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from threading import Lock
from typing import NamedTuple

import structlog

from twofold.kernel.members import Member, is_inline_views_name
from twofold.kernel.ports import Leases

ASIDE_SECONDS = 10.0
"""How long a lane that was given away is not wanted, unless who knows its commands goes before."""
AWAY_SECONDS_MAX = 5.0
"""How long the lanes may be out of reach before none is wanted."""
MET_SECONDS = 10.0
"""A lane that has not met an unknown command for so long, several times the pause between two tries, is through with it."""


class _Met(NamedTuple):
    names: frozenset[str]
    since: float
    last: float


class SteppingAside:
    """`lanes` are all that are worked on now, `away_seconds` how long they have been out of reach. `meet` and `waiting_seconds`
    may be called from any thread, `wanted` from the keeper's alone."""

    def __init__(
        self,
        leases: Leases,
        lanes: Callable[[], Sequence[str]],
        alarm_seconds: float,
        away_seconds: Callable[[], float] = lambda: 0.0,
    ) -> None:
        self._leases, self._lanes, self._alarm_seconds = leases, lanes, alarm_seconds
        self._away_seconds = away_seconds
        self._lock = Lock()
        self._met: dict[str, _Met] = {}
        self._aside: dict[str, tuple[frozenset[str], float]] = {}
        self._said: dict[str, int] = {}
        self._log = structlog.get_logger(room="workers")

    def meet(self, lane: int, names: frozenset[str]) -> None:
        """What waits on this lane has these names in it, which this process does not know."""
        now, name = time.monotonic(), str(lane)
        with self._lock:
            self._met[name] = _Met(names, self._met[name].since if name in self._met else now, now)

    def waiting_seconds(self) -> float:
        """How long the lane that waits longest has been in the way of others here; 0 when none is."""
        now = time.monotonic()
        with self._lock:
            return max((now - met.since for met in self._met.values() if now - met.last < MET_SECONDS), default=0.0)

    def wanted(self) -> list[str]:
        """The lanes to take a share of. Raises Unavailable while it has to ask who knows what, and cannot."""
        now = time.monotonic()
        with self._lock:
            self._met = {lane: met for lane, met in self._met.items() if now - met.last < MET_SECONDS}
            met, aside = dict(self._met), self._aside
        if met or aside:
            workers = [member for member in self._leases.members() if member.room == "workers"]
            aside = {lane: one for lane, one in aside.items() if _is_with_others(workers, *one)}
            for lane, (names, since, _) in met.items():
                if _any(workers, names):
                    given = self._lanes() if any(map(is_inline_views_name, names)) else [lane]
                    aside |= dict.fromkeys(given, (names, now + ASIDE_SECONDS))
                    self._say(lane, names, 0, "gives a lane to who knows its commands")
                else:
                    self._say(lane, names, 1 + int((now - since) // self._alarm_seconds), "waits: no worker knows this command")
            with self._lock:
                self._met = {lane: one for lane, one in self._met.items() if lane not in aside}
        self._aside = aside
        self._said = {lane: said for lane, said in self._said.items() if lane in met}
        if self._away_seconds() > AWAY_SECONDS_MAX:
            return []
        return [lane for lane in self._lanes() if lane not in aside]

    def _say(self, lane: str, names: frozenset[str], stage: int, text: str) -> None:
        """Once when it begins, and once whenever it has lasted for another bound: then it is an error."""
        if self._said.get(lane) != stage:
            self._said[lane] = stage
            (self._log.error if stage > 1 else self._log.warning)(text, lane=lane, names=sorted(names))


def _is_with_others(workers: Sequence[Member], names: frozenset[str], until: float) -> bool:
    """Whether a lane that was given away for this long is still not wanted."""
    if until > time.monotonic():
        return _any(workers, names)
    return any(map(is_inline_views_name, names)) and _any([worker for worker in workers if worker.holds], names)


def _any(workers: Sequence[Member], names: frozenset[str]) -> bool:
    return any(names <= worker.knows for worker in workers)
