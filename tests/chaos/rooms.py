"""Rooms of the system as processes that may be hurt: started, killed, paused and started again, each with a log of its own."""

from __future__ import annotations

import http.client
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

ROOT = Path(__file__).parents[2]
START_SECONDS_MAX = 60.0
STOP_SECONDS_MAX = 20.0
TICK_SECONDS = 0.02
TAIL_CHARS = 3_000


class Room:
    """`python -m MODULE ARGUMENTS`. `port` is where it answers /readyz; None when it answers nowhere."""

    def __init__(
        self,
        name: str,
        arguments: Sequence[str],
        environment: Mapping[str, str],
        folder: Path,
        port: int | None = None,
        module: Sequence[str] = ("twofold",),
    ) -> None:
        self.name = name
        self.port = port
        self.log = folder / f"{name}.log"
        self._command = [sys.executable, "-m", *module, *arguments]
        self.environment = {"PATH": os.environ["PATH"], "HOME": str(folder), "LANG": "C.UTF-8", **environment}
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def start(self) -> None:
        """Not waiting for it: see `wait_ready`. In a session of its own, for Ctrl-C is for the run, which ends us in order."""
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                self._command,
                cwd=ROOT,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def kill(self) -> None:
        """SIGKILL."""
        assert self._process is not None
        self._process.kill()
        self._process.wait(STOP_SECONDS_MAX)

    def pause(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def stop(self) -> bool:
        """SIGTERM; whether it ended by itself in time. Killed otherwise."""
        if self._process is None or self._process.poll() is not None:
            return True
        self.resume()
        self._process.terminate()
        try:
            self._process.wait(STOP_SECONDS_MAX)
        except subprocess.TimeoutExpired:
            self.kill()
            return False
        return True

    def wait_done(self, seconds_max: float) -> None:
        """Raises RuntimeError when it does not end in time, or not well."""
        assert self._process is not None
        wait_until(f"{self.name} is done", lambda: not self.is_alive(), seconds_max, self.tail)
        if self._process.returncode != 0:
            raise RuntimeError(f"{self.name} failed\n{self.tail()}")

    @property
    def exit_status(self) -> int | None:
        """Of a process that has ended."""
        assert self._process is not None
        return self._process.poll()

    def is_alive(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def is_ready(self) -> bool:
        if self.port is None:
            return self.is_alive()
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=2.0)
        try:
            connection.request("GET", "/readyz")
            return connection.getresponse().status == 200
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()

    def wait_ready(self) -> None:
        """Raises RuntimeError, with the end of its log, when it ends instead or takes longer than START_SECONDS_MAX."""
        wait_until(f"{self.name} is ready", lambda: self.is_ready() or not self.is_alive(), START_SECONDS_MAX, self.tail)
        if not self.is_alive():
            raise RuntimeError(f"{self.name} ended while starting\n{self.tail()}")

    def tail(self) -> str:
        return self.log.read_text(errors="replace")[-TAIL_CHARS:] if self.log.exists() else ""


def wait_until(what: str, claim: Callable[[], bool], seconds_max: float, why: Callable[[], str] = str) -> float:
    """Seconds until the claim held. Raises RuntimeError when it does not within `seconds_max`."""
    start = time.monotonic()
    while not claim():
        if time.monotonic() - start > seconds_max:
            raise RuntimeError(f"not within {seconds_max:.0f} s: {what}\n{why()}")
        time.sleep(TICK_SECONDS)
    return time.monotonic() - start
