"""A row is the same whether it was in memory or came back from a store when it was folded on: every store."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

import twofold.readmodels.stores.sql
from tests.contract.eventstores import PostgresPlace, SqlitePlace, envelope
from tests.contract.eventstores import place as log_place
from tests.contract.meetings import Meeting, codec, meetings, met
from tests.contract.projections import Log, projector, reached, refold, running, until
from tests.contract.viewstores import (
    KINDS,
    NOON,
    place,
    put,
    rows_url,  # noqa: F401
)
from twofold.kernel.codec import encode_event
from twofold.kernel.ids import new_command_id
from twofold.kernel.log import Decision, Meta, NewEvent
from twofold.kernel.rows import Query
from twofold.kernel.view import About
from twofold.readmodels.inline.projection import PostgresInlineProjection, SqliteInlineProjection
from twofold.readmodels.inline.store import InlineViewStore
from twofold.testing import rows

EVENTS = [met(day) for day in range(1, 5)]
"""In UTC, 1 o'clock there is 23 o'clock of the day before."""
PAGES = {"a page": 10, "an event": 1}


def times_in(row: object) -> list[datetime]:
    assert isinstance(row, Meeting)
    deep = [slot.begins for slot in (*row.slots, row.slot)] + [*row.by_name.values(), *row.by_time]
    return [row.at, row.local, *deep, *(span.begins for span in row.by_time.values())]


@pytest.mark.parametrize("page_events", PAGES.values(), ids=PAGES)
@pytest.mark.parametrize("is_restarted", [True, False], ids=["restarted", "going on"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_fold_does_not_depend_on_when_its_projector_began(
    kind: str, is_restarted: bool, page_events: int, request: pytest.FixtureRequest
) -> None:
    """To the letter: in the running system, in an audit, and in a domain's own tests."""
    view = meetings("redis" if kind == "redis" else "sql")
    words, log = codec(view), Log()
    with place(kind, request) as where:
        generation = where.open().make(view, 1)
        for some in [[event] for event in EVENTS] if is_restarted else [EVENTS]:
            for event in some:
                log.append(event, "meeting-m")
            store = where.open()
            store.make(view, 1)
            with running(projector(log, store, [view], words, page_events), generation.slice_ids()):
                until(reached(store, generation, len(log.events)), "the head")
        found = store.load("meetings", ["m"])["m"].value
        [listed] = [row.value for row in store.find("meetings", Query(order="at")).rows]
    expected = refold(log, view, words)["m"]
    assert isinstance(found, Meeting) and found.seen[0][0].startswith("23:00 23:00 ")
    assert repr(found) == repr(expected) == repr(listed)
    assert repr(rows(view, *EVENTS)["m"]) == repr(expected)
    assert {str(at.tzinfo) for at in times_in(found)} == {"UTC"} and all(at.tzinfo is UTC for at in times_in(found))


@pytest.mark.parametrize("is_restarted", [True, False], ids=["restarted", "going on"])
@pytest.mark.parametrize("kind", ["sqlite", "postgres"])
def test_an_inline_row_does_not_depend_on_what_was_appended_together(
    kind: str, is_restarted: bool, request: pytest.FixtureRequest
) -> None:
    view = meetings(sync="inline")
    words = codec(view)
    with log_place(kind, request) as where:
        events = where.open()
        is_postgres = isinstance(where, PostgresPlace)
        url = where.url if isinstance(where, PostgresPlace) else f"sqlite:///{request.getfixturevalue('tmp_path') / 'log.db'}"
        projection = (PostgresInlineProjection if is_postgres else SqliteInlineProjection)([view], words)
        if isinstance(where, PostgresPlace):
            with where.engine.begin() as connection:
                projection.make(connection.connection.driver_connection, events)
        elif isinstance(where, SqlitePlace):
            assert where.file is not None
            where.file.write(lambda connection: projection.make(connection, events))
        decisions = [decision(version) for version in range(1, len(EVENTS) + 1)]
        for some in [[each] for each in decisions] if is_restarted else [decisions]:
            events.append(some, projection)
        engine = twofold.readmodels.stores.sql.connect(url, 2)
        answers = InlineViewStore(engine)
        answers.make(view, 1)
        [found] = answers.get("meetings", ["m"])
        engine.dispose()
        expected = refold(events, view, words)["m"]
    assert found.row is not None and repr(found.row.value) == repr(expected) == repr(rows(view, *EVENTS)["m"])


def decision(version: int) -> Decision:
    name, schema_version, data = encode_event(EVENTS[version - 1])
    command_id = new_command_id()
    meta = Meta(command_id, "anonymous", schema_version)
    return Decision(envelope("meeting-m", command_id), "succeeded", version, (NewEvent("meeting-m", version, name, data, meta),))


@pytest.mark.parametrize("kind", KINDS)
def test_rows_that_an_earlier_release_kept_with_an_offset_are_read_in_utc(kind: str, request: pytest.FixtureRequest) -> None:
    """It brought to UTC what has a column of its own, and nothing in Redis; what is deeper down stayed as it was sent."""
    view = meetings("redis" if kind == "redis" else "sql")
    sent = view.evolve(None, EVENTS[0], About(1, "meeting-m", 1, NOON))
    with place(kind, request) as where:
        store = where.open()
        put(store, store.make(view, 1), {"m": sent}, 1)
        found = store.load("meetings", ["m"])["m"].value
    assert found == sent
    assert kind == "memory" or all(at.tzinfo is UTC for at in times_in(found))
