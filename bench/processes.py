"""Processes of the run: started with a log file each, waited for, looked at, and ended by their own id within a bound."""

from __future__ import annotations

import http.client
import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

HOST = "127.0.0.1"
START_SECONDS_MAX = 60.0
STOP_SECONDS_MAX = 15.0
TICK_SECONDS = 0.02
TAIL_LINES = 15


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


class Process:
    """One child in a process group of its own."""

    def __init__(self, name: str, command: Sequence[str], env: Mapping[str, str], folder: Path) -> None:
        self.name = name
        self.log = folder / f"{name}.log"
        with self.log.open("ab") as log:
            self._child = subprocess.Popen(
                command, env={**os.environ, **env}, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )

    @property
    def pid(self) -> int:
        return self._child.pid

    def check(self) -> None:
        """Raises RuntimeError with the end of its log when it has ended."""
        status = self._child.poll()
        if status is not None:
            raise RuntimeError(f"{self.name} ended with status {status}:\n{self._tail()}")

    def finish(self, seconds_max: float) -> None:
        """Wait until it ends by itself. Raises RuntimeError unless it does, with status 0."""
        try:
            status = self._child.wait(seconds_max)
        except subprocess.TimeoutExpired:
            status = None
        if status != 0:
            raise RuntimeError(f"{self.name}: {self._tail()}" if status else f"{self.name}: not within {seconds_max:.0f} s")

    def stop(self) -> None:
        """SIGTERM, then SIGKILL to the whole group when it does not end in time."""
        if self._child.poll() is None:
            self._child.send_signal(signal.SIGTERM)
            try:
                self._child.wait(STOP_SECONDS_MAX)
            except subprocess.TimeoutExpired:
                os.killpg(self._child.pid, signal.SIGKILL)
                self._child.wait(STOP_SECONDS_MAX)

    def _tail(self) -> str:
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-TAIL_LINES:])

    def __enter__(self) -> Process:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def family(self) -> list[int]:
        """Its id and those of its children and theirs."""
        found, waiting = [], [self.pid]
        while waiting:
            pid = waiting.pop()
            found.append(pid)
            for tasks in Path(f"/proc/{pid}/task").glob("*/children"):
                waiting.extend(int(child) for child in tasks.read_text().split())
        return found

    def rss_bytes(self) -> int:
        """Resident memory of the family."""
        return sum(_status_kib(pid, "VmRSS:") for pid in self.family()) * 1024

    def peak_bytes(self) -> int:
        """The most resident memory that one of the family has had."""
        return max(_status_kib(pid, "VmHWM:") for pid in self.family()) * 1024

    def cpu_seconds(self) -> float:
        """User and system time of the family so far."""
        ticks = 0
        for pid in self.family():
            fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
            ticks += int(fields[11]) + int(fields[12])
        return ticks / os.sysconf("SC_CLK_TCK")


def fetch(port: int, path: str, headers: Mapping[str, str] | None = None, timeout_seconds: float = 30.0) -> Any:
    """GET one JSON answer. Raises RuntimeError for another status than 200, OSError when nobody answers."""
    connection = http.client.HTTPConnection(HOST, port, timeout=timeout_seconds)
    try:
        connection.request("GET", path, headers=dict(headers or {}))
        answer = connection.getresponse()
        body = answer.read()
        if answer.status != 200:
            raise RuntimeError(f"GET {path}: {answer.status} {body[:300]!r}")
        return msgspec.json.decode(body) if body[:1] in (b"{", b"[") else body
    finally:
        connection.close()


def wait_until(what: str, claim: Callable[[], bool], seconds_max: float, members: Sequence[Process] = ()) -> float:
    """The time (since the epoch) when the claim held. Raises RuntimeError when it does not in time, or a member has ended."""
    deadline = time.monotonic() + seconds_max
    while True:
        try:
            if claim():
                return time.time()
            why = "not yet"
        except (OSError, RuntimeError, http.client.HTTPException) as error:
            why = f"{type(error).__name__}: {error}"
        for member in members:
            member.check()
        if time.monotonic() > deadline:
            raise RuntimeError(f"{what}: not within {seconds_max:.0f} s ({why})")
        time.sleep(TICK_SECONDS)


def answers(port: int, path: str) -> Callable[[], bool]:
    """The claim that GET says 200."""

    def claim() -> bool:
        fetch(port, path, timeout_seconds=2.0)
        return True

    return claim


def _status_kib(pid: int, field: str) -> int:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(field):
            return int(line.split()[1])
    return 0
