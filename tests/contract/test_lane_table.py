"""What the embedded queue's table promises."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.contract.buses import envelope
from tests.named import name_of
from twofold.bus.embedded.transport import renumber
from twofold.database.sqlite_file import SqliteFile
from twofold.eventstore.lane_table import SqliteLaneTable
from twofold.eventstore.migrate import migrate
from twofold.kernel.envelope import decode_batch, encode_batch
from twofold.kernel.errors import Misconfigured, Unavailable
from twofold.kernel.ids import lane_of
from twofold.kernel.lanes import LaneTable
from twofold.testing.memory_lanes import MemoryLaneTable

REMOVED_SECONDS_MAX = 5.0


@pytest.fixture
def path(tmp_path: Path) -> Path:
    migrate(f"sqlite:///{tmp_path / 'log.db'}")
    return tmp_path / "log.db"


@pytest.fixture
def file(path: Path) -> Iterator[SqliteFile]:
    opened = SqliteFile(path)
    yield opened
    opened.close()


@pytest.fixture(params=["sqlite", "memory"])
def lanes(request: pytest.FixtureRequest) -> LaneTable:
    return MemoryLaneTable() if request.param == "memory" else SqliteLaneTable(request.getfixturevalue("file"))


def dead_letters(lanes: LaneTable, request: pytest.FixtureRequest) -> list[tuple[int, bytes, str]]:
    if isinstance(lanes, MemoryLaneTable):
        return lanes.dead_letters
    file: SqliteFile = request.getfixturevalue("file")
    return [(lane, body, reason) for lane, body, reason in file.fetch("SELECT lane, body, reason FROM dead_letters")]


def wait_until_empty(lanes: LaneTable) -> None:
    deadline = time.monotonic() + REMOVED_SECONDS_MAX
    while lanes.depths():
        assert time.monotonic() < deadline, f"not removed: {lanes.depths()}"
        time.sleep(0.01)


def test_batches_are_taken_in_the_order_they_were_put(lanes: LaneTable) -> None:
    """First in, first out: commands of one stream take effect in the order in which they were accepted."""
    lanes.put([(1, b"first"), (0, b"second"), (1, b"\0\xff")])
    lanes.put([(1, b"fourth")])
    first = lanes.take(0, 3)
    assert [(lane, body) for _, lane, body in first] == [(1, b"first"), (0, b"second"), (1, b"\0\xff")]
    assert [(lane, body) for _, lane, body in lanes.take(first[-1][0], 3)] == [(1, b"fourth")]
    assert lanes.depths() == {0: 1, 1: 3}
    assert lanes.take(0, 3) == first


def test_what_is_done_is_removed_soon_and_its_id_never_used_again(lanes: LaneTable) -> None:
    """A consumer asks for "above the last one it took": a second batch under an old number would wait for ever."""
    lanes.put([(0, b"a"), (0, b"b")])
    last = lanes.take(0, 10)[-1][0]
    lanes.done([batch_id for batch_id, _, _ in lanes.take(0, 10)])
    wait_until_empty(lanes)
    lanes.put([(0, b"c")])
    assert [body for _, _, body in lanes.take(last, 10)] == [b"c"]


def test_what_was_put_and_not_done_is_there_after_a_restart(path: Path) -> None:
    """An accepted command is as durable as an event; a finished one that comes again is only a duplicate."""
    file = SqliteFile(path)
    lanes = SqliteLaneTable(file)
    lanes.put([(0, b"a"), (1, b"b"), (0, b"c")])
    lanes.done([lanes.take(0, 1)[0][0]])
    file.close()
    file = SqliteFile(path)
    assert [(lane, body) for _, lane, body in SqliteLaneTable(file).take(0, 10)] == [(1, b"b"), (0, b"c")]
    file.close()


def test_what_a_process_left_is_told_from_what_came_later(path: Path) -> None:
    """It may hold what ended that process."""
    before = SqliteFile(path)
    first = SqliteLaneTable(before)
    assert first.inherited_through() == 0
    first.put([(0, b"one"), (1, b"two")])
    assert first.inherited_through() == 0
    before.close()
    after = SqliteFile(path)
    second = SqliteLaneTable(after)
    (_, (last, _, _)) = second.take(0, 10)
    second.put([(0, b"three")])
    assert second.inherited_through() == last
    after.close()


def test_what_waits_goes_to_the_new_lanes_in_order(lanes: LaneTable) -> None:
    """Nothing accepted is lost when there are more lanes, or fewer; what nobody can read is kept for whoever buries it."""
    with pytest.raises(Misconfigured):
        lanes.count()
    batches = [[envelope(f"{number}{stream}", stream) for stream in ("a", "b", "c", "d", "e")] for number in range(3)]
    lanes.put([(3, encode_batch(batch)) for batch in batches] + [(5, b"not a batch")])
    for count in (8, 2, 3):
        renumber(lanes, count)
        taken = lanes.take(0, 100)
        found = [(lane, each) for _, lane, body in taken if body != b"not a batch" for each in decode_batch(body)]
        (unreadable,) = [lane for _, lane, body in taken if body == b"not a batch"]
        assert unreadable < count
        assert all(lane == lane_of(each.stream, count) for lane, each in found)
        for stream in ("a", "b", "c", "d", "e"):
            assert [name_of(each.command_id) for _, each in found if each.stream == stream] == [f"{n}{stream}" for n in range(3)]
    assert lanes.count() == 3


def test_what_cannot_be_decoded_is_kept_apart(lanes: LaneTable, request: pytest.FixtureRequest) -> None:
    """It blocks nobody, and nobody has to guess what it was."""
    lanes.put([(3, b"not json"), (3, b"[]")])
    bad = lanes.take(0, 1)[0][0]
    lanes.bury(bad, "not JSON")
    lanes.bury(bad, "twice")
    assert [body for _, _, body in lanes.take(0, 10)] == [b"[]"]
    assert dead_letters(lanes, request) == [(3, b"not json", "not JSON")]


def test_a_removal_that_failed_is_made_up_for_by_the_next(file: SqliteFile) -> None:
    """Nobody waits for `done`, so nobody would repeat it; the table must not keep what is finished for ever."""
    lanes = SqliteLaneTable(file)
    lanes.put([(0, b"a"), (0, b"b")])
    first, second = (batch_id for batch_id, _, _ in lanes.take(0, 10))
    file.write(lambda writer: writer.execute("ALTER TABLE lanes RENAME TO elsewhere").close())
    lanes.done([first])
    file.write(lambda writer: None)
    file.write(lambda writer: writer.execute("ALTER TABLE elsewhere RENAME TO lanes").close())
    assert lanes.depths() == {0: 2}
    lanes.done([second])
    wait_until_empty(lanes)


def test_a_closed_file_accepts_nothing(path: Path) -> None:
    """Better refused than believed."""
    file = SqliteFile(path)
    lanes = SqliteLaneTable(file)
    file.close()
    with pytest.raises(Unavailable):
        lanes.put([(0, b"a")])
    with pytest.raises(Unavailable):
        lanes.done([1])
    with pytest.raises(Unavailable):
        lanes.take(0, 1)
