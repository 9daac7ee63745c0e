"""A room with a tracer in every thread: `python -m tests.way.traced ROOM`. When it ends it writes what was called in it.

A JSON array of calls, each with the nanoseconds of the machine's monotonic clock, file, function, and the room of the nearest
caller in another file ("" when that is the file's own, or when a loop or a driver called). The roof, and monitoring's wrappers,
are looked through. Calls below one of BESIDE are not on any command's way: they happen whether or not somebody sends one.
"""

from __future__ import annotations

import atexit
import os
import sys
import threading
import time
from pathlib import Path
from types import CodeType, FrameType

import msgspec

from tests.guards.house import FLOOR_OF, ROOT
from twofold.cli import main

TRACE = "TWOFOLD_TEST_TRACE"
"""Names the file that is written."""
BESIDE = {"LeaseKeeper._run", "LeaseKeeper._watch", "LagReports._read", "LagReports._read_blocking", "LagReports.refresh"}
LOOKED_THROUGH = ("monitoring", "twofold")

Call = tuple[int, str, str, str]


class Tracer:
    def __init__(self) -> None:
        self.calls: list[Call] = []
        self._named: dict[CodeType, tuple[str, str, str] | None] = {}

    def start(self) -> None:
        threading.setprofile(self._on_event)
        sys.setprofile(self._on_event)

    def _on_event(self, frame: FrameType, event: str, _argument: object) -> None:
        if event != "call" or (named := self._name(frame.f_code)) is None:
            return
        room, file, function = named
        if room == "twofold":
            return
        caller = self._caller(frame, room, file)
        if caller is not None:
            self.calls.append((time.monotonic_ns(), file, function, caller))

    def _caller(self, frame: FrameType, room: str, file: str) -> str | None:
        """The room that called, "" for none but its own; None for what is beside the way."""
        found: str | None = None
        above: FrameType | None = frame
        while above is not None:
            if (named := self._name(above.f_code)) is not None:
                if named[2] in BESIDE:
                    return None
                if found is None and named[1] != file and named[0] not in LOOKED_THROUGH:
                    found = named[0]
            above = above.f_back
        return "" if found in (None, room) else found

    def _name(self, code: CodeType) -> tuple[str, str, str] | None:
        """Room, file and function of code of the house; None for any other, and for what is no function of its own."""
        if code not in self._named:
            self._named[code] = _name(code)
        return self._named[code]


def _name(code: CodeType) -> tuple[str, str, str] | None:
    path = Path(code.co_filename).resolve()
    if not path.is_relative_to(ROOT):
        return None
    file = path.relative_to(ROOT).as_posix()
    room = file.split("/", 1)[0]
    if room not in FLOOR_OF:
        return None
    function = code.co_qualname.split(".<locals>")[0]
    return None if "<" in function else (room, file, function)


if __name__ == "__main__":
    tracer = Tracer()
    atexit.register(lambda: Path(os.environ[TRACE]).write_bytes(msgspec.json.encode(tracer.calls)))
    tracer.start()
    main()
