"""Compares what clients were told (record.py) with what the stores hold (stores.py), round after round.

Each law is one small function from evidence to violations. The checker keeps what it has seen of the log, so that a round
costs what the round added; `check_all_rows` at the end compares every row there is. It folds with the kernel's words alone:
nothing of eventstore, workers or readmodels is asked.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec

from tests.chaos.record import Record, Sent
from tests.chaos.stores import Decided, Stores
from twofold.kernel.codec import Codec
from twofold.kernel.domain import Domain
from twofold.kernel.log import Recorded
from twofold.subscriptions.log_cache import about_of

SHOWN_MAX = 5
"""Violations of one law that are shown one by one; the rest is a number."""


REACTIONS = ("process:", "effect:")
"""How the principals begin of commands that no client sends."""


@dataclass(frozen=True)
class Violation:
    """A broken law and what shows it."""

    law: str
    detail: str

    def __str__(self) -> str:
        return f"{self.law}: {self.detail}"


@dataclass
class Effect:
    """What the log holds of one command."""

    stream: str
    versions: list[int] = field(default_factory=list)
    positions: list[int] = field(default_factory=list)
    is_reaction: bool = False
    """Of a command that no client sent, but a process, or what an effect learned."""


class Checker:
    """Checks one deployment from its first event on. Not thread-safe."""

    def __init__(self, domain: Domain, stores: Stores) -> None:
        self.domain = domain
        self._stores = stores
        self._codec = Codec(domain)
        self._position = 0
        self._versions: dict[str, int] = {}
        self._known: set[str] = set()
        self.rows: dict[str, dict[str, Any]] = {name: {} for name, view in domain.views.items() if view.is_stored}

    def of(self, domain: Domain, stores: Stores) -> Checker:
        """A checker that goes on from here with another version of the domain, by which the log so far is folded anew."""
        other = Checker(domain, stores)
        other._fold(event for event in stores.events(0) if event.position <= self._position)
        other._position, other._versions, other._known = self._position, self._versions, self._known
        return other

    def check(self, record: Record) -> list[Violation]:
        """Violations among what came since the last call; `record` holds what was sent since then. Empty when all is well."""
        events = self._stores.events(self._position)
        effects = effects_of(events)
        decided = self._stores.inbox({*record.accepted, *effects})
        found = [
            *(Violation("a client is answered 202 or told to try again", text) for text in record.refused),
            *(Violation("one idempotency key, one command id", text) for text in record.contradictions),
            *positions_run(events, self._position),
            *versions_run(events, self._versions),
            *outcomes_exist(record.accepted.values(), decided),
            *effects_match(effects, decided),
            *effects_are_wanted(effects, record, self._known),
            *order_is_kept(record.accepted.values(), decided, effects),
        ]
        touched = self._fold(events)
        self._position = events[-1].position if events else self._position
        self._versions |= {event.stream: event.version for event in events}
        self._known |= record.accepted.keys() | effects.keys()
        found += self._checkpoints()
        found += [v for view, keys in touched.items() for v in self._rows_equal(view, keys)]
        return found

    def check_all_rows(self) -> list[Violation]:
        """Every row of every view against the fold, and no row that the fold does not have."""
        return [violation for view in self.rows for violation in self._rows_equal(view, None)]

    def is_settled(self, record: Record) -> bool:
        """Whether every accepted command has its outcome and every slice stands at the head."""
        head = self._stores.head()
        if not self._stores.has_outcomes(record.accepted):
            return False
        return all(position == head for positions in self._stores.checkpoints().values() for position in positions)

    def _fold(self, events: Iterable[Recorded]) -> dict[str, set[str]]:
        """Fold new events into the checker's own rows. The keys they touched, by view."""
        touched: dict[str, set[str]] = defaultdict(set)
        for recorded in events:
            event = self._codec.event(recorded)
            for view in self.domain.views.values():
                if not (isinstance(event, view.on) and view.is_stored):
                    continue
                about = about_of(recorded)
                rows = self.rows[view.name]
                for key, part in view.parts(event, about).items():
                    row = view.evolved(rows.pop(key, None), event, msgspec.structs.replace(about, key=key, part=part))
                    if row is not None:
                        rows[key] = row
                    touched[view.name].add(key)
        return touched

    def _checkpoints(self) -> list[Violation]:
        found = [Violation("no key is parked", text) for text in self._stores.parked()]
        checkpoints = self._stores.checkpoints()
        for name, view in self.domain.views.items():
            positions = checkpoints.get(name, [])
            if view.sync == "async" and (not positions or any(position != self._position for position in positions)):
                found.append(Violation("every checkpoint reaches the head", f"{name} at {positions}, head {self._position}"))
        return found

    def _rows_equal(self, view: str, keys: Collection[str] | None) -> list[Violation]:
        stored = self._stores.rows(self.domain.views[view], keys)
        folded = self.rows[view]
        return rows_differ(view, stored, folded if keys is None else {key: folded[key] for key in keys if key in folded})


def effects_of(events: Iterable[Recorded]) -> dict[str, Effect]:
    """By command id, in log order."""
    effects: dict[str, Effect] = {}
    for event in events:
        is_reaction = event.meta.principal.startswith(REACTIONS)
        effect = effects.setdefault(event.meta.command_id, Effect(event.stream, is_reaction=is_reaction))
        effect.versions.append(event.version if event.stream == effect.stream else -1)
        effect.positions.append(event.position)
    return effects


def positions_run(events: Sequence[Recorded], after: int) -> list[Violation]:
    law = "positions have no gap"
    for expected, event in enumerate(events, start=after + 1):
        if event.position != expected:
            return [Violation(law, f"{expected} is missing, {event.position} follows")]
    return []


def versions_run(events: Iterable[Recorded], known: Mapping[str, int]) -> list[Violation]:
    found = []
    versions = dict(known)
    for event in events:
        expected = versions.get(event.stream, 0) + 1
        if event.version != expected:
            found.append(Violation("stream versions run 1..n", f"{event.stream}: {event.version} where {expected} belongs"))
        versions[event.stream] = event.version
    return found


def outcomes_exist(accepted: Iterable[Sent], decided: Mapping[str, Decided]) -> list[Violation]:
    law = "every command answered 202 has exactly one outcome"
    found = [Violation(law, f"{sent.command_id} on {sent.stream}: none") for sent in accepted if sent.command_id not in decided]
    found += [Violation(law, f"{name}: {one.count}") for name, one in decided.items() if one.count != 1]
    found += [
        Violation("no command is parked", f"{name} on {one.stream}") for name, one in decided.items() if one.status == "parked"
    ]
    return found


def effects_match(effects: Mapping[str, Effect], decided: Mapping[str, Decided]) -> list[Violation]:
    """Log and inbox agree: what a command did stands once, in one piece, and is what its outcome says."""
    law = "a command has its effect once, and its outcome says which"
    found = []
    for command_id, one in decided.items():
        effect = effects.get(command_id, Effect(one.stream))
        last = effect.versions[-1] if effect.versions else one.version
        is_one_piece = effect.versions == list(range(last - len(effect.versions) + 1, last + 1))
        is_told = (len(effect.versions), last, effect.stream) == (one.events_count, one.version, one.stream)
        is_placed = not effect.positions or effect.positions[-1] == one.position
        if not (is_one_piece and is_told and is_placed and (one.status == "succeeded") == bool(effect.versions)):
            found.append(Violation(law, f"{command_id} on {one.stream}: {effect} but {one}"))
    found += [Violation(law, f"{name} on {effects[name].stream}: events, no outcome") for name in effects.keys() - decided.keys()]
    return found


def effects_are_wanted(effects: Mapping[str, Effect], record: Record, known: Collection[str]) -> list[Violation]:
    """Every event belongs to one accepted command, or to one whose fate the client never learned."""
    found = []
    unsure = record.unsure.copy()
    for command_id, effect in effects.items():
        if command_id in known:
            found.append(Violation("no effect comes later than its round", f"{command_id} on {effect.stream}"))
        elif command_id not in record.accepted and not effect.is_reaction:
            unsure[effect.stream] -= 1
            if unsure[effect.stream] < 0:
                found.append(Violation("every event belongs to an accepted command", f"{command_id} on {effect.stream}"))
    return found


def order_is_kept(accepted: Iterable[Sent], decided: Mapping[str, Decided], effects: Mapping[str, Effect]) -> list[Violation]:
    """On each stream, a command whose 202 was here before another was posted took effect before it.

    A command without events took effect between two versions; among several in one gap nobody can tell the order.
    """
    streams: dict[str, list[tuple[tuple[int, int, int], Sent]]] = defaultdict(list)
    for sent in accepted:
        one = decided.get(sent.command_id)
        if one is not None:
            effect = effects.get(sent.command_id)
            place = (effect.versions[0], 0, 0) if effect else (one.version, 1, sent.accepted)
            streams[sent.stream].append((place, sent))
    found = []
    for stream, placed in streams.items():
        latest: Sent | None = None
        for _, sent in sorted(placed, key=lambda pair: pair[0]):
            if latest is not None and sent.accepted < latest.sent:
                text = f"{stream}: {sent.command_id} was accepted before {latest.command_id} was posted, and took effect after it"
                found.append(Violation("commands of one stream take effect in the order of their acceptance", text))
            if latest is None or sent.sent > latest.sent:
                latest = sent
    return found


def rows_differ(view: str, stored: Mapping[str, Any], folded: Mapping[str, Any]) -> list[Violation]:
    law = "views equal a fresh fold"
    found = []
    for key in sorted(stored.keys() | folded.keys()):
        if stored.get(key) != folded.get(key):
            found.append(Violation(law, f"{view}/{key}: stored {stored.get(key)}, folded {folded.get(key)}"))
    return found


def shown(violations: Sequence[Violation]) -> list[str]:
    """Lines for people: the first few of every law, and how many more."""
    by_law: dict[str, list[Violation]] = defaultdict(list)
    for violation in violations:
        by_law[violation.law].append(violation)
    lines = []
    for law, ones in by_law.items():
        lines += [f"    {one}"[:400] for one in ones[:SHOWN_MAX]]
        if len(ones) > SHOWN_MAX:
            lines.append(f"    {law}: and {len(ones) - SHOWN_MAX} more")
    return lines
