"""A domain whose states say all that ever happened, in order: what is folded twice, left out or mixed up is seen at once."""

from __future__ import annotations

from datetime import UTC, datetime
from types import ModuleType
from typing import Any

import msgspec

from twofold import Command, Decider, Event, Rejected
from twofold.bus.embedded.bell import LocalBell, LocalOutcomes
from twofold.kernel.codec import Codec
from twofold.kernel.domain import Domain, domain_of
from twofold.kernel.envelope import Envelope, fingerprint_of
from twofold.kernel.ids import new_command_id
from twofold.kernel.ports import EventStore
from twofold.workers.execute import Executor

BUG, NO, NOTHING = -1, -2, 0


class Write(Command, frozen=True):
    diary: str
    word: int
    count: int = 1


class Written(Event, frozen=True):
    word: int


class Pages(msgspec.Struct, frozen=True):
    words: tuple[int, ...] = ()


def decide(pages: Pages, command: Write) -> list[Written]:
    """What is decided shows the state: every word is written with how many there were."""
    if command.word == BUG:
        raise LookupError("a bug")
    if command.word == NO:
        raise Rejected("no", words=list(pages.words))
    if command.word == NOTHING:
        return []
    return [Written(1_000 * (len(pages.words) + number) + command.word) for number in range(command.count)]


def evolve(pages: Pages, event: Written) -> Pages:
    return Pages((*pages.words, event.word))


DIARY = Decider[Pages, Write, Written]("diary", "diary", (Write,), (Written,), Pages(), decide, evolve)
DECIDERS = (DIARY,)
VIEWS = ()


def domain(**changed: Any) -> Domain:
    """With another `snapshot_every`, `revision`, `evolve`, …"""
    fields = {name: getattr(DIARY, name) for name in DIARY.__dataclass_fields__}
    module = ModuleType(__name__)
    module.__dict__.update(DECIDERS=(Decider(**fields | changed),), VIEWS=VIEWS)
    return domain_of(module)


def worker(events: EventStore, **changed: Any) -> Executor:
    """One that knows no stream yet."""
    mine = domain(**changed)
    return Executor(mine, Codec(mine), events, LocalBell(), LocalOutcomes())


def written(word: int, diary: str = "a", count: int = 1, command_id: str | None = None) -> Envelope:
    data = msgspec.json.encode({"diary": diary, "word": word, "count": count})
    identity, fingerprint = command_id or new_command_id(), fingerprint_of("Write", data)
    return Envelope(identity, "Write", f"diary-{diary}", msgspec.Raw(data), fingerprint, datetime.now(UTC))
