"""What every bus promises about commands, on RabbitMQ and on the embedded table, with Dramatiq's own worker threads."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from threading import Event, Timer

import msgspec
import pytest

from tests.contract.buses import (
    LANES,
    AnyBus,
    EmbeddedBus,
    MemoryBus,
    RabbitBus,
    Seen,
    envelope,
    put_all,
    stream_on,
    until,
    working,
)
from tests.named import name_of
from twofold.kernel.envelope import Envelope, encode_batch
from twofold.kernel.errors import Neighbour, Unavailable


@pytest.fixture(params=["embedded", "rabbit", "memory"])
def lanes(request: pytest.FixtureRequest, tmp_path: Path, unique: str) -> Iterator[AnyBus]:
    if request.param == "embedded":
        found: AnyBus = EmbeddedBus(tmp_path / "log.db")
    elif request.param == "memory":
        found = MemoryBus()
    else:
        found = RabbitBus(request.getfixturevalue("broker_url"), unique)
    yield found
    found.close()


async def test_each_lane_is_first_in_first_out(lanes: AnyBus) -> None:
    """Commands of one stream take effect in the order in which they were accepted."""
    queue, seen = lanes.queue(), Seen()
    await queue.start()
    streams = [stream_on(lane, number) for lane in range(LANES) for number in range(2)]
    with working(lanes.broker(), seen):
        for chunk in range(10):
            some = [envelope(f"{chunk:02}{k:02}{s}", stream) for k in range(10) for s, stream in enumerate(streams)]
            await put_all(queue, some)
        await asyncio.to_thread(until, lambda: len(seen.ids) == 10 * 10 * len(streams), "every command")
    await queue.close()
    for stream in streams:
        assert seen.on(stream) == sorted(seen.on(stream))


async def test_what_gathers_is_executed_together(lanes: AnyBus) -> None:
    """The busier it gets, the larger the transactions become."""
    queue, seen = lanes.queue(), Seen()
    await queue.start()
    await put_all(queue, [envelope(f"{number:04}", stream_on(number % LANES)) for number in range(800)])
    with working(lanes.broker(), seen):
        await asyncio.to_thread(until, lambda: len(seen.ids) == 800, "every command")
    await queue.close()
    assert len(seen.calls) <= 40


async def test_what_was_accepted_is_durable(lanes: AnyBus) -> None:
    """202 means: whatever dies now, the command is in its lane."""
    queue = lanes.queue()
    await queue.start()
    await queue.put(envelope("one", stream_on(2)))
    await queue.close()
    until(lambda: lanes.depth(2) == 1, "the command in its lane", seconds=5)
    assert [lanes.depth(lane) for lane in (0, 1, 3)] == [0, 0, 0]


async def test_a_closed_queue_refuses(lanes: AnyBus) -> None:
    """A gateway that drains must not accept what it would not publish."""
    queue = lanes.queue()
    await queue.start()
    await queue.close()
    assert queue.refusal() is not None
    with pytest.raises(Unavailable):
        await queue.put(envelope("late", stream_on(0)))


async def test_a_delivery_that_raises_is_offered_again_and_neighbours_flow(lanes: AnyBus) -> None:
    """ "Could not decide" is never an ack and never a requeue: the lane waits in place, and only that lane."""
    queue, seen = lanes.queue(), Seen()
    tries: list[list[str]] = []
    bad = stream_on(1)

    def execute(envelopes: Sequence[Envelope]) -> None:
        if any(each.stream == bad for each in envelopes):
            tries.append([name_of(each.command_id) for each in envelopes if each.stream == bad])
            if len(tries) <= 4:
                raise Unavailable(Neighbour.LOG)
        seen(envelopes)

    await queue.start()
    await put_all(queue, [envelope(f"{number:03}", stream_on(number % LANES)) for number in range(80)])
    with working(lanes.broker(), execute):
        await asyncio.to_thread(until, lambda: len(seen.ids) >= 60, "the neighbours", 2.0)
        first_try = len(tries)
        await put_all(queue, [envelope(f"{number:03}", bad) for number in range(900, 910)])
        await asyncio.to_thread(until, lambda: len(seen.ids) == 90, "the lane that failed")
    await queue.close()
    assert first_try <= 4, "the neighbours had to wait for the lane that failed"
    assert tries[1] == tries[2] == tries[3] == tries[4], "not the same commands again"
    assert seen.on(bad) == sorted(seen.on(bad))
    assert [lanes.depth(lane) for lane in range(LANES)] == [0] * LANES


async def test_a_bug_in_execute_is_not_an_ack(lanes: AnyBus, caplog: pytest.LogCaptureFixture) -> None:
    """Dramatiq acks a message whose actor raised; and payloads never reach the logs."""
    queue, seen = lanes.queue(), Seen()
    failures: list[int] = []

    def execute(envelopes: Sequence[Envelope]) -> None:
        if len(failures) < 2:
            failures.append(1)
            raise KeyError(f"no such thing as {bytes(envelopes[0].data)!r}")
        seen(envelopes)

    await queue.start()
    await queue.put(envelope("one", stream_on(0), text="SECRET"))
    with caplog.at_level("DEBUG"), working(lanes.broker(), execute):
        await asyncio.to_thread(until, lambda: seen.ids == ["one"], "the command, after two bugs")
    await queue.close()
    assert "SECRET" not in caplog.text


async def test_what_cannot_be_decoded_goes_to_the_dead_letters_alone(lanes: AnyBus) -> None:
    """One message nobody can read must not stop its lane, nor vanish."""
    queue, seen = lanes.queue(), Seen()
    await queue.start()
    await queue.put(envelope("before", stream_on(3)))
    lanes.put_raw(3, b'{"not": "a batch"}')
    lanes.put_raw(3, b"\xff\x00")
    lanes.put_raw(3, encode_batch([msgspec.structs.replace(envelope("x", stream_on(3)), command_id="no UUID")]))
    await queue.put(envelope("after", stream_on(3)))
    with working(lanes.broker(), seen):
        await asyncio.to_thread(until, lambda: seen.ids == ["before", "after"], "both commands")
        await asyncio.to_thread(until, lambda: lanes.dead() == 3, "the dead letters")
    await queue.close()
    assert lanes.depth(3) == 0


async def test_only_held_lanes_are_consumed(lanes: AnyBus) -> None:
    """A lane belongs to whoever holds its lease."""
    queue, seen = lanes.queue(), Seen()
    await queue.start()
    broker = lanes.broker()
    with working(broker, seen, lanes=[0]):
        await put_all(queue, [envelope(f"lane{lane}", stream_on(lane)) for lane in range(LANES)])
        await asyncio.to_thread(until, lambda: seen.ids == ["lane0"], "the held lane")
        await asyncio.sleep(0.3)
        assert seen.ids == ["lane0"]
        broker.hold([1, 2])
        await asyncio.to_thread(until, lambda: set(seen.ids) == {"lane0", "lane1", "lane2"}, "the lanes held next")
    await queue.close()
    assert lanes.depth(3) == 1


async def test_lanes_that_move_between_brokers_lose_nothing_and_keep_their_order(lanes: AnyBus) -> None:
    """Members of a pool come and go under load; each command is executed, and first executed in its turn."""
    queue, seen, total = lanes.queue(), Seen(), 1_500

    def slowly(envelopes: Sequence[Envelope]) -> None:
        time.sleep(0.003)
        seen(envelopes)

    async def put_steadily() -> None:
        for start in range(0, total, 10):
            await put_all(queue, [envelope(f"{n:05}", stream_on(n % LANES)) for n in range(start, start + 10)])

    await queue.start()
    one, two = lanes.broker(), lanes.broker()
    with working(one, slowly, lanes=[]), working(two, slowly, lanes=[]):
        putting = asyncio.create_task(put_steadily())
        moves = 0
        while not putting.done() or moves < 8:
            mine = [lane for lane in range(LANES) if (lane + moves) % 2] if moves % 3 else range(LANES)
            one.hold(mine)
            two.hold([lane for lane in range(LANES) if lane not in mine])
            moves += 1
            await asyncio.sleep(0.1)
        await putting
        await asyncio.to_thread(until, lambda: len(seen.ids) == total, "every command")
    await queue.close()
    for lane in range(LANES):
        assert seen.on(stream_on(lane)) == sorted(seen.on(stream_on(lane)))
    assert [lanes.depth(lane) for lane in range(LANES)] == [0] * LANES


async def test_a_lane_has_one_delivery_in_flight(lanes: AnyBus) -> None:
    """Two threads of a process never run the same aggregate at once."""
    queue, seen = lanes.queue(), Seen()
    busy: set[str] = set()
    overlaps: list[str] = []

    def execute(envelopes: Sequence[Envelope]) -> None:
        streams = {each.stream for each in envelopes}
        overlaps.extend(streams & busy)
        busy.update(streams)
        time.sleep(0.005)
        busy.difference_update(streams)
        seen(envelopes)

    await queue.start()
    with working(lanes.broker(), execute):
        for start in range(0, 400, 20):
            await put_all(queue, [envelope(f"{n:04}", stream_on(n % LANES)) for n in range(start, start + 20)])
        await asyncio.to_thread(until, lambda: len(seen.ids) == 400, "every command")
    await queue.close()
    assert overlaps == []


async def test_stopping_finishes_what_is_executed_and_settles_it(lanes: AnyBus) -> None:
    """A drained worker leaves no work behind that its successor would repeat."""
    queue, seen, entered, leave = lanes.queue(), Seen(), Event(), Event()

    def execute(envelopes: Sequence[Envelope]) -> None:
        entered.set()
        assert leave.wait(10)
        seen(envelopes)

    await queue.start()
    await queue.put(envelope("one", stream_on(0)))
    await queue.close()
    with working(lanes.broker(), execute):
        assert await asyncio.to_thread(entered.wait, 10)
        Timer(0.2, leave.set).start()
    assert seen.ids == ["one"]
    # The table removes with its next commit: "one" may come again after a crash, but not once "two" is in.
    queue, again = lanes.queue(), Seen()
    await queue.start()
    await queue.put(envelope("two", stream_on(0)))
    await queue.close()
    with working(lanes.broker(), again):
        await asyncio.to_thread(until, lambda: "two" in again.ids, "the next command")
    assert again.ids == ["two"]
