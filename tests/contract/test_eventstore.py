"""What every event store promises, whatever it keeps the log in."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest

import twofold.eventstore.postgres.pages
import twofold.eventstore.sqlite.pages
import twofold.testing.memory_log
from tests.contract.eventstores import ACCEPTED_AT, Place, SameViews, SqlPlace, decided, envelope, last_event, place, placed
from twofold.kernel.errors import Conflict, Error, Unavailable
from twofold.kernel.log import Decision, Loaded, NewEvent, Recorded
from twofold.kernel.ports import Log

WIDE = '\u00fcber-\u5546\u54c1-\U0001f4e6-"quoted"-back\\slash-{curly},comma-\x01-\''


@pytest.fixture(params=["postgres", "sqlite", "memory"])
def where(request: pytest.FixtureRequest) -> Iterator[Place]:
    with place(request.param, request) as opened:
        yield opened


@pytest.fixture(params=["postgres", "sqlite"])
def database(request: pytest.FixtureRequest) -> Iterator[SqlPlace]:
    with place(request.param, request) as opened:
        assert isinstance(opened, SqlPlace)
        yield opened


@pytest.fixture
def store(where: Place) -> Log:
    return where.open()


def test_positions_have_no_gap_and_are_seen_in_order_whoever_appends(store: Log) -> None:
    """A tailer that asks for "after the last one" must never meet an event that became visible behind its back."""
    batches_each, writers = 25, 6
    is_done = threading.Event()
    seen: list[Recorded] = []

    def append(writer: int) -> None:
        for number in range(batches_each):
            store.append([placed(f"order-{writer}-{number}-{part}") for part in range(1 + (writer + number) % 4)])

    def tail() -> None:
        while True:
            was_done = is_done.is_set()
            page = store.page(seen[-1].position if seen else 0, 7)
            seen.extend(page.events)
            if was_done and not page.events:
                return

    tailer = threading.Thread(target=tail)
    tailer.start()
    with ThreadPoolExecutor(writers) as pool:
        list(pool.map(append, range(writers)))
    is_done.set()
    tailer.join(30)
    expected = sum(1 + (writer + number) % 4 for writer in range(writers) for number in range(batches_each))
    assert [event.position for event in seen] == list(range(1, expected + 1))
    assert [event.recorded_at for event in seen] == sorted(event.recorded_at for event in seen)
    assert store.head() == (expected, seen[-1].recorded_at)


def test_a_taken_version_refuses_the_whole_batch(store: Log) -> None:
    """Half a batch would leave commands with an outcome whose neighbours were decided on a state that never was."""
    store.append([placed("order-1")])
    late, neighbour = placed("order-1"), placed("order-2")
    with pytest.raises(Conflict):
        store.append([neighbour, late])
    assert store.head()[0] == 1
    assert store.outcomes([late.envelope.command_id, neighbour.envelope.command_id]) == {}
    assert store.version("order-2") == 0
    assert store.append([neighbour]).head == 2


def test_a_command_is_decided_once(store: Log) -> None:
    """A second delivery that slipped past the look-up must not take effect a second time, on whatever version it comes."""
    first = placed("order-1")
    store.append([first])
    with pytest.raises(Conflict):
        store.append([decided(first.envelope, version=2, count=1)])
    with pytest.raises(Conflict):
        store.append([decided(first.envelope, version=1)])
    twin = envelope("order-3")
    with pytest.raises(Conflict):
        store.append([decided(twin, 1, 1), decided(twin, 2, 1)])
    assert store.head()[0] == 1
    assert store.outcomes([first.envelope.command_id])[first.envelope.command_id].status == "succeeded"


def test_of_appends_that_race_for_a_version_one_wins(store: Log) -> None:
    """Optimistic concurrency is the last line behind leases: whoever comes second has to decide again."""

    def attempt(_number: int) -> str:
        try:
            store.append([placed("order-1"), placed(f"order-{_number + 2}")])
        except Conflict:
            return "conflict"
        return "won"

    with ThreadPoolExecutor(6) as pool:
        assert sorted(pool.map(attempt, range(6))) == ["conflict"] * 5 + ["won"]
    assert store.head()[0] == 2


def test_outcomes_come_in_the_order_of_the_decisions_and_stay(store: Log, where: Place) -> None:
    """What is told right after the commit and what is looked up for ever after is the same."""
    store.append([placed("order-0", version=2, count=2)])
    rejected = decided(
        envelope("order-1"), 0, status="rejected", code="no-such-order", details={"order_id": WIDE, "left": [1, None]}
    )
    bare = decided(envelope("order-1"), 0, status="rejected", code="gone", details={})
    succeeded = placed("order-2", version=2, count=2)
    ignored = decided(envelope("order-2"), 2)
    appended = store.append([rejected, bare, succeeded, ignored])
    assert [outcome.status for outcome in appended.outcomes] == ["rejected", "rejected", "succeeded", "ignored"]
    assert [outcome.position for outcome in appended.outcomes] == [2, 2, 4, 4]
    assert [outcome.version for outcome in appended.outcomes] == [0, 0, 2, 2]
    assert appended.outcomes[2].events == ("OrderPlaced", "OrderPlaced")
    assert appended.outcomes[0].details == {"order_id": WIDE, "left": [1, None]}
    assert {outcome.accepted_at for outcome in appended.outcomes} == {ACCEPTED_AT}
    assert appended.head == 4
    found = where.open().outcomes([outcome.command_id for outcome in appended.outcomes])
    assert found == {outcome.command_id: outcome for outcome in appended.outcomes}


def test_decisions_without_events_leave_the_log_alone(store: Log) -> None:
    """The head's time is that of its event: lag is computed from it."""
    before = store.append([placed("order-1")])
    after = store.append([decided(envelope("order-1"), 1), decided(envelope("order-9"), 0, status="rejected", code="no")])
    assert [outcome.position for outcome in after.outcomes] == [1, 1]
    assert after.recorded_at >= before.recorded_at
    assert store.head() == (1, before.recorded_at)


def test_a_newer_attempt_replaces_a_parked_outcome_only(store: Log) -> None:
    """Retrying a parked command decides it anew; an outcome that is final, or as new, is never overwritten."""
    sent = envelope("order-1")
    store.append([decided(sent, 0, status="parked", code="bug", error="Traceback: no")])
    (parked,) = store.parked()
    assert (parked.reason, parked.error) == ("bug", "Traceback: no")
    assert msgspec.json.encode(parked.envelope) == msgspec.json.encode(sent)
    assert store.parked_command(parked.id) == parked
    with pytest.raises(Conflict):
        store.append([decided(sent, 1, 1)])

    again = msgspec.structs.replace(sent, attempt=2)
    store.append([decided(again, 0, status="parked", code="malformed", error="still no")])
    (still_parked,) = store.parked()
    assert (still_parked.reason, still_parked.error, still_parked.envelope.attempt) == ("malformed", "still no", 2)
    assert store.outcomes([sent.command_id])[sent.command_id].attempt == 2

    third = msgspec.structs.replace(sent, attempt=3)
    appended = store.append([placed("order-2"), decided(third, 1, 1)])
    assert store.parked() == []
    assert store.outcomes([sent.command_id])[sent.command_id] == appended.outcomes[1]
    assert appended.outcomes[1].position == 2
    with pytest.raises(Conflict):
        store.append([decided(msgspec.structs.replace(sent, attempt=4), 2, 1)])


def test_a_reused_key_is_parked_and_leaves_the_first_outcome(store: Log) -> None:
    """The id stands for the first body; what came second with it is kept for people to see, and had no effect."""
    first = placed("order-1")
    store.append([first])
    second = envelope("order-1", command_id=first.envelope.command_id, data=b'{"n":2}')
    reused = decided(second, 0, status="parked", code="key-reused", error="another body")
    appended = store.append([reused, placed("order-2")])
    store.append([reused])
    assert appended.head == 2
    assert store.outcomes([second.command_id])[second.command_id].status == "succeeded"
    assert [(parked.reason, bytes(parked.envelope.data)) for parked in store.parked()] == [("key-reused", b'{"n":2}')]


def test_a_domain_may_say_no_in_the_platforms_words(store: Log) -> None:
    """A rejection is an outcome like any other, whatever its code is called."""
    for number, code in enumerate(("key-reused", "bug", "malformed", "stream-moved")):
        said = decided(envelope(f"order-{number}"), 0, status="rejected", code=code)
        [outcome] = store.append([said]).outcomes
        assert store.outcomes([said.envelope.command_id]) == {said.envelope.command_id: outcome}
        assert (outcome.status, outcome.code) == ("rejected", code)


def test_parked_commands_are_listed_in_pages_and_discarded(store: Log) -> None:
    """An operator clears the list one by one; the outcome stays, for the client that asks."""
    sent = [envelope(f"order-{number}") for number in range(5)]
    store.append([decided(each, 0, status="parked", code="bug", error="half a character \ud83d and a \0") for each in sent])
    first = store.parked(limit=3)
    rest = store.parked(limit=3, after=first[-1].id)
    assert [parked.envelope.command_id for parked in first + rest] == [each.command_id for each in sent]
    assert store.discard(first[0].id)
    assert not store.discard(first[0].id)
    assert store.parked_command(first[0].id) is None
    assert len(store.parked()) == 4
    many = [decided(envelope(f"order-{number}"), 0, status="parked", code="bug", error="no") for number in range(97)]
    store.append(many)
    assert len(store.parked()) == 100, "unless more are asked for"
    assert store.outcomes([sent[0].command_id])[sent[0].command_id].status == "parked"


def test_many_streams_are_read_at_once_each_from_its_own_version(store: Log) -> None:
    """A batch of commands needs all its streams in one question, and most of them have nothing new."""
    store.append([placed("order-1", 3, 3), placed(WIDE, 2, 2), placed("order-3", 1, 1)])
    first, third = (store.stream(stream, to_version=1)[0] for stream in ("order-1", "order-3"))
    found = store.read({"order-1": last_event(first), WIDE: None, "order-3": last_event(third), "order-4": None}).events
    assert {stream: [event.version for event in events] for stream, events in found.items()} == {"order-1": [2, 3], WIDE: [1, 2]}
    assert [event.position for event in found[WIDE]] == [4, 5]
    assert store.read({f"nobody-{number}": None for number in range(1000)}) == Loaded({}, {})
    assert store.read({}) == Loaded({}, {})


def test_an_event_comes_back_as_it_was_written(store: Log) -> None:
    """Old facts are decoded for ever: their bytes, their meta, their order and their time must not be improved on the way."""
    lines = [{"sku": f"{number:05}", "description": WIDE, "quantity": number, "unit_price": 2**53} for number in range(2000)]
    large = msgspec.json.encode({"lines": lines, "spaced": " a  b "})
    decision = placed(WIDE, data=large)
    appended = store.append([decision])
    (event,) = store.page(0, 10).events
    assert event == Recorded(1, WIDE, 1, "OrderPlaced", large, decision.events[0].meta, appended.recorded_at)
    assert store.stream(WIDE) == [event]
    assert store.read({WIDE: None}) == Loaded({WIDE: [event]}, {})
    assert store.recorded_at([1, 2]) == {1: appended.recorded_at}
    assert abs(datetime.now(UTC) - event.recorded_at) < timedelta(seconds=30)


def test_a_page_follows_a_position(store: Log) -> None:
    """`through` is where the next page begins: it may not run ahead of what is committed."""
    assert (store.page(0, 10).events, store.page(0, 10).through) == ([], 0)
    store.append([placed("order-1", 5, 5)])
    page = store.page(1, 3)
    assert ([event.position for event in page.events], page.through) == ([2, 3, 4], 4)
    assert ([event.position for event in store.page(4, 3).events], store.page(4, 3).through) == ([5], 5)
    assert (store.page(5, 3).events, store.page(5, 3).through) == ([], 5)


def test_a_filtered_page_says_how_far_it_looked(store: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    """A checkpoint moves over what is left out, too; and a rare type must not make one page read the whole log."""
    for module in (twofold.eventstore.postgres.pages, twofold.eventstore.sqlite.pages, twofold.testing.memory_log):
        monkeypatch.setattr(module, "FILTERED_POSITIONS_MAX", 6)
    types = ["A", "B", "B", "A", "B", "B", "B", "B", "B", "A"]
    store.append([typed("order-1", types)])
    first = store.page(0, 1, ["A", "no such type"])
    assert ([event.position for event in first.events], first.through) == ([1], 1)
    second = store.page(1, 5, ["A"])
    assert ([event.position for event in second.events], second.through) == ([4], 7)
    third = store.page(7, 5, ["A"])
    assert ([event.position for event in third.events], third.through) == ([10], 10)
    assert (store.page(4, 5, ["A"]).events, store.page(4, 5, ["A"]).through) == ([store.page(9, 1).events[0]], 10)
    assert (store.page(10, 5, ["A"]).events, store.page(10, 5, ["A"]).through) == ([], 10)
    assert (store.page(0, 5, []).events, store.page(0, 5, []).through) == ([], 6)


def test_a_stream_is_read_up_to_a_version_or_a_time(store: Log) -> None:
    """History: the state as it was then, both ends included."""
    times = [store.append([placed("order-1", version)]).recorded_at for version in (1, 2, 3)]
    store.append([placed("order-11")])

    def versions(**bounds: Any) -> list[int]:
        return [event.version for event in store.stream("order-1", **bounds)]

    assert versions() == [1, 2, 3]
    assert versions(after=1) == [2, 3]
    assert versions(limit=2) == [1, 2]
    assert versions(to_version=2) == [1, 2]
    assert versions(until=times[1]) == [1, 2]
    assert versions(until=times[0] - timedelta(microseconds=1)) == []
    assert versions(after=1, limit=5, to_version=9, until=times[2]) == [2, 3]
    assert versions(until=times[2].astimezone()) == [1, 2, 3]
    assert versions(after=2**70) == [] and versions(to_version=2**70) == [1, 2, 3]
    assert (store.version("order-1"), store.version("order-11"), store.version("order-111")) == (3, 1, 0)


def test_an_empty_log_has_no_time(store: Log) -> None:
    """Lag on a new system is zero, not the age of the epoch."""
    assert store.head() == (0, None)
    assert store.recorded_at([]) == {} and store.recorded_at([1, 2**70]) == {}
    assert store.outcomes([]) == {}


@pytest.mark.parametrize("text", ["a\0b", "half \ud83d"])
def test_what_cannot_be_stored_is_not_found(store: Log, text: str) -> None:
    """Ids and names come from URLs: a strange one is "not there", not a fault of the server."""
    store.append([placed("order-1")])
    assert store.outcomes([text]) == {}
    assert store.read({text: None}) == Loaded({}, {})
    assert store.stream(text) == []
    assert store.version(text) == 0
    assert store.page(0, 10, [text]).events == []
    assert list(store.read({text: None, "order-1": None}).events) == ["order-1"]


def test_data_that_cannot_be_stored_is_a_bug_and_leaves_nothing(store: Log) -> None:
    """None of the five errors: whoever appends isolates and parks the one command, instead of waiting for better times."""
    bad = placed("half \ud83d")
    with pytest.raises(Exception, match="surrogate") as caught:
        store.append([placed("order-1"), bad])
    assert not isinstance(caught.value, Error)
    assert store.head() == (0, None)
    assert store.append([placed("order-1")]).head == 1


@pytest.mark.parametrize("statement", ["UPDATE events SET type = 'X'", "DELETE FROM events"])
def test_no_event_is_ever_changed_or_removed(database: SqlPlace, statement: str) -> None:
    """Not even by somebody with a database shell and good intentions."""
    database.open().append([placed("order-1")])
    with pytest.raises(Exception, match="events are never changed or removed"):
        database.execute(statement)


def test_what_is_committed_outlives_the_store(where: Place) -> None:
    """Closing and opening again continues the log where it was."""
    first = where.open().append([placed("order-1")])
    again = where.open()
    assert again.head() == (1, first.recorded_at)
    assert again.append([placed("order-1", version=2)]).head == 2


class CountingRows(SameViews):
    """Inline rows that write down what they see, and fail when told to."""

    def __init__(self, where: Place) -> None:
        where.make_counted()
        self.where = where
        self.fails = False
        self.lock_calls: list[list[str]] = []
        self.seen_counts: list[int] = []
        self.write_calls: list[tuple[object, list[int]]] = []

    def hears(self, events: Sequence[NewEvent]) -> bool:
        return bool(events)

    def lock(self, connection: Any, events: Sequence[NewEvent]) -> object:
        self.lock_calls.append([event.stream for event in events])
        self.seen_counts.append(self.where.count_on(connection))
        return "locked"

    def write(self, connection: Any, locked: object, events: Sequence[Recorded]) -> None:
        self.write_calls.append((locked, [event.position for event in events]))
        for event in events:
            self.where.count_in(connection, event.position, event.stream)
        if self.fails:
            raise ArithmeticError("an evolve with a bug")


def test_inline_rows_are_committed_with_the_events_or_not_at_all(where: Place, store: Log) -> None:
    """That is what makes an inline view strong: nobody ever sees one without the other."""
    rows = CountingRows(where)
    store.append([placed("order-1")])
    appended = store.append([placed("order-2", 2, 2), decided(envelope("order-3"), 0)], rows)
    assert rows.lock_calls == [["order-2", "order-2"]]
    assert rows.write_calls == [("locked", [2, 3])]
    assert appended.outcomes[0].position == 3
    assert where.counted() == [(2, "order-2"), (3, "order-2")]

    with pytest.raises(Conflict):
        store.append([placed("order-1")], rows)
    rows.fails = True
    with pytest.raises(ArithmeticError):
        store.append([placed("order-4")], rows)
    assert where.counted() == [(2, "order-2"), (3, "order-2")]
    assert store.head()[0] == 3

    rows.fails, sent = False, envelope("order-5")
    store.append([decided(sent, 0, status="parked", code="bug", error="no")], rows)
    store.append([decided(msgspec.structs.replace(sent, attempt=2), 1, 1)], rows)
    assert where.counted()[-1] == (4, "order-5")
    assert rows.seen_counts == [0, 2, 2, 2]


def test_who_does_not_know_every_inline_view_appends_nothing(where: Place, store: Log) -> None:
    """A worker of the version before left a new view's row out of a committed event, and nobody ever told."""
    rows = CountingRows(where)
    store.append([placed("order-1")], rows)
    where.need_inline_views(7)
    sent = decided(envelope("order-2"), 0, status="parked", code="bug", error="no")
    for decisions in ([placed("order-2")], [placed("order-2"), sent]):
        for inline in (rows, None):
            with pytest.raises(Unavailable, match="a newer inline view exists"):
                store.append(decisions, inline)
    assert (store.head()[0], where.counted(), store.parked()) == (1, [(1, "order-1")], [])
    assert store.append([decided(envelope("order-2"), 0)], rows).head == 1, "what has no events touches no row"
    rows.number = 7
    assert store.append([placed("order-2")], rows).head == 2
    assert where.counted() == [(1, "order-1"), (2, "order-2")]


def typed(stream: str, types: Sequence[str]) -> Decision:
    """One command with an event of each of these types."""
    decision = placed(stream, len(types), len(types))
    events = [msgspec.structs.replace(event, type=name) for event, name in zip(decision.events, types, strict=True)]
    return msgspec.structs.replace(decision, events=tuple(events))
