"""The laws of a log that lost its tail: what is left stays, only what was committed behind it is gone, and no view hides it.

Evidence is what the database held that is lost (`Snapshot` of it, made afterwards), what the one holds that goes on, where the
rows stood in between, and what the system said of them until they were folded anew. Each law is a function, as in checker.py.
"""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.request
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from random import Random
from threading import Event, Thread
from typing import Any

from tests.chaos.checker import Violation
from tests.chaos.served_stores import Database

LOOK_SECONDS = 0.1
ANSWER_SECONDS_MAX = 10.0
DIVERGED = "diverged"


@dataclass(frozen=True)
class Snapshot:
    """All that a log's database holds, as plain tuples: events by position, outcomes by command id."""

    events: Sequence[tuple[Any, ...]]
    inbox: Mapping[str, tuple[Any, ...]]


def snapshot(url: str) -> Snapshot:
    """Of the database at this libpq URL."""
    database = Database(url)
    try:
        columns = "position, stream, version, type, data::text, meta::text, recorded_at"
        events = database.select(f"SELECT {columns} FROM events ORDER BY position")
        columns = "command_id::text, stream, status, version, position, events::text, decided_at"
        return Snapshot(events, {row[0]: row for row in database.select(f"SELECT {columns} FROM inbox")})
    finally:
        database.close()


@dataclass(frozen=True)
class Loss:
    """What is left of the log, what it was before, and the checkpoints of rows that live elsewhere, from in between."""

    before: Snapshot
    left: Snapshot
    checkpoints: Mapping[str, Sequence[int]]

    @property
    def head(self) -> int:
        return len(self.left.events)

    @property
    def lost(self) -> set[str]:
        """Commands that were decided, and are not any more."""
        return self.before.inbox.keys() - self.left.inbox.keys()

    @property
    def diverged(self) -> set[str]:
        """Views that have shown what is lost."""
        return {view for view, positions in self.checkpoints.items() if any(position > self.head for position in positions)}


def left_is_a_beginning(loss: Loss) -> list[Violation]:
    """A backup or a replica is one moment of the log, from its first event on."""
    if loss.before.events[: loss.head] == loss.left.events and loss.left.inbox.items() <= loss.before.inbox.items():
        return []
    return [Violation("what is left of a log is its beginning", f"of {len(loss.before.events)} events, {loss.head}")]


def left_stays(left: Snapshot, after: Snapshot) -> list[Violation]:
    """What was decided and is left is not decided again, nor written over."""
    law = "what is left of a log stays"
    pairs = zip(left.events, after.events, strict=False)
    found = [Violation(law, f"{old} was written over by {new}") for old, new in pairs if old != new]
    found += [Violation(law, f"event {old[0]} is gone") for old in left.events[len(after.events) :]]
    told = [(name, old, after.inbox.get(name)) for name, old in left.inbox.items()]
    return found + [Violation(law, f"{name}: {old} became {new}") for name, old, new in told if old != new]


def only_the_lost_is_missing(accepted: Iterable[str], decided: Collection[str], lost: Collection[str]) -> list[Violation]:
    """What waited in the broker is decided now: without an outcome is only what was decided and is lost."""
    law = "what was accepted and not decided before the loss is decided after it"
    return [Violation(law, name) for name in accepted if name not in decided and name not in lost]


def nothing_is_folded_on(loss: Loss, stands: Mapping[str, Sequence[int]]) -> list[Violation]:
    """A projector may still fold what it had read before the loss; of what was written since, nothing."""
    law, last = "a view that stands on a lost event is let be", len(loss.before.events)
    return [Violation(law, f"{view}: {stands[view]} beyond {last}") for view in loss.diverged if max(stands[view]) > last]


@dataclass
class Watch:
    """Asks gateways (base URLs) for the state of every view, again and again while the block lasts."""

    urls: Sequence[str]
    random: Random
    states: dict[str, set[str]] = field(default_factory=dict)
    """Of every view, all that was said of it."""
    answers: int = 0

    def __enter__(self) -> Watch:
        self._stop = Event()
        self._thread = Thread(target=self._run, name="watch", daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def broken(self, diverged: Iterable[str]) -> list[Violation]:
        """Never, in any answer, is a view that stands on lost events anything else."""
        law = "a view that stands on a lost event is diverged, and nothing else"
        found = [Violation(law, "no gateway answered")] if not self.answers else []
        said = {view: sorted(self.states.get(view, ())) for view in diverged}
        return found + [
            Violation(law, f"{view} was said to be {states}") for view, states in said.items() if states != [DIVERGED]
        ]

    def _run(self) -> None:
        while not self._stop.wait(LOOK_SECONDS):
            is_lag = self.random.random() < 0.5
            status, answer = ask(f"{self.random.choice(self.urls)}/{'lag' if is_lag else 'views'}")
            if status != 200:
                continue
            views = answer["views"].items() if is_lag else [(view["name"], view) for view in answer["views"]]
            for name, view in views:
                self.states.setdefault(name, set()).add(view["state"])
            self.answers += 1


def no_token_is_answered(url: str, diverged: Iterable[str], token: str) -> list[Violation]:
    """A checkpoint that means another event says nothing about what a row holds."""
    law = "a diverged view answers no token"
    found = []
    for view in diverged:
        status, answer = ask(f"{url}/views/{view}/anything", {"Consistency-Token": token, "Prefer": "wait=1"})
        if (status, answer.get("state")) != (503, DIVERGED):
            found.append(Violation(law, f"{view}: {status} {answer}"))
    return found


def metric_tells(text: str, diverged: Collection[str], views: Iterable[str]) -> list[Violation]:
    law = "twofold_view_state tells which views are diverged"
    told = {view for view in views if f'twofold_view_state{{state="{DIVERGED}",view="{view}"}} 1.0' in text}
    return [] if told == set(diverged) else [Violation(law, f"{sorted(told)}, and not {sorted(diverged)}")]


def doctor_tells(status: int | None, text: str, diverged: Collection[str]) -> list[Violation]:
    law = "doctor says which views are diverged, and what to type"
    words = " ".join(text.replace("│", " ").split())
    is_told = not diverged or ("twofold rebuild" in words and all(view in words for view in diverged))
    return [] if is_told and status == (1 if diverged else 0) else [Violation(law, f"status {status}: {text[-600:]}")]


def all_is_live(status: int, lag: Mapping[str, Any]) -> list[Violation]:
    """Every view at the head of the log, and said to be: from an answer to GET /lag."""
    law = "what was folded anew is live and has no lag"
    if status != 200:
        return [Violation(law, f"{status}: {lag}")]
    late = {name: view for name, view in lag["views"].items() if (view["state"], view["lag_events"]) != ("live", 0)}
    return [Violation(law, str(late))] if late else []


def ask(url: str, headers: Mapping[str, str] | None = None) -> tuple[int, Any]:
    """Status and answer; status 0 when nobody listens."""
    try:
        with urllib.request.urlopen(
            urllib.request.Request(url, headers=dict(headers or {})), timeout=ANSWER_SECONDS_MAX
        ) as answer:
            text = answer.read()
            return answer.status, json.loads(text) if text[:1] == b"{" else text.decode()
    except urllib.error.HTTPError as refused:
        return refused.code, json.loads(refused.read() or b"{}")
    except OSError:
        return 0, {}


def still(read: Any, quiet_seconds: float, seconds_max: float) -> Any:
    """What is read, once it has not changed for so long."""
    deadline = time.monotonic() + seconds_max
    value, since = read(), time.monotonic()
    while time.monotonic() - since < quiet_seconds and time.monotonic() < deadline:
        time.sleep(LOOK_SECONDS)
        if (new := read()) != value:
            value, since = new, time.monotonic()
    return value
