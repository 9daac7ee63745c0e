"""How commands gather and leave: at once after a pause, together under load, never overtaking. A publisher in memory."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime

import msgspec
import pytest

import twofold.bus.lane
import twofold.bus.outbox
from tests.named import id_of, name_of
from twofold.bus.outbox import Outbox
from twofold.kernel.envelope import Envelope, decode_batch
from twofold.kernel.errors import Neighbour, Unavailable
from twofold.kernel.ids import lane_of
from twofold.kernel.lanes import Epoch

NOW = datetime(2026, 1, 1, tzinfo=UTC)


class Published:
    """A Publisher: a batch is durable when `durable` is set; the first `failures` attempts fail."""

    def __init__(self, failures: int = 0) -> None:
        self.batches: list[tuple[int, list[str]]] = []
        self.attempts: list[bytes] = []
        self.durable = asyncio.Event()
        self.durable.set()
        self.failures = failures

    async def start(self) -> None: ...

    async def close(self) -> None: ...

    def refusal(self) -> Unavailable | None:
        return None

    async def publish(self, lane: int, body: bytes) -> None:
        self.attempts.append(body)
        if len(self.attempts) <= self.failures:
            raise Unavailable(Neighbour.BROKER)
        self.batches.append((lane, [name_of(each.command_id) for each in decode_batch(body)]))
        await self.durable.wait()


def envelope(name: str, stream: str = "note-1", data: bytes = b"{}") -> Envelope:
    return Envelope(id_of(name), "Note", stream, msgspec.Raw(data), "f" * 32, NOW)


async def started(published: Published, lanes: int = 1) -> Outbox:
    outbox = Outbox(published, Epoch(0, lanes))
    await outbox.start()
    await asyncio.sleep(0.05)
    return outbox


def ids(published: Published) -> list[str]:
    return [command_id for _, batch in published.batches for command_id in batch]


async def test_the_first_command_after_a_pause_leaves_at_once() -> None:
    """Latency is paid under load only."""
    published = Published()
    outbox = await started(published)
    for number in range(3):
        outbox.put(envelope(str(number)))
        for _ in range(3):
            await asyncio.sleep(0)  # a few turns of the loop, and no time
        assert ids(published)[-1:] == [str(number)]
        await asyncio.sleep(0.05)
    await outbox.close()


async def test_what_gathers_while_a_publish_is_unconfirmed_leaves_as_one() -> None:
    published = Published()
    outbox = await started(published)
    published.durable.clear()
    futures = [outbox.put(envelope("first"))]
    await asyncio.sleep(0.03)
    futures += [outbox.put(envelope(f"{n}")) for n in range(50)]
    await asyncio.sleep(0.05)
    assert [len(batch) for _, batch in published.batches] == [1], "a second publish overtook an unconfirmed one"
    assert not any(future.done() for future in futures), "accepted before it was durable"
    published.durable.set()
    await asyncio.gather(*futures)
    assert [len(batch) for _, batch in published.batches] == [1, 50]
    await outbox.close()


async def test_batches_are_bounded_in_count_and_bytes() -> None:
    published = Published()
    outbox = await started(published)
    many = [outbox.put(envelope(f"{n}")) for n in range(1_200)]
    large = [outbox.put(envelope(f"large {n}", data=b'"' + b"x" * 400_000 + b'"')) for n in range(4)]
    await asyncio.gather(*many, *large)
    sizes = [len(batch) for _, batch in published.batches]
    assert max(sizes) <= twofold.bus.lane.BATCH_COMMANDS_MAX
    assert sum(sizes) == 1_204
    assert max(len(body) for body in published.attempts) <= twofold.bus.lane.BATCH_BYTES_MAX
    await outbox.close()


async def test_a_failed_publish_is_repeated_with_the_same_body() -> None:
    """Same ids: what was durable after all is a duplicate, which the inbox knows."""
    published = Published(failures=3)
    outbox = await started(published)
    first = outbox.put(envelope("one"))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    second = outbox.put(envelope("two"))
    await asyncio.gather(first, second)
    assert published.attempts[0] == published.attempts[3]
    assert ids(published) == ["one", "two"]
    await outbox.close()


async def test_what_does_not_become_durable_in_time_fails_and_the_next_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(twofold.bus.outbox, "ACCEPT_SECONDS_MAX", 0.2)
    published = Published()
    outbox = await started(published)
    published.durable.clear()
    first = outbox.put(envelope("one"))
    with pytest.raises(Unavailable):
        await first
    published.durable.set()
    await outbox.put(envelope("two"))
    await outbox.close()


async def test_who_could_not_be_reached_is_named_and_so_is_overload() -> None:
    """An operator who reads "lanes" looks at the wrong thing when the broker blocks its publishers."""

    class Blocked(Published):
        async def publish(self, lane: int, body: bytes) -> None:
            raise Unavailable(Neighbour.BROKER, "blocks publishers", is_overload=True)

    twofold.bus.outbox.ACCEPT_SECONDS_MAX, kept = 0.2, twofold.bus.outbox.ACCEPT_SECONDS_MAX
    try:
        outbox = await started(Blocked())
        with pytest.raises(Unavailable) as refused:
            await outbox.put(envelope("one"))
    finally:
        twofold.bus.outbox.ACCEPT_SECONDS_MAX = kept
    assert (refused.value.neighbour, refused.value.reason, refused.value.is_overload) == ("broker", "blocks publishers", True)
    await outbox.close()


async def test_a_full_outbox_refuses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Better a 503 now than a promise nobody can keep."""
    monkeypatch.setattr(twofold.bus.outbox, "PENDING_COMMANDS_MAX", 3)
    published = Published()
    outbox = await started(published)
    published.durable.clear()
    kept = [outbox.put(envelope(f"{n}")) for n in range(3)]
    assert (refusal := outbox.refusal()) is not None and refusal.is_overload, "not to be mistaken for a broker that is away"
    with pytest.raises(Unavailable):
        await outbox.put(envelope("one too many"))
    published.durable.set()
    await asyncio.gather(*kept)
    assert outbox.refusal() is None
    await outbox.close()


async def test_room_is_counted_in_bytes_and_given_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """A few large commands fill a gateway's memory as well as many small ones; what is durable takes none of it."""
    large = b'"' + b"x" * 998 + b'"'
    monkeypatch.setattr(twofold.bus.outbox, "PENDING_BYTES_MAX", 2 * (len(large) + twofold.bus.lane.ENVELOPE_BYTES))
    published = Published()
    outbox = await started(published)
    for turn in range(3):
        published.durable.clear()
        kept = [outbox.put(envelope(f"{turn}/{n}", data=large)) for n in range(2)]
        with pytest.raises(Unavailable) as refused:
            await outbox.put(envelope("one too many", data=b"{}"))
        assert refused.value.is_overload
        published.durable.set()
        await asyncio.gather(*kept)
    assert len(ids(published)) == 6
    await outbox.close()


async def test_a_command_nobody_waits_for_any_more_is_published_all_the_same() -> None:
    published = Published()
    outbox = await started(published)
    outbox.put(envelope("one")).cancel()
    await outbox.put(envelope("two"))
    assert ids(published) == ["one", "two"]
    await outbox.close()


async def test_closing_publishes_what_waits() -> None:
    published = Published()
    outbox = await started(published)
    futures = [outbox.put(envelope(f"{n}")) for n in range(20)]
    await outbox.close()
    await asyncio.gather(*futures)
    assert len(ids(published)) == 20


async def test_a_stream_keeps_to_its_lane_and_its_order() -> None:
    published = Published()
    outbox = await started(published, lanes=4)
    streams: Sequence[str] = [f"note-{n}" for n in range(12)]
    await asyncio.gather(*[outbox.put(envelope(f"{stream}/{n:02}", stream)) for n in range(20) for stream in streams])
    for stream in streams:
        found = [(lane, each) for lane, batch in published.batches for each in batch if each.startswith(f"{stream}/")]
        assert found == [(lane_of(stream, 4), f"{stream}/{n:02}") for n in range(20)]
    await outbox.close()


class OneStuckLane(Published):
    """Lane 0 never becomes durable; the others do at once."""

    async def publish(self, lane: int, body: bytes) -> None:
        await super().publish(lane, body)
        if lane == 0:
            await asyncio.Event().wait()


def streams_of_lanes(lanes: int) -> list[str]:
    """A stream on each of these lanes."""
    named = {lane_of(f"note-{n}", lanes): f"note-{n}" for n in range(100)}
    return [named[lane] for lane in range(lanes)]


async def test_a_lane_that_is_stuck_takes_no_room_from_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    """One lane without a quorum must not make every gateway refuse everything."""
    monkeypatch.setattr(twofold.bus.outbox, "PENDING_COMMANDS_MAX", 20)
    outbox = await started(OneStuckLane(), lanes=2)
    stuck, well = streams_of_lanes(2)
    waiting = [outbox.put(envelope(f"{n}", stuck)) for n in range(30)]
    refused = [one for one in waiting if one.done()]
    assert len(refused) == 20, "half of the room is its share"
    assert all(isinstance(one.exception(), Unavailable) for one in refused)
    assert outbox.refusal() is None
    await asyncio.wait_for(outbox.put(envelope("well", well)), 1.0)
    monkeypatch.setattr(twofold.bus.outbox, "CLOSE_SECONDS_MAX", 0.1)
    await outbox.close()
    await asyncio.gather(*waiting, return_exceptions=True)


async def test_how_long_a_command_may_wait_is_counted_from_when_it_was_put(monkeypatch: pytest.MonkeyPatch) -> None:
    """Behind a stuck lane the last of a full outbox would be told after as many times as there are batches before it."""
    monkeypatch.setattr(twofold.bus.outbox, "ACCEPT_SECONDS_MAX", 0.4)
    monkeypatch.setattr(twofold.bus.outbox, "BATCH_COMMANDS_MAX", 1)
    outbox = await started(OneStuckLane(), lanes=2)
    stuck, _ = streams_of_lanes(2)
    waiting = [outbox.put(envelope(f"{n}", stuck)) for n in range(10)]
    done, late = await asyncio.wait(waiting, timeout=1.0)
    assert not late and all(isinstance(one.exception(), Unavailable) for one in done)
    monkeypatch.setattr(twofold.bus.outbox, "CLOSE_SECONDS_MAX", 0.1)
    await outbox.close()
