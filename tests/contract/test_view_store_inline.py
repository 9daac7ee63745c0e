"""Inline views on both logs: rows move in the append's own transaction, and are answered at the log's head."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any

import pytest

import examples.counter
import twofold.readmodels.stores.sql
from tests.contract.buses import until
from tests.contract.eventstores import Place, PostgresPlace, SqlitePlace, envelope, place
from tests.contract.projections import Bugs, Heard, Said, domain, refold
from twofold.bus.embedded.bell import LocalBell, LocalOutcomes
from twofold.kernel.codec import Codec, encode_event
from twofold.kernel.domain import domain_of
from twofold.kernel.errors import Conflict, Misconfigured, Unavailable
from twofold.kernel.ids import new_command_id
from twofold.kernel.log import Decision, Meta, NewEvent
from twofold.kernel.messages import Event
from twofold.kernel.ports import Log
from twofold.kernel.rows import Found, Generation, Query, Row
from twofold.kernel.view import AnyView, SliceId
from twofold.readmodels.inline.projection import PostgresInlineProjection, SqlInlineProjection, SqliteInlineProjection
from twofold.readmodels.inline.store import InlineViewStore
from twofold.workers.execute import Executor


def said_of_another_shape() -> type[Event]:
    """As whoever changed it and gave no `schema_version` has it."""

    class Said(Event, frozen=True):
        whom: str

    return Said


WORDS = ("one", "two", "three", "four")


@dataclass
class Rig:
    where: Place
    events: Log
    rows: SqlInlineProjection
    view: AnyView
    codec: Codec
    bugs: Bugs
    answers: InlineViewStore

    def said(self, stream: str, version: int, word: str, *to: str) -> Decision:
        name, schema_version, data = encode_event(Said(to, word))
        command_id = new_command_id()
        meta = Meta(command_id, "anonymous", schema_version)
        event = NewEvent(stream, version, name, data, meta)
        return Decision(envelope(stream, command_id), "succeeded", version, (event,))

    def append(self, *decisions: Decision) -> int:
        return self.events.append(decisions, self.rows).head

    def make(self) -> Generation:
        _in_log(self.where, lambda connection: self.rows.make(connection, self.events))
        return self.answers.make(self.view, 4)


def _in_log(where: Place, run: Callable[[Any], None]) -> None:
    """One transaction on the log's raw connection, the way a process starts."""
    if isinstance(where, SqlitePlace):
        assert where.file is not None
        where.file.write(run)
    elif isinstance(where, PostgresPlace):
        with where.engine.begin() as connection:
            run(connection.connection.driver_connection)


@pytest.fixture(params=["sqlite", "postgres"])
def rig(request: pytest.FixtureRequest) -> Iterator[Rig]:
    with place(request.param, request) as where:
        events = where.open()
        bugs = Bugs()
        codec, view, _ = domain(bugs)
        view = replace(view, sync="inline")
        kind = PostgresInlineProjection if request.param == "postgres" else SqliteInlineProjection
        url = where.url if isinstance(where, PostgresPlace) else f"sqlite:///{request.getfixturevalue('tmp_path') / 'log.db'}"
        engine = twofold.readmodels.stores.sql.connect(url, 4)
        try:
            yield Rig(where, events, kind([view], codec), view, codec, bugs, InlineViewStore(engine))
        finally:
            engine.dispose()


def test_a_row_is_there_as_soon_as_its_command_is_decided(rig: Rig) -> None:
    """That is what an inline view is for: no waiting, no token."""
    generation = rig.make()
    assert generation == Generation("heard", 1, 1)
    head = rig.append(rig.said("talk-1", 1, "one", "ann", "bob"), rig.said("talk-2", 1, "two", "ann"))
    assert rig.answers.get("heard", ["ann", "cid", "a\0"]) == [
        Found(Row("ann", Heard("ann", ("one", "two"), 2), 2), SliceId("heard", 1, 0), head),
        Found(None, SliceId("heard", 1, 0), head),
        Found(None, SliceId("heard", 1, 0), head),
    ]
    rig.append(rig.said("talk-1", 2, "", "bob"))
    page = rig.answers.find("heard", Query(order="count", descending=True))
    assert [row.key for row in page.rows] == ["ann"] and page.position == 3
    assert rig.answers.positions() == {SliceId("heard", 1, 0): 3}
    assert rig.answers.load("heard", ["ann", "bob"]).keys() == {"ann"}
    assert (rig.answers.parked(), rig.answers.commit([])) == ([], set())


def test_rows_and_events_commit_together_or_not_at_all(rig: Rig) -> None:
    """A conflict found at the last moment must leave no trace in the rows."""
    rig.make()
    rig.append(rig.said("talk-1", 1, "one", "ann"))
    with pytest.raises(Conflict):
        rig.append(rig.said("talk-2", 1, "two", "ann"), rig.said("talk-1", 1, "again", "ann"))
    rig.bugs.words = {"bad"}
    with pytest.raises(RuntimeError, match="cannot fold bad"):
        rig.append(rig.said("talk-2", 1, "two", "ann"), rig.said("talk-3", 1, "bad", "ann"))
    rig.bugs.huge = {"huge"}
    with pytest.raises(ValueError, match="64 bits"):
        rig.append(rig.said("talk-2", 1, "huge", "ann"))
    rig.append(rig.said("talk-2", 1, "three", "ann"))
    [found] = rig.answers.get("heard", ["ann"])
    assert found.row == Row("ann", Heard("ann", ("one", "three"), 2), 2)


def test_rows_of_a_view_made_later_begin_with_the_log_so_far(rig: Rig) -> None:
    """Making a view inline must not cost it its past."""
    for number in range(1, 30):
        rig.events.append([rig.said("talk-1", number, f"w{number}", "ann", f"n{number % 7}")])
    rig.make()
    rig.append(rig.said("talk-1", 30, "last", "ann"))
    rig.make()
    names = ["ann", *(f"n{number}" for number in range(7))]
    rows = {key: row.value for key, row in rig.answers.load("heard", names).items()}
    assert rows == refold(rig.events, rig.view, rig.codec) and len(rows["ann"].words) == 30  # type: ignore[attr-defined]


@pytest.mark.parametrize("bug", ["words", "nameless", "huge", "data"])
@pytest.mark.parametrize("step", ["build", "make"])
def test_rows_that_cannot_be_made_are_told_in_one_line_and_those_of_before_go_on(rig: Rig, bug: str, step: str) -> None:
    """Seventy lines of traceback named neither view nor event, and left everybody wondering what had been done."""
    rig.make()
    rig.append(rig.said("talk-1", 1, "one", "ann"), rig.said("talk-2", 1, "bad", "ann"), rig.said("talk-1", 2, "two", "ann"))
    kind: Any = type(rig.rows)
    view, codec = replace(rig.view, orders=()), rig.codec
    if bug == "data":
        other = said_of_another_shape()
        codec, view = domain(Bugs(), said=other)[0], replace(view, on=(other,))
    else:
        setattr(rig.bugs, bug, {"bad"})
    changed: Any = kind([view], codec)
    with pytest.raises(Misconfigured) as refused:
        _in_log(rig.where, lambda connection: getattr(changed, step)(connection, rig.events))
    place = r", projections\.py:\d+" if bug in ("words", "nameless") else ""
    what = {
        "words": "RuntimeError: cannot fold bad",
        "nameless": "LookupError: no keys for bad",
        "huge": "ValueError: .*64 bits.*",
    }
    event = "event 1 (Said, stream talk-1)" if bug == "data" else "event 2 (Said, stream talk-2)"
    why = what.get(bug, "ValidationError: Object missing required field `whom`")
    told = f"the rows of inline view heard cannot be made: {re.escape(event)}: {why}{place}; mend the code, or go back"
    assert re.fullmatch(told, str(refused.value)), str(refused.value)
    for name in ("words", "nameless", "huge"):
        setattr(rig.bugs, name, set())
    rig.append(rig.said("talk-2", 2, "three", "ann"))
    [found] = rig.answers.get("heard", ["ann"])
    assert found.row == Row("ann", Heard("ann", ("one", "bad", "two", "three"), 4), 4)


def test_before_the_tables_are_made_there_is_no_answer(rig: Rig) -> None:
    """Only `migrate` makes tables: whoever starts before it is told so."""
    with pytest.raises(Misconfigured, match="twofold migrate"):
        rig.answers.attach(rig.view)
    with pytest.raises(Misconfigured, match="twofold migrate"):
        _in_log(rig.where, rig.rows.attach)


def test_appends_at_once_fold_each_event_once_into_rows_they_share(rig: Rig) -> None:
    """Many workers, one row: the lock on the row, or on the head where there is no row yet, has to keep them apart."""
    rig.make()
    start = threading.Barrier(4)

    def talk(worker: int) -> None:
        start.wait()
        for number in range(1, 16):
            to = ("ann", f"n{(worker + number) % 3}") if worker % 2 else (f"n{(worker + number) % 3}", "ann")
            decision = rig.said(f"talk-{worker}", number, f"{worker}.{number}", *to)
            for _ in range(20):
                try:
                    rig.append(decision)
                    break
                except (Conflict, Unavailable):
                    if rig.events.outcomes([decision.envelope.command_id]):
                        break
            else:
                raise AssertionError("never appended")

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(talk, range(4)))
    names = ["ann", "n0", "n1", "n2"]
    rows = {key: row.value for key, row in rig.answers.load("heard", names).items()}
    assert rows == refold(rig.events, rig.view, rig.codec)
    assert len(rows["ann"].words) == 60  # type: ignore[attr-defined]


def test_a_fold_that_comes_to_no_end_is_seen_from_outside(rig: Rig) -> None:
    """Whoever watches over the process ends it then, as one that decides for ever."""
    is_released = threading.Event()

    def evolve(*touched: Any) -> Any:
        is_released.wait(60.0)
        return rig.view.evolve(*touched)

    kind: Any = type(rig.rows)
    rig.rows = kind([replace(rig.view, evolve=evolve)], rig.codec)
    rig.make()
    executor = Executor(domain_of(examples.counter), rig.codec, rig.events, LocalBell(), LocalOutcomes(), rig.rows)
    with ThreadPoolExecutor(1) as threads:
        appended = threads.submit(rig.append, rig.said("a", 1, "one", "x"))
        until(lambda: executor.deciding_seconds() > 0.1, "somebody folds")
        is_released.set()
        appended.exception(60.0)
    assert executor.deciding_seconds() == 0.0
