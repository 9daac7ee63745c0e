"""What a process that tries commands is told (workers/trial.py), so that whatever ends it is the next command's fault.

A stream that is longer than what is read at once is told page by page, when the first command on it is the next; so no question
is larger than what is read at once, and no step takes longer than a command may.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from itertools import takewhile
from typing import Any

import msgspec

from twofold.kernel.envelope import Envelope
from twofold.kernel.log import Decision, LastEvent, Loaded, Recorded, last_of

NOTHING = Loaded({}, {})
ReadOn = Callable[[str, LastEvent | None], Loaded]
"""The next page of a stream."""


class Question(msgspec.Struct):
    """One line. `path` is where the domain is imported from, `settings` are for its rehearsal.

    The first one is told what was `loaded` of the streams of all commands that are to come; one that `is_page` has more of the
    stream of its only command, which is not decided yet. When it `is_last` there is no more about these."""

    domain: str
    path: list[str]
    seconds_max: float
    settings: dict[str, Any]
    envelopes: list[Envelope]
    loaded: Loaded
    is_first: bool = False
    is_page: bool = False
    is_last: bool = False


class Streams:
    """What there is to fold of the streams of a batch: what was loaded, what is read on, and behind it what was decided since."""

    def __init__(self, loaded: Loaded, read_on: ReadOn) -> None:
        self._loaded = loaded
        self._read_on = read_on
        self._decided: dict[str, list[Recorded]] = {}

    def extend(self, decisions: Sequence[Decision]) -> None:
        """With events that have no positions yet."""
        for decision in decisions:
            for new in decision.events:
                event = Recorded(0, new.stream, new.version, new.type, new.data, new.meta, decision.envelope.accepted_at)
                self._decided.setdefault(new.stream, []).append(event)

    def version(self, stream: str) -> int:
        """The last one of a stream."""
        version = 0
        for page in self._pages(stream):
            if page.events[stream]:
                version = page.events[stream][-1].version
            elif stream in page.snapshots:
                version = page.snapshots[stream].last.version
        return version

    def questions(
        self, domain: str, seconds_max: float, settings: dict[str, Any], envelopes: Sequence[Envelope]
    ) -> Iterator[Question]:
        about, unread = (domain, sys.path, seconds_max, settings), set(self._loaded.unread)
        whole = {envelope.stream for envelope in envelopes} - unread
        events = {stream: self._loaded.events.get(stream, []) + self._decided.get(stream, []) for stream in whole}
        snapshots = {stream: snapshot for stream, snapshot in self._loaded.snapshots.items() if stream in whole}
        loaded, is_first = Loaded(events, snapshots), True
        while envelopes or is_first:
            run = list(takewhile(lambda envelope: envelope.stream not in unread, envelopes))
            envelopes = envelopes[len(run) :]
            yield Question(*about, run, loaded, is_first, is_last=not envelopes)
            loaded, is_first = NOTHING, False
            if envelopes:
                for page in self._pages(envelopes[0].stream):
                    yield Question(*about, [envelopes[0]], page, is_page=True)
                unread.remove(envelopes[0].stream)

    def _pages(self, stream: str) -> Iterator[Loaded]:
        """All there is of a stream, each page by itself."""
        page, is_unread, last = self._loaded, True, None
        while is_unread:
            is_unread, events = stream in page.unread, page.events.get(stream, [])
            if events:
                last = last_of(events)
            elif stream in page.snapshots:
                last = page.snapshots[stream].last
            snapshots = {stream: page.snapshots[stream]} if stream in page.snapshots else {}
            unread = frozenset([stream] if is_unread else [])
            yield Loaded({stream: events if is_unread else events + self._decided.get(stream, [])}, snapshots, unread)
            if is_unread:
                page = self._read_on(stream, last)
