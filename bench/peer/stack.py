"""Starts the peer on the run's own servers and says when its view shows everything."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import func, select

from bench.peer.actors import broker
from bench.peer.tables import METADATA, ROWS, connect
from bench.processes import START_SECONDS_MAX, Process, answers, fetch, free_port, wait_until

PUBLISHERS = 16
"""Publishing threads of the gateway: neighbouring numbers were within the noise, the confirm being what they wait for."""
WORKERS = 2
THREADS = 8
"""Of each worker process."""
PREFETCH = 64


@dataclass(frozen=True, slots=True)
class Peer:
    """A running peer."""

    port: int
    members: list[Process]
    database_url: str

    def shows(self, events: int) -> bool:
        """Whether the rows show the first `events` events, and there are no more."""
        lag = fetch(self.port, "/lag")
        return bool(lag["head"] == lag["shown"] == events)

    def rows(self, prefix: str) -> tuple[int, int]:
        """Count and total of the rows of one load."""
        engine = connect(self.database_url, 1)
        try:
            with engine.connect() as connection:
                chosen = select(func.count(), func.coalesce(func.sum(ROWS.c.total), 0)).where(
                    ROWS.c.order_id.startswith(f"{prefix}-")
                )
                count, total = connection.execute(chosen).one()
                return int(count), int(total)
        finally:
            engine.dispose()


@contextlib.contextmanager
def running(database_url: str, broker_url: str, prefix: str, folder: Path) -> Iterator[Peer]:
    """The peer's tables, gateway and workers, until the block ends; its queues are deleted then."""
    engine = connect(database_url, 1)
    METADATA.create_all(engine)
    engine.dispose()
    port = free_port()
    env = {
        "PEER_DATABASE_URL": database_url,
        "PEER_BROKER_URL": broker_url,
        "PEER_PREFIX": prefix,
        "PEER_PORT": str(port),
        "PEER_PUBLISHERS": str(PUBLISHERS),
        "PEER_THREADS": str(THREADS),
        "dramatiq_queue_prefetch": str(PREFETCH),
    }
    with contextlib.ExitStack() as stack:
        stack.callback(_delete_queues, broker_url, prefix)
        processes = [
            stack.enter_context(Process(name, [sys.executable, "-m", f"bench.peer.{room}"], env, folder))
            for room, name in [("gateway", "peer-gateway"), *[("worker", f"peer-worker-{number}") for number in range(WORKERS)]]
        ]
        wait_until("the peer's gateway", answers(port, "/lag"), START_SECONDS_MAX, processes)
        yield Peer(port, processes, database_url)


def _delete_queues(broker_url: str, prefix: str) -> None:
    rabbit = broker(broker_url)
    for name in (f"{prefix}.commands", f"{prefix}.events"):
        for suffix in ("", ".DQ", ".XQ"):
            rabbit.channel.queue_delete(name + suffix)
    rabbit.close()
