"""Run as a process of its own by `test_silent_imports`: imports the modules named on the command line and tells what they did.

    python -m tests.guards.import_probe preload,… module …

Third-party packages that the rooms use are loaded first: what they do when imported is their own affair. Prints one line for
each deed, `module: deed`, and nothing when importing did nothing.
"""

from __future__ import annotations

import importlib
import io
import os
import sys
import threading
from contextlib import redirect_stderr, redirect_stdout, suppress

DEEDS = (
    "socket.",
    "subprocess.",
    "sqlite3.connect",
    "os.system",
    "os.mkdir",
    "os.remove",
    "os.rename",
    "os.kill",
    "shutil.",
    "signal.",
)
CODE = (".py", ".pyc", ".so")


class Watch:
    """Writes down what happens while it is on."""

    def __init__(self) -> None:
        self.deeds: list[str] = []
        self.is_on = False

    def audit(self, event: str, arguments: tuple[object, ...]) -> None:
        if not self.is_on:
            return
        if event == "open":
            path, mode, flags = arguments
            is_written = isinstance(flags, int) and bool(flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT))
            if is_written or not str(path).endswith(CODE):
                self.deeds.append(f"opens {path}")
        elif event.startswith(DEEDS):
            self.deeds.append(event)


def main() -> None:
    preload, modules = sys.argv[1].split(","), sys.argv[2:]
    for name in preload:
        with suppress(ImportError):
            importlib.import_module(name)
    watch = Watch()
    sys.addaudithook(watch.audit)
    environment = type(os.environ)
    plain_read = environment.__getitem__

    def read(self: os._Environ[str], name: str) -> str:
        if watch.is_on:
            watch.deeds.append(f"reads the variable {name}")
        return plain_read(self, name)

    environment.__getitem__ = read  # type: ignore[method-assign]
    for name in modules:
        said = io.StringIO()
        threads = threading.active_count()
        watch.deeds.clear()
        watch.is_on = True
        with redirect_stdout(said), redirect_stderr(said):
            importlib.import_module(name)
        watch.is_on = False
        deeds = [
            *watch.deeds,
            *(["prints"] if said.getvalue() else []),
            *(["starts a thread"] if threading.active_count() > threads else []),
        ]
        for deed in deeds:
            print(f"{name}: {deed}")


if __name__ == "__main__":
    main()
