"""How many lanes there are, and since when: epochs of lanes, and what the log's database keeps for the bus.

Served, lanes are on the broker, and the database has the word on their epochs (port LaneEpochs):

    open(count) ──> the epoch before it is fenced off ──> its last message is in each of its lanes ──> all are drained: it is
    over, and workers begin with the new one ──> what came in beside the fence is moved, its lanes are forgotten

A log that has lost its tail may have lost the opening of an epoch, whose lanes are on the broker all the same: it is then taken
back, the old one with the higher number. At most two epochs are there at a time. A lane's number is its own among all epochs,
so nobody can take one for the other.
Embedded, the database has the lanes themselves (port LaneTable), and all of them change at once, while nobody uses them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import NamedTuple, Protocol

LANES_MAX = 256
"""Lanes of one epoch. Part of a lane's number: never to be changed."""
KEPT_SECONDS = 6.0
"""How long the lanes of an epoch that is over are kept. Longer than a gateway waits for the broker's word on a message: what was
accepted beside the fence is in its lane by then."""


class Epoch(NamedTuple):
    """A numbering of lanes: `lane_count` of them, from when it was opened until the next one was. The first is number 0."""

    number: int
    lane_count: int

    @property
    def lanes(self) -> range:
        """The numbers of its lanes: epoch 0 has 0, 1, …; epoch 1 has 256, 257, …"""
        return range(self.number * LANES_MAX, self.number * LANES_MAX + self.lane_count)


Regroup = Callable[[int, bytes], Sequence[tuple[int, bytes]]]
"""From a lane and a batch on it to the lanes and batches it is made into."""


def place_of(lane: int) -> tuple[int, int]:
    """A lane's epoch, and which lane of it it is, from 0."""
    return divmod(lane, LANES_MAX)


class LaneState(NamedTuple):
    """What is known of the lanes. `old` is None when nothing is left of the epoch before; `drained` are those of its lanes that
    are. `is_over` when all are."""

    newest: Epoch
    old: Epoch | None = None
    drained: frozenset[int] = frozenset()
    is_over: bool = False

    @property
    def is_taking_back(self) -> bool:
        """Whether the old epoch is one that the log has lost: nothing is to be accepted before what is in its lanes is moved."""
        return self.old is not None and self.old.number > self.newest.number

    @property
    def working(self) -> Epoch:
        """The epoch whose lanes workers take: everything accepted in one takes effect before anything of the next."""
        return self.newest if self.old is None or self.is_over else self.old


class LaneOperations(Protocol):
    """What operators ask about lanes: how many there are, what waits on them, and another number of them."""

    def lane_state(self) -> LaneState:
        """As it is now."""

    def set_lanes(self, count: int) -> Iterator[LaneState]:
        """Make it so many; what waits goes to them. Gives the state now and then until that is done; from the first one on that
        has the number, workers finish it alone. May be repeated. Raises Misconfigured where it cannot be done while this runs."""

    def depths(self) -> Mapping[str, int]:
        """Messages that wait, by lane; "dead" for the dead letters."""


class LaneEpochs(Protocol):
    """The word on epochs, in the log's database. Every call may raise Unavailable; Misconfigured before the log was given its
    first lanes."""

    def state(self) -> LaneState:
        """As it is now; by the next call it may be another."""

    def pinned(self) -> AbstractContextManager[LaneState]:
        """The state, which stays for the block: nobody opens an epoch meanwhile. Keep it short, a second at most."""

    def open(self, count: int) -> bool:
        """Open the next epoch. False, and nothing happened, while something is left of the one before."""

    def drained(self, lane: int) -> None:
        """Everything that was ever put into this lane of the old epoch took effect. After the last of them it is over, and
        nobody's turn for KEPT_SECONDS."""

    def take_back(self, number: int) -> None:
        """This epoch was opened, and the log has lost that with its tail: it is the old one now, and over, so that what is in its
        lanes is moved. Nothing happens unless it would be the next one, and nothing is left of another."""

    def forget(self, number: int) -> None:
        """Nothing is left of this epoch, which is over, and of its lanes. Nothing happens when it is not the old one."""

    def claim(self, turn_seconds: float) -> bool:
        """Whether it is this caller's turn to see to what is left of the old epoch. Nobody else's for so many seconds."""

    def defer(self, pause_seconds: float) -> None:
        """Let it be nobody's turn for so many seconds. Nothing happens when the old epoch is over."""


class LaneTable(Protocol):
    """The embedded queue's storage: messages, first in first out in each lane, in the log's own file. Their bodies are opaque."""

    def put(self, batches: Sequence[tuple[int, bytes]]) -> None:
        """Make these (lane, body) messages durable, in this order. Raises Unavailable when they may not be."""

    def take(self, after: int, limit: int) -> list[tuple[int, int, bytes]]:
        """At most `limit` (id, lane, body) with an id above `after`, by ascending id, which is never used twice."""

    def inherited_through(self) -> int:
        """The highest id that a process before this one left in the table; 0 when there was none."""

    def done(self, ids: Sequence[int]) -> None:
        """Remove finished messages. May return before it is durable: a message that comes again is only a duplicate."""

    def depths(self) -> dict[int, int]:
        """Messages waiting or being worked on, by lane; lanes without any may be missing."""

    def bury(self, batch_id: int, reason: str) -> None:
        """Move a message that cannot be decoded to the dead letters, which are kept. Nothing happens when it is not there."""

    def count(self) -> int:
        """How many lanes there are. Raises Misconfigured before the log was given its first lanes."""

    def renumber(self, count: int, regroup: Regroup) -> None:
        """There are so many lanes from now on. Every message is replaced, in order, by what `regroup` makes of it: all of them,
        or nothing happened. To be called while nobody puts or takes."""
