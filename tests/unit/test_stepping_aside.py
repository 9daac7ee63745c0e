"""A worker that meets a command it does not know waits, or gives the lane to one that does; it never decides that nobody will."""

from __future__ import annotations

import pytest

import twofold.stepping_aside
from twofold.eventstore.leases import MemoryLeases
from twofold.kernel.domain import load_domain
from twofold.kernel.members import Member, inline_views_name, name_of, names_of
from twofold.stepping_aside import SteppingAside

LANES = ["0", "1"]
GIFT = frozenset({"PlaceOrder.lines.gift"})


def join(leases: MemoryLeases, name: str, *knows: str, room: str = "workers", term: float = 60.0) -> None:
    leases.renew(Member(room, name, knows=frozenset({"PlaceOrder", *knows})), LANES, term)


def test_a_lane_is_given_to_who_knows_what_waits_there_and_wanted_again_when_he_goes() -> None:
    leases = MemoryLeases()
    aside = SteppingAside(leases, lambda: LANES, 600.0)
    join(leases, "a")
    join(leases, "b", *GIFT)
    aside.meet(1, GIFT)
    assert aside.wanted() == ["0"]
    assert aside.waiting_seconds() == 0.0
    leases.leave("workers", "b")
    assert aside.wanted() == LANES


def test_who_does_not_know_the_inline_views_wants_no_lane_as_long_as_who_does_has_some(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else the lanes would go from one old worker to the next, and whatever changes hands often is taken for poison."""
    leases = MemoryLeases()
    aside = SteppingAside(leases, lambda: LANES, 600.0)
    join(leases, "a")
    views = frozenset({inline_views_name(7)})
    join(leases, "b", *views)
    monkeypatch.setattr(twofold.stepping_aside, "ASIDE_SECONDS", 0.0)
    leases.renew(Member("workers", "a", knows=frozenset({"PlaceOrder"})), [], 60.0)
    join(leases, "b", *views)
    aside.meet(1, views)
    assert aside.wanted() == []
    assert aside.wanted() == []
    leases.renew(Member("workers", "b", knows=views), [], 60.0)
    assert aside.wanted() == LANES


def test_a_lane_that_nobody_could_go_on_with_is_not_let_go(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every change of hands counts on the broker, and in the end would bury what waits. Gateways know it, and decide nothing."""
    leases = MemoryLeases()
    aside = SteppingAside(leases, lambda: LANES, 600.0)
    join(leases, "a")
    join(leases, "g", *GIFT, room="gateway")
    aside.meet(1, GIFT)
    assert aside.wanted() == LANES
    assert aside.waiting_seconds() > 0.0
    monkeypatch.setattr(twofold.stepping_aside, "MET_SECONDS", 0.0)
    assert (aside.wanted(), aside.waiting_seconds()) == (LANES, 0.0)


def test_it_is_said_once_and_becomes_an_error_after_the_bound(capsys: pytest.CaptureFixture[str]) -> None:
    leases = MemoryLeases()
    aside = SteppingAside(leases, lambda: LANES, 0.05)
    join(leases, "a")
    said = ""
    while "error" not in said.lower():
        aside.meet(0, GIFT)
        aside.wanted()
        said += capsys.readouterr().out
    assert "PlaceOrder.lines.gift" in said and said.lower().count("warning") == 1


def test_names_are_of_commands_and_of_every_field_however_deep() -> None:
    names = names_of(load_domain("twofold.shop").commands)
    assert {"PlaceOrder", "PlaceOrder.lines", "PlaceOrder.lines.sku", "PlaceOrder.shipping_address.city"} <= names
    assert name_of("PlaceOrder", "/lines/12/gift") in GIFT
    assert name_of("PlaceOrder", "") == "PlaceOrder"
