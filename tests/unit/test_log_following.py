"""Those who follow the log over HTTP: what is read for them, and what is held for them in memory."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterator
from datetime import UTC, datetime
from typing import Any, cast

import msgspec
import pytest

import twofold.gateway.log.following
from twofold.gateway.http.threads import Threads
from twofold.gateway.log.following import FRAMES_BYTES, Place, SharedFrames
from twofold.kernel.errors import Neighbour, Unavailable
from twofold.kernel.log import Meta, Page, Recorded

AT = datetime(2026, 1, 1, tzinfo=UTC)


class Log:
    """So many events of so many bytes. `asked` are the positions that were asked for."""

    def __init__(self, count: int, size: int) -> None:
        self.count, self.size = count, size
        self.asked: list[int] = []
        self.is_away = False

    def page(self, after: int, limit: int, types: Collection[str] | None = None) -> Page:
        self.asked.append(after)
        if self.is_away:
            raise Unavailable(Neighbour.LOG)
        data = msgspec.Raw(b'"' + b"x" * self.size + b'"')
        meta = Meta("c", "p")
        events = [Recorded(at, "s-1", at, "Said", data, meta, AT) for at in range(after + 1, min(self.count, after + limit) + 1)]
        return Page(events, events[-1].position if events else after)


@pytest.fixture
def threads() -> Iterator[Threads]:
    threads = Threads(1)
    yield threads
    threads.close()


def shared(log: Log, threads: Threads) -> SharedFrames:
    return SharedFrames(cast(Any, log), threads)


async def walked(shared_frames: SharedFrames, place: Place) -> list[int]:
    """To the end of what is there; the positions that are said, in order."""
    said: list[int] = []
    while (frames := await shared_frames.at(place)).through > place.after:
        said += [int(line[4:]) for line in frames.text.split(b"\n") if line.startswith(b"id: ")]
        place = place._replace(after=frames.through)
    return said


@pytest.mark.parametrize(("count", "size", "limit"), [(250, 10, 100), (40, 20_000, 100), (7, FRAMES_BYTES, 3), (1, 1, 1)])
async def test_every_event_is_said_once_in_frames_no_larger_than_an_event_more(
    threads: Threads, count: int, size: int, limit: int
) -> None:
    log = Log(count, size)
    shared_frames = shared(log, threads)
    assert await walked(shared_frames, Place(0, limit, None)) == list(range(1, count + 1))
    assert len((await shared_frames.at(Place(0, limit, None))).text) < FRAMES_BYTES + size + 1_000


async def test_a_place_is_read_once_for_all_who_stand_there_and_who_come_a_moment_later(threads: Threads) -> None:
    log = Log(100, 2_000)
    shared_frames = shared(log, threads)
    many = await asyncio.gather(*[walked(shared_frames, Place(0, 100, None)) for _ in range(50)])
    assert all(one == list(range(1, 101)) for one in many)
    assert await walked(shared_frames, Place(0, 100, None)) == list(range(1, 101))
    assert log.asked.count(0) == 1
    log.count = 101
    assert (await shared_frames.at(Place(100, 100, None))).through == 101, "that there was nothing is not kept"


async def test_what_is_kept_is_bounded_in_bytes_and_in_time(threads: Threads, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(twofold.gateway.log.following, "KEPT_BYTES_MAX", 3 * FRAMES_BYTES)
    log = Log(60, 20_000)
    shared_frames = shared(log, threads)
    await walked(shared_frames, Place(0, 30, None))
    assert sum(len(frames.text) for frames, _ in shared_frames._kept.values()) == shared_frames._kept_bytes <= 3 * FRAMES_BYTES
    assert len(shared_frames._kept) > 1
    monkeypatch.setattr(twofold.gateway.log.following, "KEPT_SECONDS", 0.0)
    await walked(shared_frames, Place(0, 7, None))
    asked = len(log.asked)
    await shared_frames.at(Place(0, 7, None))
    assert len(log.asked) == asked + 1 and not shared_frames._reading


async def test_who_goes_away_does_not_take_what_others_wait_for_with_him_and_who_fails_is_asked_again(threads: Threads) -> None:
    log = Log(5, 10)
    shared_frames = shared(log, threads)
    first, second = (asyncio.create_task(shared_frames.at(Place(0, 10, None))) for _ in range(2))
    await asyncio.sleep(0)
    first.cancel()
    assert (await second).through == 5
    log.is_away = True
    for _ in range(2):
        with pytest.raises(Unavailable):
            await shared_frames.at(Place(5, 10, None))
    log.is_away = False
    assert (await shared_frames.at(Place(5, 10, None))).text == b""
    assert not shared_frames._reading
