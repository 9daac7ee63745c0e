"""Facts about the whole system, read from the databases and the broker when somebody scrapes: head, lag, depth, members, parked.

A Prometheus collector: registered by the one process that exports facts, asked at every scrape, so what it says is never old.
What cannot be read is absent, and `twofold_facts_up` is 0: a missing line on a dashboard is honest, a flat one is not.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Protocol

import structlog
from prometheus_client import start_http_server
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector, CollectorRegistry

from twofold.kernel.builds import Build, Builds
from twofold.kernel.errors import Unavailable
from twofold.kernel.members import Member
from twofold.kernel.ports import Clock, History, Leases, ParkedCommands, ParkedLines, Rows
from twofold.kernel.process import AnyProcess
from twofold.monitoring.instances import COUNTED_MAX, InstanceCounts, count_instances, view_of_instances
from twofold.monitoring.lag import STATES, Lag, read_lag

PARKED_COUNTED_MAX = 1_000


class RowsAndBuilds(Rows, Builds, Protocol):
    """What is shown, and what is being built."""


class Facts(Collector):
    """Reads the whole system. `depths` gives the messages waiting by lane, as text, "dead" for the dead letters."""

    def __init__(
        self,
        history: History,
        parked_commands: ParkedCommands,
        rows: RowsAndBuilds,
        parked_lines: ParkedLines,
        view_names: Sequence[str],
        processes: Sequence[AnyProcess],
        leases: Leases,
        depths: Callable[[], Mapping[str, int]],
        clock: Clock,
    ) -> None:
        self._history, self._parked_commands = history, parked_commands
        self._rows, self._parked_lines, self._names = rows, parked_lines, view_names
        self._processes = processes
        self._leases, self._depths, self._clock = leases, depths, clock
        self._log = structlog.get_logger(room="monitoring")

    def describe(self) -> list[Metric]:
        """Nothing: registering must not read the system."""
        return []

    def collect(self) -> Iterator[Metric]:
        try:
            facts = self._read()
            up = 1.0
        except Unavailable as error:
            self._log.warning("facts cannot be read", unavailable=str(error))
            facts, up = [], 0.0
        yield from facts
        yield GaugeMetricFamily("twofold_facts_up", "1 when the facts could be read at this scrape.", value=up)

    def _read(self) -> list[Metric]:
        lag = read_lag(self._history, self._rows, self._parked_lines, self._names, self._clock)
        parked = self._parked_lines.parked_counts()
        depths = self._depths()
        views = [(name, view) for name, view in lag.views.items() if view.state != "away"]
        return [
            _by("lane", "twofold_lane_depth", "Messages waiting on a lane; dead: the dead letters.", depths),
            GaugeMetricFamily("twofold_dead_messages", "Dead letters, whose commands have no outcome.", value=depths["dead"]),
            _members(self._leases.members()),
            _by("view", "twofold_view_position", "Lowest checkpoint of the slices.", {name: v.position for name, v in views}),
            _by("view", "twofold_view_lag_events", "Head minus that checkpoint.", {name: v.lag_events for name, v in views}),
            _by("view", "twofold_view_lag_seconds", "Age of oldest unseen event.", {name: v.lag_seconds for name, v in views}),
            _rebuilds(self._rows.builds(self._names)),
            _states({name: view.state for name, view in lag.views.items()}),
            _by(
                "view",
                "twofold_view_parked_keys",
                "Keys behind a poison event.",
                {name: parked.get(name, 0) for name, _ in views},
            ),
            *told_of_processes(self._instances(lag)),
            GaugeMetricFamily("twofold_log_head", "Last position of the log.", value=lag.head),
            GaugeMetricFamily(
                "twofold_parked_commands",
                "Commands parked by a bug.",
                value=len(self._parked_commands.parked(PARKED_COUNTED_MAX)),
            ),
        ]

    def _instances(self, lag: Lag) -> dict[str, InstanceCounts]:
        """By process, of those whose rows can be read."""
        near = [process for process in self._processes if lag.views[view_of_instances(process)].state != "away"]
        now = self._clock.now()
        return {process.name: count_instances(self._rows, self._parked_lines, process, now) for process in near}


def told_of_processes(counts: Mapping[str, InstanceCounts]) -> list[Metric]:
    """The instances of each process by state, and how late the latest timer of them all is."""
    text = f"Instances of a process by state; of one that has more, {COUNTED_MAX}."
    states = GaugeMetricFamily("twofold_process_instances", text, labels=["process", "state"])
    for process, counted in counts.items():
        for state, count in counted.instances.items():
            states.add_metric([process, state], count)
    due = max((one.timers_due_seconds for one in counts.values()), default=0.0)
    return [states, GaugeMetricFamily("twofold_timers_due_seconds", "How long the timer due for longest has been.", value=due)]


def _members(members: Sequence[Member]) -> Metric:
    labels = ["room", "version", "standby"]
    family = GaugeMetricFamily(
        "twofold_members", "Live members of a room; standby: more of them than there is to do.", labels=labels
    )
    for (room, version, is_standby), count in Counter((one.room, one.version, one.is_standby) for one in members).items():
        family.add_metric([room, version, str(is_standby).lower()], count)
    return family


def _by(label: str, name: str, text: str, values: Mapping[str, float]) -> Metric:
    family = GaugeMetricFamily(name, text, labels=[label])
    for key, value in values.items():
        family.add_metric([key], value)
    return family


def _rebuilds(builds: Sequence[Build]) -> Metric:
    at = dict.fromkeys((one.generation.view for one in builds), 0)
    at |= {one.generation.view: one.position for one in builds if one.generation.state == "building"}
    text = "Lowest checkpoint of the rows that are built beside those which answer; 0: there are none."
    return _by("view", "twofold_rebuild_position", text, at)


def _states(states: Mapping[str, str]) -> Metric:
    """One line for each view and state that it may be in: 1 for the one it is in."""
    family = GaugeMetricFamily("twofold_view_state", "1 for the state a view is in.", labels=["view", "state"])
    for view, now in states.items():
        for state in STATES:
            family.add_metric([view, state], float(state == now))
    return family


def serve_metrics(registry: CollectorRegistry, host: str, port: int) -> Callable[[], None]:
    """Answer scrapes of this process on a port of its own, from a thread. Returns what stops it."""
    server, thread = start_http_server(port, host, registry)

    def stop() -> None:
        server.shutdown()
        server.server_close()
        thread.join(timeout=5)

    return stop
