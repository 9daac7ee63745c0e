"""A room is a process: give it the ports it needs (observed), keep its leases, run until told to stop.

`up` is every room in one process: the same functions, one after the other, around one deployment.
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Event, Thread

import structlog
import uvloop

import twofold.bus.dispatch.broker
from twofold import VERSION
from twofold.bus.description import describe
from twofold.deadline import ending_endless, replacing_endless
from twofold.deployment import Deployment
from twofold.folding import processing, projecting
from twofold.gateway.app import GatewayPorts, application, serve
from twofold.generation_watch import answering
from twofold.interpreter import share_the_interpreter
from twofold.kernel.errors import Misconfigured
from twofold.membership import member_of
from twofold.monitoring.facts import Facts, serve_metrics
from twofold.monitoring.metrics import Metrics
from twofold.monitoring.observed.gateway import observe_queue, query_observer, queue_observer, refusal_counter
from twofold.monitoring.observed.workers import observe_event_store, observe_execute
from twofold.settings import Settings
from twofold.stepping_aside import SteppingAside
from twofold.subscriptions.log_cache import log_of
from twofold.wiring import open_deployment
from twofold.workers.execute import Executor

METRICS_PORTS_TRIED = 50
DRAIN_SECONDS = 10.0
OnReady = Callable[[], None]


def run_gateway(settings: Settings, reuse_port: bool) -> None:
    """Needs the log, every store that rows are in, the lanes and the rings."""
    metrics = Metrics()
    with open_deployment(settings) as deployment:
        ports = _gateway_ports(deployment, metrics)
        with member_of(deployment, "gateway"), answering(deployment):
            _serve(deployment, ports, reuse_port)


def run_workers(settings: Settings) -> None:
    """Needs the log, the lanes and the rings; no store of rows but the log's own, for inline views."""
    metrics = Metrics()
    with (
        open_deployment(settings) as deployment,
        _working(deployment, metrics) as executor,
        ending_endless(executor.deciding_seconds),
        _metrics_port(settings, metrics),
    ):
        _until_stopped()


def run_readmodels(settings: Settings) -> None:
    """Needs the log, the stores whose rows follow it, and the rings."""
    metrics = Metrics()
    with open_deployment(settings) as deployment, projecting(deployment, metrics), _metrics_port(settings, metrics):
        _until_stopped()


def run_processes(settings: Settings) -> None:
    """Needs the log, the rows of processes, the lanes and the rings."""
    metrics = Metrics()
    with (
        open_deployment(settings) as deployment,
        answering(deployment),
        processing(deployment, metrics),
        _metrics_port(settings, metrics),
    ):
        _until_stopped()


def run_monitoring(settings: Settings) -> None:
    """Needs the log, every store that rows are in, and the depth of the lanes."""
    metrics = Metrics()
    with open_deployment(settings) as deployment:
        metrics.registry.register(_facts(deployment))
        with member_of(deployment, "monitoring"), answering(deployment), _metrics_port(settings, metrics):
            _until_stopped()


def run_up(settings: Settings, on_ready: OnReady) -> None:
    """Every room in this process, embedded. `on_ready` is called when the gateway listens."""
    if not settings.is_embedded:
        raise Misconfigured("`twofold up` is embedded; unset TWOFOLD_DATABASE_URL and TWOFOLD_BROKER_URL, or run the rooms")
    share_the_interpreter()
    metrics = Metrics()
    with open_deployment(settings) as deployment:
        deployment.make_tables()
        metrics.registry.register(_facts(deployment))
        ports = _gateway_ports(deployment, metrics)
        following = [view for view in deployment.domain.views.values() if view.sync == "async"]
        log = log_of(deployment.events, deployment.codec, following)
        with (
            member_of(deployment, "gateway"),
            answering(deployment),
            _working(deployment, metrics) as executor,
            replacing_endless(executor.deciding_seconds),
            projecting(deployment, metrics, log),
            processing(deployment, metrics, log),
        ):
            _serve(deployment, ports, reuse_port=False, on_ready=on_ready)


def _gateway_ports(deployment: Deployment, metrics: Metrics) -> GatewayPorts:
    settings, epoch = deployment.settings, deployment.lane_state().newest
    return GatewayPorts(
        domain=deployment.domain,
        codec=deployment.codec,
        clock=deployment.clock,
        queue=observe_queue(deployment.command_queue, metrics, deployment.domain.commands),
        inbox=deployment.events,
        history=deployment.events,
        parked_commands=deployment.events,
        dead=deployment.dead,
        rows=deployment.rows,
        builds=deployment.rows,
        answers_from=deployment.rows.generation,
        parked_keys=deployment.rows,
        bell=deployment.bell,
        outcomes=deployment.outcomes,
        leases=deployment.leases,
        lanes=deployment,
        bus_description=describe(settings.namespace, epoch, settings.is_embedded),
        exposition=metrics.exposition,
        observe_undecided=metrics.undecided_seconds.set,
        observe_queue_seconds=queue_observer(metrics),
        observe_query=query_observer(metrics, deployment.domain.views),
        count_refusal=refusal_counter(metrics),
        allowed_hosts=settings.allowed_hosts,
        describe={"title": f"Twofold: {deployment.domain.name.removeprefix('twofold.')}", "version": VERSION},
    )


def _serve(deployment: Deployment, ports: GatewayPorts, reuse_port: bool, on_ready: OnReady | None = None) -> None:
    """HTTP, until told to stop."""
    host, port = deployment.settings.host, deployment.settings.port

    async def run() -> None:
        await deployment.command_queue.start()
        try:
            await serve(application(ports), host, port, reuse_port=reuse_port, on_ready=on_ready)
        finally:
            await deployment.command_queue.close()

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(run())


@contextmanager
def _working(deployment: Deployment, metrics: Metrics) -> Iterator[Executor]:
    """Dramatiq's worker threads execute what waits on the lanes this process holds."""
    executor = Executor(
        deployment.domain,
        deployment.codec,
        observe_event_store(deployment.events, metrics, deployment.domain.commands, deployment.domain.events),
        deployment.bell,
        deployment.outcomes,
        deployment.inline,
        given_up=frozenset(deployment.settings.park_unknown.replace(",", " ").split()),
        new_trial=deployment.new_trial,
    )
    broker = deployment.lane_broker
    execute, carefully = (observe_execute(act, metrics) for act in (executor.execute, executor.execute_carefully))
    aside = SteppingAside(deployment.leases, deployment.working_lanes, deployment.settings.unknown_seconds, broker.away_seconds)
    metrics.not_known_seconds.set_function(aside.waiting_seconds)
    twofold.bus.dispatch.broker.declare_execute(broker, execute, carefully, aside.meet)
    stop = Event()
    Thread(target=deployment.look_after_lanes, args=(stop,), name="lanes", daemon=True).start()
    worker = twofold.bus.dispatch.broker.start_worker(broker, deployment.settings.worker_threads)
    try:
        with member_of(deployment, "workers", aside.wanted, lambda held: broker.hold(map(int, held))):
            yield executor
    finally:
        stop.set()
        worker.stop(timeout=int(DRAIN_SECONDS * 1000))
        broker.close()


def _facts(deployment: Deployment) -> Facts:
    log, rows, domain = deployment.events, deployment.rows, deployment.domain
    views, processes = list(domain.views), list(domain.processes.values())
    return Facts(log, log, rows, rows, views, processes, deployment.leases, deployment.depths, deployment.clock)


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


def _until_stopped() -> None:
    """Sleep until SIGTERM or Ctrl-C."""
    stop = Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    while not stop.wait(1.0):
        pass
