"""What becomes of accepted commands when the process that executes them is killed, or stopped and continued."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.contract.buses import LANES, AnyBus, EmbeddedBus, RabbitBus, envelope, stream_on, until

KILLS = 4
COMMANDS = 1_600


@contextmanager
def executing(kind: str, where: str, prefix: str, out: Path) -> Iterator[subprocess.Popen[bytes]]:
    root = Path(__file__).parents[2]
    child = subprocess.Popen([sys.executable, "-m", "tests.contract.bus_child", kind, where, prefix, str(out)], cwd=root)
    try:
        yield child
    finally:
        child.kill()
        child.wait()


def executed(out: Path) -> list[str]:
    return out.read_text().splitlines() if out.exists() else []


def first_times(out: Path, stream: str) -> list[str]:
    """Ids of one stream in the order in which each was executed first."""
    return list(dict.fromkeys(line.split()[1] for line in executed(out) if line.startswith(f"{stream} ")))


async def accept(lanes: AnyBus) -> None:
    """Fill the lanes with many small messages: about ten commands each."""
    queue = lanes.queue()
    await queue.start()
    for start in range(0, COMMANDS, 40):
        some = [envelope(f"{n:05}", stream_on(n % LANES)) for n in range(start, start + 40)]
        await asyncio.gather(*[queue.put(each) for each in some])
    await queue.close()


@pytest.mark.parametrize("kind", ["embedded", "rabbit"])
def test_kill_9_loses_nothing_and_keeps_the_order(kind: str, tmp_path: Path, unique: str, request: pytest.FixtureRequest) -> None:
    """Whatever a killed worker had in its hands comes again, in order: a command is first executed in its turn."""
    where = str(tmp_path / "log.db") if kind == "embedded" else request.getfixturevalue("broker_url")
    out, pauses = tmp_path / "out", random.Random(7)
    filling: AnyBus = EmbeddedBus(Path(where)) if kind == "embedded" else RabbitBus(where, unique)
    asyncio.run(accept(filling))
    if kind == "embedded":
        filling.close()
    for _ in range(KILLS):
        before = len(executed(out))
        with executing(kind, where, unique, out) as child:
            until(lambda: len(executed(out)) > before, "the first execution after a kill")  # noqa: B023
            time.sleep(pauses.uniform(0.0, 0.05))
            child.send_signal(signal.SIGKILL)
            child.wait()
    with executing(kind, where, unique, out):
        until(lambda: len({line.split()[1] for line in executed(out)}) == COMMANDS, "every command")
    for lane in range(LANES):
        ids = first_times(out, stream_on(lane))
        assert ids == sorted(ids)
        assert len(ids) == COMMANDS // LANES
    if kind == "rabbit":
        filling.close()


def test_a_stopped_worker_lets_its_lanes_go_and_cannot_be_overtaken(broker_url: str, unique: str, tmp_path: Path) -> None:
    """SIGSTOP: the broker drops the silent connection, only then does the waiting successor begin, with the oldest command.
    Continued, the zombie can execute only what its successor executes too; the inbox tells them apart."""
    out = tmp_path / "out"
    lanes = RabbitBus(broker_url, unique)
    asyncio.run(accept(lanes))
    with executing("rabbit", broker_url, unique, out) as stopped:
        until(lambda: executed(out), "the first execution")
        os.kill(stopped.pid, signal.SIGSTOP)
        with executing("rabbit", broker_url, unique, out):
            until(lambda: len({line.split()[1] for line in executed(out)}) == COMMANDS, "every command")
            os.kill(stopped.pid, signal.SIGCONT)
            time.sleep(0.5)
    for lane in range(LANES):
        ids = first_times(out, stream_on(lane))
        assert ids == sorted(ids)
    lanes.close()
