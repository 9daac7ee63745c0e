"""Timers: what is due is sent as a command to the instance's own stream, and comes back through the log.

Which are due is a question to the rows by the index on `due`, however many are not. Whoever holds a process' first slice asks;
two who do for a moment fire the same timer twice under one id, which is once. So does who asks again before it has come back.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Collection, Iterator
from datetime import datetime
from threading import Event

import msgspec
import structlog

from twofold.kernel.envelope import Envelope
from twofold.kernel.errors import Unavailable
from twofold.kernel.instances import VIEW_PREFIX, command_to_instance, timer_id
from twofold.kernel.ports import Clock, Rows
from twofold.kernel.process import FireTimer
from twofold.kernel.rows import Query, Range
from twofold.processes.reactions import Send

LOOK_SECONDS = 0.2
PAGE_ROWS = 500
PAGES_MAX = 20
"""Of one look: what more is due is due at the next."""
AGAIN_SECONDS = 5.0
"""How long after it was sent a timer is sent again, if it still stands then."""
SENT_MAX = 100_000


class Timers:
    """Of these processes. `held` are the names of those this process looks after now. `run` in a thread of its own."""

    def __init__(
        self,
        rows: Rows,
        clock: Clock,
        send: Send,
        held: Callable[[], Collection[str]],
        observe_due: Callable[[float], None] = lambda seconds: None,
        seconds: Callable[[], float] = time.monotonic,
    ) -> None:
        """`observe_due` is told after every look how long the longest has been due."""
        self._rows = rows
        self._clock = clock
        self._send = send
        self._held = held
        self._observe_due = observe_due
        self._seconds = seconds
        self._sent: OrderedDict[str, float] = OrderedDict()

    def run(self, stop: Event) -> None:
        """Until told to stop. What fails is told once, and tried again."""
        trouble = ""
        while not stop.wait(LOOK_SECONDS):
            try:
                self.look()
                trouble = ""
            except Exception as error:
                if type(error).__name__ != trouble:
                    bug = None if isinstance(error, Unavailable) else error
                    structlog.get_logger().warning("timers are not looked at", error=str(error), exc_info=bug)
                trouble = type(error).__name__

    def look(self) -> None:
        """Send what is due."""
        now, since = self._clock.now(), self._seconds() - AGAIN_SECONDS
        oldest = now
        while self._sent and (len(self._sent) > SENT_MAX or next(iter(self._sent.values())) < since):
            self._sent.popitem(last=False)
        for process in self._held():
            for envelopes, due in self._due(process, now):
                oldest = min(oldest, due)
                if envelopes:
                    self._send(envelopes)
                    self._sent |= dict.fromkeys((envelope.command_id for envelope in envelopes), self._seconds())
        self._observe_due((now - oldest).total_seconds())

    def _due(self, process: str, now: datetime) -> Iterator[tuple[list[Envelope], datetime]]:
        """Page by page what is to be sent, and since when the first of the page has been due."""
        cursor: str | None = None
        for _ in range(PAGES_MAX):
            query = Query(ranges=(Range("due", None, now),), order="due", limit=PAGE_ROWS, cursor=cursor)
            page = self._rows.find(f"{VIEW_PREFIX}{process}", query)
            instances = [row.value for row in page.rows]
            if instances:
                yield [one for instance in instances for one in self._fired(process, instance, now)], instances[0].due  # type: ignore[attr-defined]
            cursor = page.next
            if cursor is None:
                return

    def _fired(self, process: str, instance: msgspec.Struct, now: datetime) -> Iterator[Envelope]:
        key, timers = instance.key, instance.timers  # type: ignore[attr-defined]
        for timer, due in timers.items():
            command_id = timer_id(process, key, timer, due)
            if due <= now and command_id not in self._sent:
                command = FireTimer(f"{process}/{key}", process, key, timer, due)
                yield command_to_instance(command, command_id, now, instance.correlation_id or None)  # type: ignore[attr-defined]
