"""The laws of a lost tail see what they are there for; those that a running system can be made to break: test_planted.py."""

from __future__ import annotations

from typing import Any

import pytest

from tests.chaos.lost_tail import Loss, Snapshot, all_is_live, left_is_a_beginning, left_stays, only_the_lost_is_missing

EVENTS = [(1, "order-1", 1, "Placed"), (2, "order-1", 2, "Returned"), (3, "order-2", 1, "Placed")]
INBOX = {"a": ("a", "order-1", 1), "b": ("b", "order-1", 2), "c": ("c", "order-2", 1)}
LEFT = Snapshot(EVENTS[:2], {name: INBOX[name] for name in "ab"})
OTHER = (2, "order-1", 2, "Cancelled")


@pytest.mark.parametrize(
    ("left", "is_broken"),
    [
        (LEFT, False),
        (Snapshot([EVENTS[0], OTHER], LEFT.inbox), True),
        (Snapshot([EVENTS[0], EVENTS[2]], LEFT.inbox), True),
        (Snapshot(LEFT.events, {"a": INBOX["a"], "b": ("b", "order-1", 3)}), True),
    ],
    ids=["a beginning", "another event", "a hole", "another outcome"],
)
def test_what_is_left_is_a_beginning(left: Snapshot, is_broken: bool) -> None:
    assert bool(left_is_a_beginning(Loss(Snapshot(EVENTS, INBOX), left, {}))) == is_broken


@pytest.mark.parametrize(
    ("after", "broken"),
    [
        (Snapshot([*LEFT.events, (3, "order-1", 3, "New")], {**LEFT.inbox, "d": ("d", "order-1", 3)}), 0),
        (Snapshot([EVENTS[0], OTHER], LEFT.inbox), 1),
        (Snapshot(EVENTS[:1], LEFT.inbox), 1),
        (Snapshot(LEFT.events, {"a": INBOX["a"]}), 1),
        (Snapshot(LEFT.events, {**LEFT.inbox, "a": ("a", "order-1", 9)}), 1),
    ],
    ids=["goes on", "written over", "event gone", "outcome gone", "decided again"],
)
def test_what_is_left_stays(after: Snapshot, broken: int) -> None:
    assert len(left_stays(LEFT, after)) == broken


def test_only_what_was_decided_and_lost_may_be_missing() -> None:
    """A message that was still in the broker is in neither database, and has to be decided."""
    assert only_the_lost_is_missing(["a", "c"], {"a"}, {"c"}) == []
    assert len(only_the_lost_is_missing(["a", "c", "waited"], {"a"}, {"c"})) == 1


@pytest.mark.parametrize(("state", "lag", "broken"), [("live", 0, 0), ("live", 2, 1), ("diverged", 0, 1)])
def test_after_all_every_view_is_live_at_the_head(state: str, lag: int, broken: int) -> None:
    answer: dict[str, Any] = {"views": {"orders": {"state": state, "lag_events": lag}}}
    assert len(all_is_live(200, answer)) == broken and all_is_live(503, {})
