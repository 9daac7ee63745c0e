"""Reads that come together are read together, and each view's apart from every other's."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, cast

import pytest

import twofold.gateway.queries.consistency
from twofold.gateway.http.headers import Token
from twofold.gateway.http.threads import IN_FLIGHT_MAX, Threads
from twofold.gateway.queries.consistency import LAST_SECONDS, ConsistentReads
from twofold.gateway.queries.progress import WOKEN_AT_ONCE, ProgressBoard
from twofold.kernel.errors import Unavailable
from twofold.kernel.rows import Found, Query, RowPage
from twofold.kernel.view import SliceId

READERS = 200


class Rows:
    """Notes the keys that each look-up asks for."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, list[str]]] = []
        self.position = 7

    def get(self, view: str, keys: Sequence[str]) -> list[Found]:
        self.asked.append((view, list(keys)))
        return [Found(None, SliceId(view, 1, len(key)), self.position) for key in keys]


class View:
    sync = "async"
    is_stored = True

    def __init__(self, name: str) -> None:
        self.name = name
        self.follows = (name,)


async def never(view: str) -> bool:
    return False


def test_reads_of_one_moment_are_one_look_up_for_each_view() -> None:
    """A row by its key costs a hundredth of a look-up of its own."""
    rows, threads = Rows(), Threads()
    views = [cast(Any, View(name)) for name in ("one", "two")]

    async def read() -> list[Any]:
        pools = {view.name: threads for view in views}
        reads = ConsistentReads(cast(Any, rows), cast(Any, None), cast(Any, None), ProgressBoard(), pools, pools, never)
        return await asyncio.gather(*(reads.row(view, "k" * (1 + n % 9)) for n in range(READERS) for view in views))

    readings = asyncio.run(read())
    threads.close()
    assert [reading.answer.slice for reading in readings] == [
        SliceId(view.name, 1, 1 + n % 9) for n in range(READERS) for view in views
    ]
    for view in views:
        asked = [keys for name, keys in rows.asked if name == view.name]
        assert len(asked) <= IN_FLIGHT_MAX and all(len(keys) == len(set(keys)) for keys in asked)


def test_a_view_that_is_about_to_get_there_is_waited_for_though_the_gateway_stops() -> None:
    """Whoever reads his own writes was refused by every deploy of gateways; and is by one whose view does not move."""
    rows, threads, progress = Rows(), Threads(), ProgressBoard()
    view = cast(Any, View("one"))

    async def read() -> list[bool]:
        reads = ConsistentReads(
            cast(Any, rows), cast(Any, None), cast(Any, None), progress, {"one": threads}, {"one": threads}, never
        )
        progress.closed_at = asyncio.get_running_loop().time()
        asking = asyncio.create_task(reads.row(view, "k", Token(8, None), 30.0))
        await asyncio.sleep(0.2)
        rows.position = 8
        near = await asking
        progress.closed_at -= LAST_SECONDS
        return [near.is_reached, (await reads.row(view, "k", Token(9, None), 30.0)).is_reached]

    assert asyncio.run(read()) == [True, False]
    threads.close()


class Pages(Rows):
    """Behind until it is told otherwise; counts what it is asked."""

    def __init__(self) -> None:
        super().__init__()
        self.finds = 0

    def find(self, view: str, query: Query) -> RowPage:
        self.finds += 1
        return RowPage([], None, self.position)

    def positions(self) -> dict[SliceId, int]:
        return {SliceId("one", 1, 0): self.position}


def test_thousands_who_wait_for_the_same_ask_the_store_once_and_not_again_and_again() -> None:
    """Also when no hint is ever heard: the store is asked for all of them where its slices are."""
    rows, threads, patient = Pages(), Threads(), Threads(1)
    view, progress = cast(Any, View("one")), ProgressBoard()

    async def read() -> list[bool]:
        reads = ConsistentReads(
            cast(Any, rows), cast(Any, None), cast(Any, None), progress, {"one": threads}, {"one": patient}, never
        )
        progress.learn_positions(rows.positions())
        looking = asyncio.create_task(reads.look_after())
        asking = [asyncio.create_task(reads.page(view, Query(limit=7), Token(8, None), 30.0)) for _ in range(1_500)]
        await asyncio.sleep(1.0)
        assert rows.finds == 0
        rows.position = 8
        answers = await asyncio.gather(*asking)
        looking.cancel()
        return [answer.is_reached for answer in answers]

    assert asyncio.run(read()) == [True] * 1_500
    assert rows.finds <= 1_500 / WOKEN_AT_ONCE + 2 * IN_FLIGHT_MAX, "once for those who are woken together"
    threads.close()
    patient.close()


def test_more_than_can_be_waited_for_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(twofold.gateway.queries.consistency, "WAITERS_MAX", 3)
    rows, threads = Pages(), Threads()
    view = cast(Any, View("one"))

    async def read() -> None:
        pools = {"one": threads}
        reads = ConsistentReads(cast(Any, rows), cast(Any, None), cast(Any, None), ProgressBoard(), pools, pools, never)
        waiting = [asyncio.create_task(reads.page(view, Query(), Token(8, None), 0.5)) for _ in range(3)]
        await asyncio.sleep(0.1)
        with pytest.raises(Unavailable, match="too many wait"):
            await reads.page(view, Query(), Token(8, None), 0.5)
        assert (await reads.page(view, Query())).is_reached, "who does not wait is answered"
        await asyncio.gather(*waiting)
        assert not (await reads.page(view, Query(), Token(8, None), 0.0)).is_reached

    asyncio.run(read())
    threads.close()
