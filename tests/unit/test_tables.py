"""The tables that the command line prints for people."""

from __future__ import annotations

from typing import Any, cast

import pytest

from twofold.client import Gateway
from twofold.watch import show_audit, show_dead, show_lag, show_parked

LAG = {
    "head": 1234,
    "views": {
        "stock": {"state": "behind", "position": 1200, "lag_events": 34, "lag_seconds": 1.5},
        "orders": {"state": "live", "position": 1234, "lag_events": 0, "lag_seconds": 0.0},
    },
}
COMMAND = {"ref": "c1", "type": "Forge", "stream": "anvil-1", "reason": "raised", "error": "Traceback\n  line\nKeyError: 'x'\n"}
KEY = {"ref": "k1", "view": "stock", "key": "A", "waiting": 3, "position": 7, "error": ""}


@pytest.fixture(autouse=True)
def wide(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "160")


def cells(text: str, first: str) -> list[str]:
    """The row that begins with this cell."""
    [line] = [line for line in text.splitlines() if line.strip("│ ").startswith(first)]
    return [cell.strip() for cell in line.strip().strip("│").split("│")]


def test_lag_is_a_row_for_each_view(capsys: pytest.CaptureFixture[str]) -> None:
    class One(Gateway):
        def call(self, method: str, path: str, *arguments: Any, **named: Any) -> Any:
            assert (method, path) == ("GET", "/lag")
            return LAG

    show_lag(One("http://nowhere"), watch=False)
    text = capsys.readouterr().out
    assert "log head 1,234" in text
    assert cells(text, "stock") == ["stock", "behind", "1,200", "34", "1.500"]
    assert text.index("orders") < text.index("stock")


def test_what_is_parked_is_told_with_the_last_line_of_its_error(capsys: pytest.CaptureFixture[str]) -> None:
    show_parked({"commands": [COMMAND], "keys": [KEY]})
    text = capsys.readouterr().out
    assert cells(text, "c1") == ["c1", "Forge on anvil-1", "raised", "KeyError: 'x'"]
    assert cells(text, "k1") == ["k1", "stock A: 3 waiting from 7", "evolve raised", ""]
    show_parked({"commands": [], "keys": []})
    assert capsys.readouterr().out == "nothing is parked\n"


def test_a_fact_that_cannot_be_read_is_told_with_which_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    """Of `Object missing required field` alone nobody finds the event."""
    raised = "Traceback\n  File\nValidationError: Object missing required field `room`\n"
    show_parked({"commands": [COMMAND | {"error": f"{raised}event 7 (Made version 1, stream a-1)\n"}], "keys": []})
    (error,) = cells(capsys.readouterr().out, "c1")[3:]
    assert error.startswith("ValidationError: Object missing required field")
    show_parked({"commands": [COMMAND | {"error": f"{raised}event 7 (Made version 1, stream a-1)\n"}], "keys": []})
    assert "event 7 (Made" in capsys.readouterr().out


def test_a_reference_is_never_cut(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """It is what is typed next: at a narrow terminal, and in a pipe."""
    monkeypatch.setenv("COLUMNS", "40")
    ref = "key-customer_history-" + "x" * 90
    show_parked({"commands": [COMMAND], "keys": [KEY | {"ref": ref}]})
    assert ref in capsys.readouterr().out
    show_dead(
        {"items": [{"id": ref, "lane": "0", "died_at": None, "bytes": 1, "reason": "r", "commands": [], "command_count": 0}]}
    )
    assert ref in capsys.readouterr().out


def test_dead_letters_show_some_of_their_commands_and_how_many_more(capsys: pytest.CaptureFixture[str]) -> None:
    command = {"type": "Forge", "stream": "anvil-1"}
    letter = {"id": "1", "lane": "0", "died_at": "noon", "bytes": 12, "reason": "expired"}
    listed = [{**letter, "id": f"d{count}", "commands": [command] * count, "command_count": count} for count in (1, 2, 3, 0)]
    show_dead({"items": listed})
    text = capsys.readouterr().out
    assert cells(text, "d1")[3:] == ["Forge on anvil-1", "expired"]
    assert cells(text, "d2")[3] == "Forge on anvil-1, Forge on anvil-1"
    assert cells(text, "d3")[3] == "Forge on anvil-1, Forge on anvil-1, and 1 more"
    assert cells(text, "d0")[3] == "12 bytes"
    show_dead({"items": []})
    assert capsys.readouterr().out == "nothing is dead\n"


class Audited(Gateway):
    """Two views: one in two parts, with a difference in the second."""

    def __init__(self) -> None:
        super().__init__("http://nowhere")
        self.asked: list[tuple[str, str | None]] = []

    def call(self, method: str, path: str, *arguments: Any, **named: Any) -> Any:
        if path == "/views":
            return {"views": [{"name": "orders"}, {"name": "stock"}]}
        view, _, query = path.removeprefix("/views/").partition("/audit")
        after = query.removeprefix("?after=") or None
        self.asked.append((view, after))
        differences = [
            {"key": "A", "expected": {"on_hand": 1}, "found": None},
            {"key": "B", "expected": {"sku": "B", "on_hand": 1, "at": {"x": 1}}, "found": {"sku": "B", "on_hand": 2, "at": None}},
            {"key": "C", "expected": {"sku": "C", "on_hand": 1}, "found": {"sku": "C"}},
        ]
        more = "k" if view == "stock" and after is None else None
        return {"checked": 1000, "open": 2 if after else 0, "next": more, "differences": differences if after else []}


def test_an_audit_goes_through_every_view_and_fails_when_a_row_differs(capsys: pytest.CaptureFixture[str]) -> None:
    gateway = Audited()
    assert show_audit(gateway, None) == 1
    text = capsys.readouterr().out
    assert gateway.asked == [("orders", None), ("stock", None), ("stock", "k")]
    assert "orders: 1,000 keys compared\n" in text
    assert "stock: 2,000 keys compared, 2 moved on too fast" in text
    assert cells(text, "stock │ A") == ["stock", "A", '{"on_hand": 1}', "null"]
    assert cells(text, "stock │ B") == ["stock", "B", '{"on_hand": 1, "at": {"x": 1}}', '{"on_hand": 2, "at": null}']
    assert cells(text, "stock │ C") == ["stock", "C", '{"on_hand": 1}', "{}"], "a field that one of them has not got"
    assert show_audit(cast(Gateway, gateway), "orders") == 0
    assert gateway.asked[3:] == [("orders", None)]
