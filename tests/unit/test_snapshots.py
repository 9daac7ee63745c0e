"""Snapshots never change what is decided; and what cannot come back as it was is not kept. No I/O."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from enum import StrEnum
from types import ModuleType
from typing import Any, NamedTuple

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.contract.diaries import BUG, DIARY, NO, NOTHING, Pages, Written, domain, evolve, worker, written
from twofold.kernel.codec import Codec
from twofold.kernel.domain import domain_of
from twofold.kernel.errors import Misconfigured
from twofold.kernel.snapshots import EVERY_EVENTS, StateCodec, is_same
from twofold.testing.memory_log import MemoryLog


class Colour(StrEnum):
    RED = "red"


class Line(msgspec.Struct, frozen=True):
    sku: str
    quantity: int = 1


@dataclass(frozen=True)
class Basket:
    lines: dict[str, Line] = field(default_factory=dict)
    at: datetime | None = None


class Place(NamedTuple):
    x: int
    y: float


class Custom:
    """Nothing that JSON knows."""


@st.composite
def batches(draw: st.DrawFn) -> list[tuple[bool, list[tuple[int, str, int]]]]:
    """Batches of commands on two streams; with each, whether the worker that gets it is a new one."""
    command = st.tuples(st.sampled_from([1, 2, 3, 4, NO, NOTHING, BUG]), st.sampled_from("ab"), st.integers(1, 5))
    return draw(st.lists(st.tuples(st.booleans(), st.lists(command, min_size=1, max_size=5)), min_size=1, max_size=10))


@settings(max_examples=60, deadline=None)
@given(batches(), st.sampled_from([None, 1, 2, 3, 7, 50]), st.integers(0, 9))
def test_with_any_snapshots_everything_is_decided_as_without(
    batches: list[tuple[bool, list[tuple[int, str, int]]]], every: int | None, lost: int
) -> None:
    """Whoever begins with one, in whatever order workers come and go, also after the log has lost its tail."""
    logs = {every: MemoryLog(), 0: MemoryLog()}
    workers = {each: worker(log, snapshot_every=each) for each, log in logs.items()}
    for number, (is_new, commands) in enumerate(batches):
        made = {}
        for each, log in logs.items():
            if number == len(batches) // 2:
                log.lose_after(max(0, log.head()[0] - lost))
            if is_new:
                workers[each] = worker(log, snapshot_every=each)
            sent = [written(word, diary, count, f"{number}-{place}") for place, (word, diary, count) in enumerate(commands)]
            made[each] = [
                (outcome.command_id, outcome.status, outcome.version, outcome.position, outcome.code, outcome.details)
                for outcome in workers[each].execute(sent)
            ]
        assert made[every] == made[0]
    facts = [[(event.stream, event.version, event.data) for event in log.page(0, 10_000).events] for log in logs.values()]
    assert facts[0] == facts[1] and not logs[0].snapshots


@pytest.mark.parametrize(
    ("of", "state"),
    [
        (Line | None, Line("a")),
        (Line | None, None),
        (Basket, Basket({"b": Line("b"), "a": Line("a", 2)}, datetime(2026, 1, 1, 12, tzinfo=UTC))),
        (dict[str, tuple[Decimal, ...]], {"x": (Decimal("1.00"), Decimal("1.0"))}),
        (dict[int, Place], {3: Place(1, 1.0)}),
        (set[Colour], {Colour.RED}),
        (frozenset[tuple[str, int]], frozenset({("a", 1), ("b", 2), ("c", 3)})),
        (int, 2**80),
    ],
)
def test_a_state_comes_back_as_it_was(of: Any, state: Any) -> None:
    """Fields, types, order and all."""
    codec = StateCodec(folding(of, state))
    assert codec.why_not == "" and codec.shape
    assert is_same(codec.decode(codec.encode(state)), state)


@pytest.mark.parametrize(
    ("of", "state"),
    [
        (str, Colour.RED),
        (float, 1),
        (list[int], (1, 2)),
        (list, [(1, 2)]),
        (dict, {1: "a"}),
        (float, float("nan")),
        (Any, datetime(2026, 1, 1, tzinfo=UTC)),
        (Place, Place(1, 2)),
        (int, True),
    ],
)
def test_a_state_that_would_come_back_as_another_is_not_kept(of: Any, state: Any) -> None:
    """It is not what its type says; equal, perhaps, but something else is decided on it."""
    codec = StateCodec(folding(of, state))
    with pytest.raises((ValueError, msgspec.ValidationError)):
        codec.encode(state)


def test_what_only_looks_the_same_is_told_apart() -> None:
    assert not is_same({"a": 1, "b": 2}, {"b": 2, "a": 1}), "whoever takes the first one takes another"
    assert not is_same([1, True], [True, 1])
    assert not is_same(Decimal("1.0"), Decimal("1.00"))
    assert not is_same(datetime(2026, 1, 1, tzinfo=UTC), (datetime(2026, 1, 1) + timedelta(hours=1)).astimezone(UTC))
    assert is_same([Line("a"), None, "x"], [Line("a"), None, "x"])
    assert not is_same([Line("a")], [Line("b")])


def folding(of: Any, initial: Any) -> Any:
    """A decider of states of this type."""

    def fold(state: Any, event: Written) -> Any:
        return state

    fold.__annotations__ = {"return": of}
    return replace(DIARY, initial=initial, evolve=fold)


def other_evolve(pages: Pages, event: Written) -> Pages:
    return Pages((*pages.words, -event.word))


def through(pages: Pages, event: Written) -> Pages:
    return longer(pages, event)


def longer(pages: Pages, event: Written) -> Pages:
    return Pages((*pages.words, event.word))


class More(msgspec.Struct, frozen=True):
    words: tuple[int, ...] = ()
    notes: str = ""


def more(pages: More, event: Written) -> More:
    return More((*pages.words, event.word))


def test_the_shape_is_another_when_folding_would_give_another_state(monkeypatch: pytest.MonkeyPatch) -> None:
    """Type, first state, revision, code of evolve and of what it calls in its module: each alone. Deciding is not in it."""

    def shape(**changed: Any) -> str:
        return Codec(domain(**changed)).states["diary"].shape

    shapes = [
        shape(),
        shape(initial=Pages((1,))),
        shape(revision=1),
        shape(revision="1b"),
        shape(evolve=other_evolve),
        shape(evolve=through),
        shape(evolve=more, initial=More()),
    ]
    assert len(set(shapes)) == len(shapes) and all(shapes)
    assert shape() == shape(decide=lambda pages, command: [], snapshot_every=7)
    monkeypatch.setitem(globals(), "longer", other_evolve)
    assert shape(evolve=through) not in shapes
    assert shape(snapshot_every=0) == ""


def test_the_shape_is_the_same_in_every_process() -> None:
    """Or nobody could use what another has kept; sets and addresses are not the same twice."""
    code = (
        "from tests.contract.diaries import DIARY; from dataclasses import replace\n"
        "from twofold.kernel.snapshots import StateCodec\n"
        "def fold(state: int, event) -> int:\n"
        "    return state + (event.word in {'a', 'b', 'c', 'd'}) + sum(map(lambda n: n, (1, 2)))\n"
        "print(StateCodec(replace(DIARY, initial=0, evolve=fold)).shape, StateCodec(DIARY).shape)"
    )
    shapes = {
        subprocess.run(
            [sys.executable, "-c", code], env={"PYTHONHASHSEED": seed}, capture_output=True, text=True, check=True
        ).stdout
        for seed in ("1", "2", "3")
    }
    assert len(shapes) == 1 and StateCodec(DIARY).shape in shapes.pop()


def unannotated(state, event):  # type: ignore[no-untyped-def]
    return state


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"snapshot_every": -1}, "snapshot_every"),
        ({"snapshot_every": "often"}, "snapshot_every"),
        ({"revision": "a|b"}, "revision"),
        ({"snapshot_every": 100, "initial": Custom(), "evolve": unannotated}, "what evolve returns"),
        ({"snapshot_every": 100, "initial": None, "evolve": unannotated}, "what evolve returns"),
    ],
)
def test_snapshots_that_cannot_be_are_refused_at_start(changed: dict[str, Any], said: str) -> None:
    """By the decider's name, and with the fix; but only where somebody asked for them."""
    with pytest.raises(Misconfigured, match=f"decider diary.*{said}"):
        domain(**changed)


def test_who_asks_for_no_snapshots_need_not_know_of_them() -> None:
    """A state of a class of one's own, an evolve without types: folded as ever, never kept."""
    log = MemoryLog()
    for _ in range(3):
        worker(log, initial=Custom(), evolve=unannotated, decide=lambda state, command: [Written(1)]).execute([written(1)])
    assert log.version("diary-a") == 3 and not log.snapshots


def test_the_default_keeps_a_state_when_the_events_since_are_as_many_bytes() -> None:
    """A large state of a busy stream is not written again and again: less is written of snapshots than of events."""
    log = MemoryLog()
    one = worker(log)
    kept: dict[int, int] = {}
    for word in range(40):
        one.execute([written(word + 1, count=50)])
        kept |= {snapshot.last.version: len(snapshot.state) for snapshot in log.snapshots.values()}
    assert {EVERY_EVENTS, 2 * EVERY_EVENTS} <= set(kept) and 4 < len(kept) < 2_000 // EVERY_EVENTS // 2
    assert sum(list(kept.values())[:-1]) < sum(len(event.data) for event in log.stream("diary-a"))
    states = StateCodec(DIARY)
    assert states.every == EVERY_EVENTS and not states.is_due(999, 1_000) and states.is_due(1_000, 1_000)
    often = StateCodec(replace(DIARY, snapshot_every=3))
    assert often.every == 3 and often.is_due(0, 1_000)


def test_an_event_of_another_version_gives_another_shape() -> None:
    """Its upcaster may fold into another state."""

    class WrittenLater(Written, frozen=True):
        tag = "Written"
        schema_version = 2

    later = replace(DIARY, events=(WrittenLater,), evolve=evolve)
    assert StateCodec(later).shape != StateCodec(DIARY).shape
    module = ModuleType("later")
    module.__dict__.update(DECIDERS=(later,), VIEWS=())
    with pytest.raises(Misconfigured, match="Upcaster"):
        domain_of(module)
