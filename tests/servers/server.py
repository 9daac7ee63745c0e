"""One private server: a child process with a folder and a port of its own, that can be stopped, killed and started again.

Started by the process that runs the tests; speaks on 127.0.0.1 only. Its output is kept in `server.log` in its folder.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import socket
import subprocess
import time
from abc import ABC, abstractmethod
from pathlib import Path

START_SECONDS_MAX = 120.0
STOP_SECONDS_MAX = 30.0
POLL_SECONDS = 0.05
PORT_FIRST, PORT_LAST = 15_000, 29_999
"""Below Linux's ephemeral ports: while a server is down, no outgoing connection can take its place."""
PORT_TRIES_MAX = 200
LOG_TAIL_CHARS = 2_000


class ServerFailed(Exception):
    """A server did not start or stop; the text holds the end of its log."""


class Server(ABC):
    """A server of one kind. `start` and `stop` may be called from any thread, and again when there is nothing to do."""

    name: str
    user: str
    """Debian's user for this server: a test run by root steps down to it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = free_port()
        self._process: subprocess.Popen[bytes] | None = None
        self._is_prepared = False

    @property
    @abstractmethod
    def url(self) -> str:
        """Where clients connect; the same after every restart."""

    @abstractmethod
    def command(self) -> list[str]:
        """The server in the foreground."""

    @abstractmethod
    def is_ready(self) -> bool:
        """Whether a client is served now."""

    def prepare(self) -> None:
        """Once, before the first start: the folder, and in it what a kind of server needs."""
        self.folder.mkdir(parents=True)
        if os.geteuid() == 0:
            shutil.chown(self.folder, self.user, self.user)

    def environment(self) -> dict[str, str]:
        """What the server needs beside PATH, HOME (its folder) and LANG."""
        return {}

    stop_signal = signal.SIGTERM

    @property
    def pid(self) -> int:
        assert self._process is not None, f"{self.name} is not running"
        return self._process.pid

    def start(self) -> None:
        """Return when clients are served. Raises ServerFailed."""
        if self._process is not None:
            return
        if not self._is_prepared:
            self.prepare()
            self._is_prepared = True
        deadline = time.monotonic() + START_SECONDS_MAX
        while True:
            self._process = self.spawn(self.command())
            while self._process.poll() is None:
                if self.is_ready():
                    return
                if time.monotonic() > deadline:
                    self.kill()
                    raise ServerFailed(f"{self.name} was not ready after {START_SECONDS_MAX:.0f} s\n{self._log_tail()}")
                time.sleep(POLL_SECONDS)
            self._process = None
            # What a killed predecessor left (a socket, shared memory) may take a moment to go; anything else fails again.
            if "in use" not in self._log_tail() or time.monotonic() > deadline:
                raise ServerFailed(f"{self.name} ended while starting\n{self._log_tail()}")
            time.sleep(POLL_SECONDS * 10)

    def stop(self) -> None:
        """End it the way an operator would; kill it when that takes longer than STOP_SECONDS_MAX."""
        if self._process is None:
            return
        self._process.send_signal(self.stop_signal)
        try:
            self._process.wait(STOP_SECONDS_MAX)
        except subprocess.TimeoutExpired:
            self.kill()
        self._process = None

    def kill(self) -> None:
        """SIGKILL to the server and all its children, which must not outlive it and hold its port."""
        if self._process is None:
            return
        os.kill(self._process.pid, signal.SIGSTOP)
        for pid in reversed(descendants(self._process.pid)):
            _signal(pid, signal.SIGKILL)
        self._process.kill()
        self._process.wait(STOP_SECONDS_MAX)
        self._process = None

    def restart(self) -> None:
        self.stop()
        self.start()

    def run(self, command: list[str]) -> None:
        """A preparing command, to its end, as the server's user. Raises ServerFailed."""
        if self.spawn(command).wait(START_SECONDS_MAX) != 0:
            raise ServerFailed(f"{self.name}: {command[0]} failed\n{self._log_tail()}")

    def spawn(self, command: list[str]) -> subprocess.Popen[bytes]:
        """Start a process in the server's folder, in a session of its own: Ctrl-C is for the tests, which stop us in order."""
        if os.geteuid() == 0:
            command = ["setpriv", f"--reuid={self.user}", f"--regid={self.user}", "--init-groups", "--", *command]
        environment = {"PATH": os.environ["PATH"], "HOME": str(self.folder), "LANG": "C.UTF-8", **self.environment()}
        with (self.folder / "server.log").open("ab") as log:
            return subprocess.Popen(
                command,
                cwd=self.folder,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def _log_tail(self) -> str:
        log = self.folder / "server.log"
        return log.read_text(errors="replace")[-LOG_TAIL_CHARS:] if log.exists() else ""


def free_port() -> int:
    """A port on 127.0.0.1 that nobody listens on at this moment."""
    for _ in range(PORT_TRIES_MAX):
        port = random.randint(PORT_FIRST, PORT_LAST)
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise ServerFailed(f"no free port found between {PORT_FIRST} and {PORT_LAST}")


def answers(port: int, question: bytes, expected: bytes) -> bool:
    """Whether the server at this port answers `question` with something that holds `expected`, within a second."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=1.0) as connection:
            connection.sendall(question)
            return expected in connection.recv(4096)
    except OSError:
        return False


def descendants(pid: int) -> list[int]:
    """Children, their children and so on, parents first."""
    found = []
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            children = [int(child) for child in task.read_text().split()]
        except OSError:
            continue
        for child in children:
            found += [child, *descendants(child)]
    return found


def _signal(pid: int, number: int) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return
