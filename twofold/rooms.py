"""A room is a process: open the house, give the room its ports (observed), hold its leases, run until told to stop.

`up` is every room in one process: the same functions, one after the other, around one house.
"""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Event, Thread

import structlog
import uvloop

import twofold.bus.dispatch.broker
import twofold.bus.embedded.transport
import twofold.bus.rabbitmq.broker
import twofold.gateway.app
from twofold import VERSION
from twofold.bus.outbox import Outbox
from twofold.kernel.errors import Misconfigured
from twofold.lease_keeper import Holding
from twofold.monitoring.facts import Facts, serve_metrics
from twofold.monitoring.metrics import Metrics
from twofold.monitoring.observed.gateway import observe_queue, query_observer, refusal_counter
from twofold.monitoring.observed.readmodels import observe_projection
from twofold.monitoring.observed.workers import observe_event_store, observe_execute
from twofold.readmodels.projection.projector import Projector
from twofold.settings import Settings
from twofold.wiring import House, open_house
from twofold.workers.execute import Executor

METRICS_PORTS_TRIED = 50
DRAIN_SECONDS = 10.0
SWITCH_SECONDS = 0.001
"""Python's 5 ms turn is long for a loop that shares its process with worker threads (`make bench`, embedded rows)."""

GARBAGE_THRESHOLD = 50_000
"""Allocations between two looks for cycles: our own data has none, and each look holds up every thread of the process."""

OnReady = Callable[[], None]


def run_gateway(settings: Settings, reuse_port: bool) -> None:
    metrics = Metrics()
    with open_house(settings) as house, _member(house, "gateway"):
        _serve(
            house,
            metrics,
            twofold.bus.rabbitmq.broker.command_queue(settings.broker_url, settings.lanes, settings.namespace),
            reuse_port,
        )


def run_workers(settings: Settings) -> None:
    metrics = Metrics()
    broker = twofold.bus.rabbitmq.broker.RabbitBroker(settings.broker_url, settings.lanes, settings.namespace)
    with open_house(settings) as house, _metrics_port(settings, metrics), _working(house, metrics, broker):
        _until_told()


def run_readmodels(settings: Settings) -> None:
    metrics = Metrics()
    with open_house(settings) as house, _metrics_port(settings, metrics), _projecting(house, metrics):
        _until_told()


def run_monitoring(settings: Settings) -> None:
    metrics = Metrics()
    with open_house(settings) as house, _member(house, "monitoring"):
        metrics.registry.register(_facts(house))
        with _metrics_port(settings, metrics):
            _until_told()


def run_up(settings: Settings, on_ready: OnReady) -> None:
    """Every room in this process, embedded. `on_ready` is called when the gateway listens."""
    sys.setswitchinterval(SWITCH_SECONDS)
    stay_on_one_core()
    metrics = Metrics()
    with open_house(settings) as house, _member(house, "gateway"):
        if house.lane_table is None:
            raise Misconfigured("`twofold up` is embedded; unset TWOFOLD_DATABASE_URL and TWOFOLD_BROKER_URL, or run the rooms")
        broker = twofold.bus.embedded.transport.EmbeddedBroker(house.lane_table, settings.lanes)
        queue = twofold.bus.embedded.transport.command_queue(house.lane_table, settings.lanes, broker.wake)
        metrics.registry.register(_facts(house))
        with _working(house, metrics, broker), _projecting(house, metrics):
            _serve(house, metrics, queue, reuse_port=False, on_ready=on_ready)


def _serve(house: House, metrics: Metrics, queue: Outbox, reuse_port: bool, on_ready: OnReady | None = None) -> None:
    ports = twofold.gateway.app.GatewayPorts(
        domain=house.domain,
        codec=house.codec,
        queue=observe_queue(queue, metrics),
        inbox=house.events,
        history=house.events,
        parked_commands=house.events,
        rows=house.views,
        parked_keys=house.views,
        bell=house.bell,
        outcomes=house.outcomes,
        clock=house.clock,
        lanes_total=house.settings.lanes,
        bus_description={"channels": {}, "operations": {}, "messages": {}},
        depths=house.depths,
        exposition=metrics.exposition,
        observe_query=query_observer(metrics),
        count_refusal=refusal_counter(metrics),
        describe={"title": f"Twofold: {house.domain.name}", "version": VERSION},
    )

    async def serve() -> None:
        await queue.start()
        try:
            app = twofold.gateway.app.application(ports)
            await twofold.gateway.app.serve(
                app, house.settings.host, house.settings.port, reuse_port=reuse_port, on_ready=on_ready
            )
        finally:
            await queue.close()

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(serve())


@contextmanager
def _working(house: House, metrics: Metrics, broker: twofold.bus.dispatch.broker.LaneBroker) -> Iterator[None]:
    """Dramatiq's worker threads execute what waits on the lanes this process holds."""
    events = observe_event_store(house.events, metrics)
    executor = Executor(house.domain, house.codec, events, house.bell, house.outcomes, house.inline)
    twofold.bus.dispatch.broker.declare_execute(broker, observe_execute(executor.execute, metrics))
    lanes = [str(lane) for lane in range(house.settings.lanes)]
    worker = twofold.bus.dispatch.broker.start_worker(broker, house.settings.worker_threads)
    try:
        with _member(house, "workers", lanes, lambda held: broker.hold({int(lane) for lane in held})):
            yield
    finally:
        worker.stop(timeout=int(DRAIN_SECONDS * 1000))
        broker.close()


@contextmanager
def _projecting(house: House, metrics: Metrics) -> Iterator[None]:
    """One thread folds the slices this process holds."""
    views = [view for view in house.domain.views.values() if view.sync == "async"]
    slices = {str(slice_id): slice_id for view in views for slice_id in house.generations[view.name].slice_ids()}
    projector = Projector(house.events, observe_projection(house.views, metrics), views, house.codec, house.bell)
    stop = Event()
    thread = Thread(target=projector.run, args=(stop,), name="projector")

    def hold(held: frozenset[str]) -> None:
        projector.hold({slices[name] for name in held})

    with _member(house, "readmodels", sorted(slices), hold):
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join(timeout=DRAIN_SECONDS)


def stay_on_one_core() -> None:
    """One interpreter lock is one core's worth of work; handing it from core to core costs a third of that
    (docs/decisions/0007)."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})


def _settle() -> None:
    """What start-up made stays for good: keep the garbage collector from walking over it again and again."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(GARBAGE_THRESHOLD)


@contextmanager
def _member(
    house: House, room: str, resources: list[str] | None = None, on_held: Callable[[frozenset[str]], None] = lambda held: None
) -> Iterator[None]:
    """Count this process among the living of its room, and hold its share of the room's resources."""
    holding = Holding(house.leases, room, resources or [], house.settings.lease_seconds, on_held)
    holding.start()
    _settle()
    try:
        yield
    finally:
        holding.close()


def _facts(house: House) -> Facts:
    return Facts(
        house.events, house.events, house.views, house.views, list(house.domain.views), house.leases, house.depths, house.clock
    )


@contextmanager
def _metrics_port(settings: Settings, metrics: Metrics) -> Iterator[None]:
    """Scrapes are answered on the first free port from TWOFOLD_METRICS_PORT on: several rooms may share a host."""
    for port in range(settings.metrics_port, settings.metrics_port + METRICS_PORTS_TRIED):
        try:
            stop = serve_metrics(metrics.registry, settings.host, port)
            break
        except OSError:
            continue
    else:
        raise Misconfigured(f"TWOFOLD_METRICS_PORT={settings.metrics_port}: no free port among the next {METRICS_PORTS_TRIED}")
    structlog.get_logger().info("metrics", port=port)
    try:
        yield
    finally:
        stop()


def _until_told() -> None:
    """Sleep until SIGTERM or Ctrl-C."""
    told = Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: told.set())
    while not told.wait(1.0):
        pass
