"""What a gateway remembers of the lag, how old that may be, and when it reads anew."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any
from unittest.mock import Mock

import pytest

from twofold.gateway.queries import lag as lag_module
from twofold.gateway.queries.lag import LagReports, Report
from twofold.gateway.queries.progress import ProgressBoard
from twofold.monitoring.lag import Lag, ViewLag


class Threads:
    async def run(self, work: Callable[[], Any]) -> Any:
        return work()


class Reports(LagReports):
    """The view stands at 4 of 9, as old as the reading's number; `reads` counts them."""

    def __init__(self, state: str = "behind") -> None:
        domain = SimpleNamespace(views={"orders": SimpleNamespace(follows=("orders",))})
        super().__init__(domain, Mock(), Mock(), Mock(), Mock(), Threads(), ProgressBoard())  # type: ignore[arg-type]
        self.reads = 0
        self.state = state

    def _read_blocking(self, read_at: float, known: Any) -> Report:
        self.reads += 1
        return Report(Lag(9, {"orders": ViewLag(4, 5, float(self.reads), self.state)}), {}, {}, {}, read_at)


def test_the_first_answer_knows_nothing_and_sees_to_the_next() -> None:
    async def play() -> None:
        reports = Reports()
        assert (reports.seconds("orders", 4), reports.reads) == (0.0, 0)
        await asyncio.sleep(0.01)
        assert [reports.seconds("orders", position) for position in (4, 8, 9, 10)] == [1.0, 1.0, 0.0, 0.0]
        reports._progress.hear_ring(11)
        assert reports.seconds("orders", 10) == 1.0, "the log has grown since"
        assert reports.reads == 1, "nobody reads again what is young"

    asyncio.run(play())


def test_what_is_old_is_told_once_more_and_read_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    async def play() -> None:
        reports = Reports()
        await reports.current()
        monkeypatch.setattr(reports, "_is_old", lambda *_: True)
        assert reports.seconds("orders", 4) == 1.0
        await asyncio.sleep(0.01)
        assert reports.reads == 2
        assert (await reports.current()).lag.views["orders"].lag_seconds == 3.0

    asyncio.run(play())


@pytest.mark.parametrize("state", ["behind", "diverged"])
def test_a_view_is_known_to_be_diverged_from_the_first_answer_on(state: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody has asked yet, or not for long: then the reading is waited for; a younger one is believed."""

    async def play() -> None:
        reports = Reports(state)
        assert await reports.is_diverged("orders") == (state == "diverged")
        assert await reports.is_diverged("orders") == (state == "diverged")
        assert reports.reads == 1
        monkeypatch.setattr(reports, "_is_old", lambda _, seconds=0.0: seconds != lag_module.DOUBT_SECONDS)
        reports.state = "live"
        assert await reports.is_diverged("orders") == (state == "diverged"), "an old reading is believed once more"
        await asyncio.sleep(0.01)
        assert not await reports.is_diverged("orders")

    asyncio.run(play())
