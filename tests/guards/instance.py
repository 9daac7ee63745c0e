"""The embedded system as a user starts it, in a folder of its own on a free port, for the guards that look from outside."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.guards.house import ROOT
from tests.servers.server import free_port

READY_SECONDS_MAX = 60
STOP_SECONDS_MAX = 30
LINE_SECONDS_MAX = 60
POLL_SECONDS = 0.1


@dataclass(frozen=True)
class Instance:
    """A running `twofold up`. `environment` makes `twofold …` lines find it; `said` holds what it printed."""

    port: int
    pid: int
    environment: dict[str, str]
    said: Path

    def get(self, path: str) -> str:
        """The body of a successful answer."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=10) as answer:
            return str(answer.read().decode())

    def run(self, line: str, **variables: str) -> subprocess.CompletedProcess[str]:
        """A shell line, as somebody at this machine would type it."""
        environment = {**self.environment, **variables}
        return subprocess.run(
            ["sh", "-c", line],
            cwd=self.said.parent,
            env=environment,
            capture_output=True,
            text=True,
            timeout=LINE_SECONDS_MAX,
            check=False,
        )


@contextmanager
def running(folder: Path, *arguments: str) -> Iterator[Instance]:
    """`twofold up` with these arguments, until the block ends; then stopped as by Ctrl-C, which must end it with status 0."""
    port = free_port()
    kept = {name: value for name, value in os.environ.items() if not name.startswith("TWOFOLD_")}
    path = f"{Path(sys.executable).parent}:{kept['PATH']}"
    environment = {**kept, "PATH": path, "PYTHONPATH": str(ROOT), "TWOFOLD_PORT": str(port), "TWOFOLD_DATA": str(folder / "data")}
    said = folder / "said.txt"
    with said.open("wb") as output:
        command = [sys.executable, "-m", "twofold", "up", *arguments]
        process = subprocess.Popen(command, cwd=folder, env=environment, stdout=output, stderr=output, start_new_session=True)
    instance = Instance(port, process.pid, environment, said)
    try:
        _wait_until_ready(instance, process)
        yield instance
    finally:
        process.send_signal(signal.SIGINT)
        try:
            status = process.wait(STOP_SECONDS_MAX)
        except subprocess.TimeoutExpired:
            process.kill()
            status = process.wait(STOP_SECONDS_MAX)
    assert status == 0, f"status {status}\n{said.read_text()}"


def _wait_until_ready(instance: Instance, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + READY_SECONDS_MAX
    while True:
        try:
            instance.get("/readyz")
            return
        except (urllib.error.URLError, OSError) as error:
            said = instance.said.read_text()
            assert process.poll() is None, f"ended while starting\n{said}"
            assert time.monotonic() < deadline, f"not ready: {error}\n{said}"
            time.sleep(POLL_SECONDS)
