"""The supervisor restarts the dead and leaves nothing behind. Real processes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

import twofold.supervisor

CHILD = """
import os, signal, sys, time
from twofold.supervisor import end_with_supervisor
end_with_supervisor()
open(sys.argv[0] + "." + str(os.getpid()), "w").close()
signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
time.sleep(60)
"""


@contextmanager
def supervisor(tmp_path: Path) -> Iterator[tuple[subprocess.Popen[bytes], Callable[[], set[int]]]]:
    """A supervisor of two children that write a file named after their process id."""
    (tmp_path / "twofold_child.py").write_text(CHILD)
    program = (
        "import sys\nimport twofold.supervisor as s\n"
        "start = s.subprocess.Popen\n"
        f"s.subprocess.Popen = lambda command, **more: start([sys.executable, {str(tmp_path / 'twofold_child.py')!r}], **more)\n"
        "s.Supervisor(['any'], 2).run()\n"
    )
    process = subprocess.Popen([sys.executable, "-c", program], env={**os.environ, "PYTHONPATH": os.getcwd()})

    def children() -> set[int]:
        pids = {int(file.suffix[1:]) for file in tmp_path.glob("twofold_child.py.*")}
        return {pid for pid in pids if _is_alive(pid)}

    try:
        yield process, children
    finally:
        process.kill()
        process.wait()
        _eventually(lambda: not children())


def test_a_dead_child_is_started_again(tmp_path: Path) -> None:
    """A worker killed by the kernel must come back without anybody being woken."""
    with supervisor(tmp_path) as (_, children):
        _eventually(lambda: len(children()) == 2)
        victim = min(children())
        os.kill(victim, signal.SIGKILL)
        _eventually(lambda: len(children()) == 2 and victim not in children())


def test_sigterm_drains_every_child(tmp_path: Path) -> None:
    with supervisor(tmp_path) as (process, children):
        _eventually(lambda: len(children()) == 2)
        process.terminate()
        assert process.wait(10) == 0
        assert not children()


def test_one_that_is_told_to_stop_before_its_children_are_there_ends() -> None:
    assert twofold.supervisor.Supervisor(["version"], 2)._drain() == 0


def test_children_do_not_outlive_a_killed_supervisor(tmp_path: Path) -> None:
    """Else a crash leaves workers that nobody knows of."""
    with supervisor(tmp_path) as (process, children):
        _eventually(lambda: len(children()) == 2)
        process.kill()
        _eventually(lambda: not children())


def _is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def _eventually(is_true: Callable[[], bool], seconds: float = 15.0) -> None:
    deadline = time.monotonic() + seconds
    while not is_true():
        assert time.monotonic() < deadline, "not within the time allowed"
        time.sleep(0.05)


def test_a_child_that_lived_for_a_while_comes_back_at_once_and_one_that_dies_at_once_ever_later(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The pause is counted from the start: twenty good seconds are pause enough."""
    for lived, expected in ((20.0, [0.0] * 5), (0.1, [0.5, 1.0, 2.0, 4.0, 8.0])):
        assert pauses(monkeypatch, lived) == pytest.approx(expected, abs=0.25)


def pauses(monkeypatch: pytest.MonkeyPatch, lived_seconds: float) -> list[float]:
    """How long after each of five deaths a child that always lives so long is started again."""
    now, starts = [1_000.0], []

    class Child:
        pid, returncode = 1, 1

        def __init__(self, *_: object, **__: object) -> None:
            self.started = now[0]
            starts.append(now[0])

        def poll(self) -> int | None:
            return 1 if now[0] - self.started >= lived_seconds else None

    monkeypatch.setattr("twofold.supervisor.subprocess.Popen", Child)
    monkeypatch.setattr("twofold.supervisor.time.monotonic", lambda: now[0])
    one = twofold.supervisor.Supervisor(["any"], 1)
    while len(starts) < 6:
        child = one._children[0]
        if child is None or child.poll() is not None:
            one._start(0, child)
        now[0] += 0.1
    return [later - earlier - lived_seconds for earlier, later in zip(starts, starts[1:], strict=False)]
