"""What `twofold rebuild` asks of a gateway, and its exit status."""

from __future__ import annotations

from typing import Any

import pytest
import typer

import twofold.rebuild
from twofold.client import Gateway
from twofold.rebuild import rate_of, run

PATH = "/views/stock/rebuild"


class Answering(Gateway):
    """A gateway whose rebuild goes through these states."""

    def __init__(self, *states: str) -> None:
        super().__init__("http://nowhere")
        self.states = list(states)
        self.asked: list[tuple[str, str, object]] = []

    def call(self, method: str, path: str, body: object = None, *arguments: Any, **named: Any) -> Any:
        self.asked.append((method, path, body))
        if path == "/lag":
            return {"head": 7, "views": {"stock": {"state": "live"}}}
        return {"state": self.states.pop(0) if method == "GET" else "", "events_per_second": 0, "head": 7, "position": 1}


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(twofold.rebuild, "LOOK_SECONDS", 0.0)


@pytest.mark.parametrize("chosen", [(True, True, False), (True, False, True), (False, True, True), (True, True, True)])
def test_one_thing_at_a_time(chosen: tuple[bool, bool, bool]) -> None:
    is_dry, is_cancelling, is_going_back = chosen
    with pytest.raises(typer.BadParameter):
        run(Answering("swapped"), "stock", is_dry, None, is_cancelling, is_going_back)


def test_a_rebuild_is_watched_to_its_end() -> None:
    gateway = Answering("building", "verifying", "swapped")
    assert run(gateway, "stock", False, "500/s", False, False) == 0
    assert gateway.asked == [("POST", PATH, {"throttle": 500.0}), *[("GET", PATH, None)] * 3]
    gateway = Answering("building", "failed")
    assert run(gateway, "stock", False, None, False, False) == 1
    assert gateway.asked[0] == ("POST", PATH, {})


def test_a_dry_run_asks_and_a_cancel_and_a_rollback_do_only_that(capsys: pytest.CaptureFixture[str]) -> None:
    gateway = Answering()
    assert run(gateway, "stock", True, None, False, False) == 0
    assert gateway.asked == [("GET", "/lag", None)] and '"events_to_fold": 7' in capsys.readouterr().out
    with pytest.raises(typer.BadParameter, match="no view nope; those are: stock"):
        run(gateway, "nope", True, None, False, False)
    gateway = Answering()
    assert run(gateway, "stock", False, None, True, False) == 0
    assert gateway.asked == [("DELETE", PATH, None)]
    gateway = Answering("swapped")
    assert run(gateway, "stock", False, None, False, True) == 0
    assert gateway.asked == [("POST", f"{PATH}/rollback", None), ("GET", PATH, None)]


def test_a_throttle_is_a_number_of_events_a_second() -> None:
    assert (rate_of("500/s"), rate_of("0.5")) == (500.0, 0.5)
    for text in ("0", "-1", "inf", "nan", "many", "500/min"):
        with pytest.raises(typer.BadParameter):
            rate_of(text)
