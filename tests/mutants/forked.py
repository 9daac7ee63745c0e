"""Work done in forked children, a few at a time: each ends in time, and nothing it has started is left."""

from __future__ import annotations

import os
import resource
import shutil
import signal
import tempfile
import time
import traceback
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

from tests.mutants.copied import ENDLESS, end_marked
from tests.mutants.marking import FOLDER

AT_ONCE = 2
POLL_SECONDS = 0.005
MEMORY_BYTES_MAX = 8 << 30
"""A bug may gather without end."""
IN_MEMORY = "/dev/shm"
"""Nobody needs what these tests have written to last."""
SAID = "said"

Task = TypeVar("Task")


def in_forks(
    tasks: Iterable[tuple[Task, float]], work: Callable[[Task], str], at_once: int = AT_ONCE
) -> Iterator[tuple[Task, str]]:
    """What `work` says of each task, as they end; or how it ended, or that it does not within its seconds."""
    with tempfile.TemporaryDirectory(prefix="twofold-quick-", dir=IN_MEMORY if os.path.isdir(IN_MEMORY) else None) as folder:
        running: dict[int, tuple[Task, Path, float]] = {}
        waiting = iter(enumerate(tasks))
        is_more = True
        try:
            while is_more or running:
                while is_more and len(running) < at_once:
                    if (found := next(waiting, None)) is None:
                        is_more = False
                        break
                    number, (task, seconds_max) = found
                    own = Path(folder, str(number))
                    own.mkdir()
                    running[_fork(work, task, own)] = (task, own, time.monotonic() + seconds_max)
                for pid, (task, own, deadline) in list(running.items()):
                    ended, status = os.waitpid(pid, os.WNOHANG)
                    if ended or time.monotonic() > deadline:
                        del running[pid]
                        yield task, _said(pid, own, status if ended else None)
                time.sleep(POLL_SECONDS)
        finally:
            for pid, (_, own, _) in running.items():
                _said(pid, own, None)


def _fork(work: Callable[[Task], str], task: Task, folder: Path) -> int:
    """The number of the child; it alone runs what stands below the fork, and never leaves it."""
    if pid := os.fork():
        return pid
    try:
        os.setsid()
        os.environ |= {"TMPDIR": str(folder), FOLDER: str(folder)}
        tempfile.tempdir = None
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES_MAX, MEMORY_BYTES_MAX))
        (folder / SAID).write_text(work(task))
    except BaseException:  # a bug may raise anything, and whoever reads what was said wants to know
        (folder / SAID).write_text(traceback.format_exc(limit=-3))
    finally:
        os._exit(0)


def _said(pid: int, folder: Path, status: int | None) -> str:
    if status is None:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
    with suppress(ProcessLookupError):
        os.killpg(pid, signal.SIGKILL)
    end_marked(folder)
    said = folder / SAID
    found = ENDLESS if status is None else said.read_text() if said.exists() else f"ended with status {status}"
    shutil.rmtree(folder, ignore_errors=True)
    return found
