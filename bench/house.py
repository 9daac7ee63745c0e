"""Starts the running as its users do, with the command line: served (three rooms, three processes) or embedded (`up`)."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from uuid import uuid4

import pika

from bench.processes import HOST, START_SECONDS_MAX, Process, answers, fetch, free_port, wait_until
from twofold.eventstore.identity import FIRST_LANES
from twofold.settings import read_settings

ROOMS = ("gateway", "workers", "readmodels")
PAGE_ROWS = 1_000


@dataclass(frozen=True, slots=True)
class Running:
    """The running at work. `processes` by room, "up" when embedded; `env` and `folder` are theirs."""

    port: int
    processes: dict[str, Process]
    env: dict[str, str] = field(default_factory=dict)
    folder: Path = Path()

    @property
    def members(self) -> list[Process]:
        return list(self.processes.values())

    def shows(self, events: int) -> bool:
        """Whether the log holds exactly so many events and every view shows them all."""
        lag = fetch(self.port, "/lag")
        return bool(lag["head"] == events and all(view["lag_events"] == 0 for view in lag["views"].values()))

    @contextmanager
    def with_projectors(self, count: int) -> Iterator[None]:
        """So many until the block ends, from when they have shared all slices. One is there anyway."""
        with ExitStack() as stack:
            others = [f"readmodels-{number}" for number in range(2, count + 1)]
            more = [
                stack.enter_context(Process(f"{name}-{self.port}", _twofold("readmodels"), self.env, self.folder))
                for name in others
            ]
            wait_until("the slices are shared", lambda: self._is_shared_by(count), START_SECONDS_MAX, [*self.members, *more])
            yield

    def _is_shared_by(self, count: int) -> bool:
        held = [len(member["holds"]) for member in fetch(self.port, "/members") if member["room"] == "readmodels"]
        slices = sum(view["slices"] for view in fetch(self.port, "/views")["views"])
        return len(held) == count and sum(held) == slices and all(held)

    def rows(self, prefix: str) -> tuple[int, int]:
        """Count and total of the orders of one load, as the view shows them."""
        count = total = 0
        cursor = ""
        while True:
            page = fetch(self.port, f"/views/orders?limit={PAGE_ROWS}{cursor}")
            for row in page["items"]:
                if row["order_id"].startswith(f"{prefix}-"):
                    count, total = count + 1, total + row["total"]
            if page["next"] is None:
                return count, total
            cursor = f"&cursor={page['next']}"


@contextmanager
def served(domain: str, database_url: str, broker_url: str, folder: Path, events: int = 0) -> Iterator[Running]:
    """One gateway, one process of workers, one projector, on a log of so many events. Its queues are deleted at the end."""
    namespace = f"bench{uuid4().hex[:8]}"
    port = free_port()
    env = {
        "TWOFOLD_DOMAIN": domain,
        "TWOFOLD_DATABASE_URL": database_url,
        "TWOFOLD_BROKER_URL": broker_url,
        "TWOFOLD_NAMESPACE": namespace,
        "TWOFOLD_HOST": HOST,
        "TWOFOLD_PORT": str(port),
        "TWOFOLD_METRICS_PORT": str(free_port()),
    }
    with ExitStack() as stack:
        stack.callback(_delete_from_broker, broker_url, namespace)
        with Process(f"migrate-{namespace}", _twofold("migrate"), env, folder) as migrate:
            migrate.finish(START_SECONDS_MAX)
        processes = {room: stack.enter_context(Process(f"{room}-{namespace}", _twofold(room), env, folder)) for room in ROOMS}
        yield _ready(Running(port, processes, env, folder), events)


@contextmanager
def embedded(domain: str, data: Path, folder: Path, events: int = 0) -> Iterator[Running]:
    """Everything in one process, on files in `data`, with a log of so many events."""
    port = free_port()
    command = _twofold("up", "--domain", domain, "--data", str(data), "--host", HOST, "--port", str(port))
    with Process(f"up-{data.name}", command, {}, folder) as process:
        yield _ready(Running(port, {"up": process}), events)


def _twofold(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "twofold", *arguments]


def _ready(running: Running, events: int) -> Running:
    wait_until("the gateway", answers(running.port, "/readyz"), START_SECONDS_MAX, running.members)
    wait_until("the views", lambda: running.shows(events), START_SECONDS_MAX, running.members)
    return running


def _delete_from_broker(broker_url: str, namespace: str) -> None:
    connection = pika.BlockingConnection(pika.URLParameters(broker_url))
    channel = connection.channel()
    for lane in range(read_settings(os.environ).lanes or FIRST_LANES):
        channel.queue_delete(f"{namespace}.lane.{lane}")
    channel.queue_delete(f"{namespace}.dead")
    channel.exchange_delete(f"{namespace}.rings")
    channel.exchange_delete(f"{namespace}.commands")
    connection.close()
