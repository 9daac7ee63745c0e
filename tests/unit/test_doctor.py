"""What `twofold doctor` concludes from what a gateway says: each thing that is wrong fails its check, with the fix."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from twofold import doctor
from twofold.kernel.errors import Misconfigured
from twofold.settings import Settings

LIVE: dict[str, Any] = {"head": 7, "views": {"orders": {"state": "live"}, "stock": {"state": "live"}}}
NOTHING: dict[str, Any] = {"/lag": LIVE, "/parked": {"commands": [], "keys": []}, "/dead": {"items": []}}


def says(monkeypatch: pytest.MonkeyPatch, **answers: Any) -> Settings:
    found = NOTHING | {f"/{name}": answer for name, answer in answers.items()}
    monkeypatch.setattr(doctor, "gateway_of", lambda _: SimpleNamespace(call=lambda _, path: found[path]))
    return Settings(port=8123)


def test_what_is_well_is_said_to_be(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = says(monkeypatch)
    assert doctor._gateway(settings) == "answers on port 8123, head 7"
    assert doctor._left_behind(settings) == "none"


@pytest.mark.parametrize("state", ["behind", "building", "parked", "unreachable"])
def test_a_view_that_is_not_live_is_named(monkeypatch: pytest.MonkeyPatch, state: str) -> None:
    settings = says(monkeypatch, lag={"head": 7, "views": LIVE["views"] | {"stock": {"state": state}}})
    with pytest.raises(Misconfigured, match="TWOFOLD_PORT=8123 answers, but these views are not live: stock$"):
        doctor._gateway(settings)


def test_a_view_that_shows_what_the_log_has_lost_is_to_be_rebuilt(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = says(monkeypatch, lag={"head": 7, "views": LIVE["views"] | {"stock": {"state": "diverged"}}})
    with pytest.raises(Misconfigured, match="these views have shown: stock; .*`twofold rebuild stock`"):
        doctor._gateway(settings)


@pytest.mark.parametrize(
    ("parked", "told"),
    [({"commands": [{}], "keys": []}, "1 commands and 0 keys"), ({"commands": [], "keys": [{}, {}]}, "0 commands and 2 keys")],
)
def test_what_is_parked_is_counted(monkeypatch: pytest.MonkeyPatch, parked: Any, told: str) -> None:
    with pytest.raises(Misconfigured, match=f"{told} are parked; see `twofold parked list`"):
        doctor._left_behind(says(monkeypatch, parked=parked))


def test_dead_letters_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(Misconfigured, match="3 dead letters.*`twofold dead list`"):
        doctor._left_behind(says(monkeypatch, dead={"items": [{}] * 3}))
