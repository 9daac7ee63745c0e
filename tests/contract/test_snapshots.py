"""States kept beside the log: a beginning for whoever has none, never the truth. On every log."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec
import pytest
from structlog.testing import capture_logs

import twofold.eventstore.postgres.append
import twofold.eventstore.sqlite.append
import twofold.testing.memory_log
import twofold.workers.deciding
from tests.contract.diaries import NO, NOTHING, Pages, Written, domain, worker, written
from tests.contract.eventstores import Place, SameViews, decided, envelope, last_event, place, placed
from twofold.kernel.codec import Codec
from twofold.kernel.errors import Conflict
from twofold.kernel.log import Decision, LastEvent, Loaded, Recorded, Snapshot
from twofold.kernel.ports import Log

STREAM = "diary-a"


@pytest.fixture(params=["postgres", "sqlite", "memory"])
def where(request: pytest.FixtureRequest) -> Iterator[Place]:
    with place(request.param, request) as opened:
        yield opened


def snapshot(log: Log, version: int, stream: str = "order-1", shape: str = "round", state: bytes = b'{"n":1}') -> Snapshot:
    """As somebody keeps it who has folded the stream up to there."""
    return Snapshot(stream, shape, last_event(log.stream(stream)[version - 1]), state)


def kept(log: Log, shape: str, stream: str = STREAM) -> Snapshot | None:
    return log.read({stream: None}, {stream: shape}).snapshots.get(stream)


def shape(**changed: Any) -> str:
    return Codec(domain(**changed)).states["diary"].shape


class NoRows(SameViews):
    """An inline projection with nothing to write."""

    def hears(self, events: object) -> bool:
        return True

    def lock(self, connection: Any, events: Any) -> None: ...

    def write(self, connection: Any, locked: Any, events: Any) -> None: ...


class Watched:
    """A log that notes how many events are read of it, and at how many times."""

    def __init__(self, log: Log) -> None:
        self._log = log
        self.outcomes, self.append = log.outcomes, log.append
        self.reads: list[int] = []

    def read(self, after: Mapping[str, LastEvent | None], shapes: Mapping[str, str] | None = None) -> Loaded:
        loaded = self._log.read(after, shapes)
        self.reads.append(sum(map(len, loaded.events.values())))
        return loaded


def test_a_snapshot_stands_for_the_events_up_to_its_own(where: Place) -> None:
    """Of its shape alone, for whoever knows nothing of the stream, and beside other streams."""
    log = where.open()
    log.append([placed("order-1", 3, 3), placed("order-2", 2, 2)])
    first = snapshot(log, 2)
    log.append([placed("order-3")], snapshots=[first])
    events = {stream: log.stream(stream) for stream in ("order-1", "order-2", "order-3")}
    everything = dict.fromkeys([*events, "order-4"])
    with_it = {**events, "order-1": events["order-1"][2:]}
    assert log.read(everything, dict.fromkeys(everything, "round")) == Loaded(with_it, {"order-1": first})
    assert log.read(everything, {"order-1": "square", "order-2": "round"}) == Loaded(events, {})
    assert log.read(everything) == Loaded(events, {})
    known = {"order-1": last_event(events["order-1"][0]), "order-2": None}
    assert log.read(known, dict.fromkeys(events, "round")) == Loaded(
        {"order-1": events["order-1"][1:], "order-2": events["order-2"]}, {}
    )


def test_a_snapshot_of_all_there_is_comes_alone_and_replaces_the_one_before(where: Place) -> None:
    """However large or strange it is; on every way of appending, also of commands without events."""
    log = where.open()
    log.append([placed("order-1", 3, 3)])
    large = msgspec.json.encode({"text": "b\u00e4r \0 \u2028" * 20_000})
    for each in (snapshot(log, 1), snapshot(log, 1, "order-1", "square")):
        log.append([placed(f"other-{each.shape}")], snapshots=[each])
    assert kept(log, "round", "order-1") is None, "the last one is kept"
    parked = decided(envelope("order-4"), status="parked", code="bug", error="a traceback")
    ways: list[tuple[bytes, Decision, Any]] = [
        (b"1", placed("order-3", 0, 0), None),
        (large, placed("order-2"), None),
        (b"2", parked, None),
        (b"3", placed("order-5"), NoRows()),
    ]
    for state, sent, inline in ways:
        last = snapshot(log, 3, state=state)
        log.append([sent], inline, [last])
        assert log.read({"order-1": None}, {"order-1": "round"}) == Loaded({}, {"order-1": last})
    late = snapshot(log, 3, state=b"4")
    with pytest.raises(Conflict):
        log.append([placed("order-5", 3)], snapshots=[late])
    assert log.version("order-5") == 1 and kept(log, "round", "order-1") in (last, late), "true, whatever was refused"


def test_a_snapshot_beside_its_log_is_none_and_is_replaced(where: Place) -> None:
    """A backup was restored under it: the same version is another event, or none. Its neighbours are read as ever."""
    log = where.open()
    log.append([placed("order-1"), placed("order-2")])
    log.append([placed("order-1", 3, 2)])
    lost = snapshot(log, 3)
    log.append([placed("order-4")], snapshots=[lost, snapshot(log, 1, "order-2")])
    where.lose_after(2)
    shapes = {"order-1": "round", "order-2": "round"}
    for again in ([], [placed("order-1", 3, 2)], [placed("order-1", 4)]):
        log.append(again)
        found = log.read(dict.fromkeys(shapes), shapes)
        assert list(found.snapshots) == ["order-2"] and found.events == {"order-1": log.stream("order-1")}
    right = snapshot(log, 2)
    log.append([placed("order-5")], snapshots=[right])
    assert kept(log, "round", "order-1") == right


def test_what_is_read_at_once_is_bounded_and_goes_on_where_it_ended(where: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """450,000 events of one stream took 879 MiB of a worker, for every command."""
    for module in (twofold.eventstore.postgres.append, twofold.eventstore.sqlite.append, twofold.testing.memory_log):
        monkeypatch.setattr(module, "READ_BYTES_MAX", 6_000)
    log = where.open()
    lengths = {"order-1": 50, "order-2": 1, "order-3": 30, "order-4": 0}
    for stream, count in lengths.items():
        log.append([placed(stream, version) for version in range(1, count + 1)])
    log.append([placed("order-5")], snapshots=[snapshot(log, 7), snapshot(log, 1, "order-2")])
    found: dict[str, list[Recorded]] = {stream: [] for stream in lengths}
    asked: dict[str, LastEvent | None] = dict.fromkeys(lengths)
    snapshots: dict[str, Snapshot] = {}
    pages = 0
    while asked:
        page = log.read(asked, dict.fromkeys(lengths, "round"))
        assert 0 < sum(map(len, page.events.values())) <= 6_000 // 256 + len(lengths)
        snapshots |= page.snapshots
        for stream in asked:
            found[stream] += page.events.get(stream, [])
        last = {stream: last_event(events[-1]) for stream, events in found.items() if events}
        begun = {stream: snapshots[stream].last for stream in snapshots}
        asked = {stream: (begun | last).get(stream) for stream in page.unread}
        pages += 1
    assert pages > 2 and set(snapshots) == {"order-1", "order-2"}
    expected = {"order-1": range(8, 51), "order-2": [], "order-3": range(1, 31), "order-4": []}
    assert {stream: [event.version for event in events] for stream, events in found.items()} == {
        stream: list(versions) for stream, versions in expected.items()
    }


def test_a_worker_that_knows_nothing_begins_with_what_another_has_kept(where: Place) -> None:
    """And decides as that one does; in the commit of the command after so many events it is kept."""
    log = where.open()
    first = worker(log, snapshot_every=5)
    for word in (1, 2, 3):
        first.execute([written(word, count=2)])
        assert kept(log, shape()) is None
    first.execute([written(NOTHING)])
    there = kept(log, shape())
    assert there is not None and there.last == last_event(log.stream(STREAM)[-1])
    watched = Watched(log)
    (outcome,) = worker(watched, snapshot_every=5).execute([written(4)])
    assert (outcome.version, watched.reads) == (7, [0])
    words = [msgspec.json.decode(event.data, type=Written).word for event in log.stream(STREAM)]
    assert words == [1, 1_001, 2_002, 3_002, 4_003, 5_003, 6_004]


@pytest.mark.parametrize("word", [NO, NOTHING, 7])
def test_what_took_long_to_fold_is_kept_also_when_nothing_comes_of_it(where: Place, word: int) -> None:
    """Or every refused command on it would take as long again."""
    log = where.open()
    worker(log, snapshot_every=0).execute([written(1, count=40)])
    assert kept(log, shape()) is None, "never means never"
    (outcome,) = worker(log, snapshot_every=30).execute([written(word)])
    there = kept(log, shape())
    assert there is not None and there.last.version == 40
    (again,) = worker(log, snapshot_every=30).execute([written(word)])
    assert (again.status, again.code) == (outcome.status, outcome.code)


@pytest.mark.parametrize("planted", ["shape", "garbage", "type", "lost"])
def test_a_snapshot_that_is_none_changes_nothing_and_is_overwritten(where: Place, planted: str) -> None:
    """Another version's, one that a disk has eaten, one whose events were lost: the stream is folded from its beginning."""
    log = where.open()
    worker(log, snapshot_every=0).execute([written(1, count=6)])
    true, at = msgspec.json.encode(Pages((666,))), log.stream(STREAM)[5].recorded_at
    wrong = {
        "shape": snapshot(log, 6, STREAM, shape(revision=2), true),
        "garbage": snapshot(log, 6, STREAM, shape(), b'"\\u0000garbage"'),
        "type": snapshot(log, 6, STREAM, shape(), b'{"words": ["many"]}'),
        "lost": Snapshot(STREAM, shape(), LastEvent(6, "another", at, 6), true),
    }
    log.append([placed("order-1")], snapshots=[wrong[planted]])
    cold = worker(log, snapshot_every=5)
    (refused, outcome) = cold.execute([written(NO), written(2)])
    assert refused.details == {"words": [1, 1_001, 2_001, 3_001, 4_001, 5_001]} and outcome.version == 7
    there = kept(log, shape())
    assert there is not None and there.state == msgspec.json.encode(Pages((1, 1_001, 2_001, 3_001, 4_001, 5_001)))


def test_a_worker_of_before_appends_beside_one_that_keeps_snapshots(where: Place) -> None:
    """In a rolling deploy one of them knows no snapshots: what it appends is folded onto them."""
    log = where.open()
    new, old = worker(log, snapshot_every=2), worker(log, snapshot_every=0)
    for word in range(1, 9):
        (old if word % 2 else new).execute([written(word)])
    log.append([placed("order-1")], snapshots=[snapshot(log, 3, STREAM, shape(), b'{"words":[1,1002,2003]}')])
    (refused,) = worker(log, snapshot_every=2).execute([written(NO)])
    assert refused.details == {"words": [1_000 * number + number + 1 for number in range(8)]}


def test_a_state_too_large_to_be_stored_is_told_once(where: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """For its kind of stream, not for every command."""
    monkeypatch.setattr(twofold.workers.deciding, "SNAPSHOT_BYTES_MAX", 20)
    log = where.open()
    one = worker(log, snapshot_every=2)
    with capture_logs() as logs:
        for word in range(1, 9):
            one.execute([written(word, diary) for diary in "ab"])
    told = [line for line in logs if line["event"].startswith("no snapshot")]
    assert [(line["decider"], line["reason"]) for line in told] == [("diary", "larger than 20 bytes")]
    there = kept(log, shape())
    assert there is not None and there.last.version == 2, "what is small enough is stored"


def test_a_state_too_large_for_its_share_is_told_once_and_decided_all_the_same(where: Place) -> None:
    """It was folded anew for every command, and nobody could know."""
    log = where.open()
    mine = worker(log, snapshot_every=0)
    mine._states._bytes_max = 200
    with capture_logs() as logs:
        outcomes = [mine.execute([written(word)])[0] for word in range(1, 12)]
    assert [outcome.version for outcome in outcomes] == list(range(1, 12))
    told = [line["decider"] for line in logs if line["event"] == "state too large to be kept in memory"]
    assert told == ["diary"]


def test_without_its_snapshots_a_log_is_the_same(where: Place) -> None:
    """They may be dropped at any time: that changes nothing but how long the next command takes."""
    log = where.open()
    commands: Sequence[Any] = [written(word) for word in (1, 2, 3, 4, 5)]
    worker(log, snapshot_every=2).execute(commands[:3])
    worker(log, snapshot_every=2).execute(commands[3:])
    assert kept(log, shape()) is not None
    where.drop_snapshots()
    assert kept(log, shape()) is None
    (outcome,) = worker(log, snapshot_every=2).execute([written(NO)])
    assert outcome.details == {"words": [1_000 * number + number + 1 for number in range(5)]}
