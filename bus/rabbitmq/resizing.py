"""Another number of lanes, while everything runs: opens the next epoch and sees the one before to its end.

    resize(count)   `twofold lanes N`: every step, until the old epoch is over
    look_after()    any worker, in quiet times once a second: the steps of whoever did not come to his end

Whoever does a step does it as a whole, and each may be done twice, so it does not matter who dies where.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from threading import Event

import structlog

from twofold.bus.rabbitmq.epochs import connected, declare, end, retire
from twofold.kernel.errors import Error
from twofold.kernel.lanes import LaneEpochs, LaneState

LOOK_SECONDS = 1.0
END_SECONDS = 20.0
"""After so long a lane that is not drained is given a last message once more: with a queue that was deleted the first is gone."""
STEP_SECONDS = 3.0
"""About how long a step takes. Whoever dies amid one is replaced after that; two at the same one do no harm."""
TICK_SECONDS = 0.1


class Resizing:
    """Thread-safe. `resize` and `step` may raise Unavailable: try again, or leave it to the workers."""

    def __init__(self, epochs: LaneEpochs, url: str, prefix: str) -> None:
        self._epochs = epochs
        self._url = url
        self._prefix = prefix

    def resize(self, count: int) -> Iterator[LaneState]:
        """The state again and again, until there are so many lanes and what was accepted before took effect."""
        while (state := self._epochs.state()).newest.lane_count != count:
            if not self._epochs.open(count):
                self.step()
                yield state
                time.sleep(TICK_SECONDS)
        while (state := self._epochs.state()).working != state.newest:
            self.step()
            yield state
            time.sleep(TICK_SECONDS)
        yield state

    def look_after(self, stop: Event) -> None:
        """Until `stop`. Never raises: what cannot be done now is done later, or by another."""
        while not stop.wait(LOOK_SECONDS):
            try:
                self.step()
            except Error as error:
                structlog.get_logger().warning("lanes wait to be looked after", reason=str(error))
            except Exception as bug:
                structlog.get_logger().error("looking after the lanes failed", error=repr(bug))

    def step(self) -> None:
        """What is to be done now, if it is this caller's turn."""
        if self._epochs.state().old is None or not self._epochs.claim(STEP_SECONDS):
            return
        state = self._epochs.state()
        if state.old is None:
            return
        with connected(self._url, "lanes") as channel:
            if state.is_over:
                retire(channel, self._prefix, state.old, state.newest)
                self._epochs.forget(state.old.number)
            else:
                declare(channel, self._prefix, self._epochs)
                end(channel, self._prefix, [lane for lane in state.old.lanes if lane not in state.drained])
                self._epochs.defer(END_SECONDS)
