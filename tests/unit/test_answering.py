"""Which of a view's generations a process answers from, look after look."""

from __future__ import annotations

import dataclasses
from typing import Any

import msgspec

from tests.contract.viewstores import EVERYTHING, Everything
from twofold.kernel.builds import Build
from twofold.kernel.rows import Generation
from twofold.readmodels.schema.shape import INLINE, shape_of
from twofold.readmodels.stores.answering import Answering, is_awaited, is_yet_to_answer


class Widened(Everything, frozen=True):
    mood: str = "calm"


class Demanding(Everything, frozen=True, kw_only=True):
    owner: str


NEXT = dataclasses.replace(EVERYTHING, row=Widened)


def build(view: Any, number: int, state: Any, position: int) -> Build:
    return Build(Generation("everything", number, 2, state), shape_of(view), position)


def test_a_version_that_was_given_up_half_way_does_not_answer_from_half_its_rows() -> None:
    """Another one was migrated to while it was being built: its gateways said 404 for whatever had not been folded yet."""
    live, chooser = build(EVERYTHING, 1, "live", 5_000), Answering()
    assert chooser.choose(NEXT, [live, build(NEXT, 2, "building", 1_000)]) == live
    for position in (1_200, 1_400, 1_400):
        assert chooser.choose(NEXT, [live, build(NEXT, 2, "retired", position)]) == live
    caught_up = build(NEXT, 2, "retired", 5_000)
    assert chooser.choose(NEXT, [live, caught_up]) == caught_up
    further, busy = build(EVERYTHING, 1, "live", 5_002), build(NEXT, 2, "retired", 5_001)
    assert chooser.choose(NEXT, [further, busy]) == busy, "a moment behind, and folded"
    assert chooser.choose(NEXT, [further, busy]) == further, "folded by nobody any more"


def test_rows_that_were_live_answer_on_while_they_are_folded() -> None:
    chooser, demanded = Answering(), dataclasses.replace(EVERYTHING, row=Demanding)
    own = build(EVERYTHING, 1, "live", 10)
    assert chooser.choose(EVERYTHING, [own]) == own
    retired, live = build(EVERYTHING, 1, "retired", 11), build(NEXT, 2, "live", 12)
    assert chooser.choose(EVERYTHING, [retired, live]) == retired
    left = build(EVERYTHING, 1, "retired", 3)
    assert Answering().choose(EVERYTHING, [left, live]) == live, "a process that starts now has not seen them answer"
    half, before = build(demanded, 2, "retired", 3), build(EVERYTHING, 1, "live", 12)
    assert Answering().choose(demanded, [before, half]) == half, "the live ones cannot be read"


def test_rows_that_are_built_beside_those_of_another_version_are_waited_for_until_they_have_caught_up() -> None:
    """A gateway is not ready before."""
    before = build(EVERYTHING, 1, "live", 5)
    assert is_awaited(NEXT, [before, build(NEXT, 2, "building", 4)])
    assert not is_awaited(NEXT, [before, build(NEXT, 2, "building", 5)])
    assert not is_awaited(NEXT, [build(EVERYTHING, 1, "retired", 9), build(NEXT, 2, "live", 4)])


def test_who_answers_from_other_rows_than_its_own_is_not_ready_though_those_are() -> None:
    """They had caught up, and for a moment those of before went on answering. A rebuild is not waited for."""
    before, live = build(EVERYTHING, 1, "retired", 9), build(NEXT, 2, "live", 9)
    assert is_yet_to_answer(NEXT, [before, live], before.generation)
    assert not is_yet_to_answer(NEXT, [before, live], live.generation)
    assert not is_yet_to_answer(NEXT, [before, live, build(NEXT, 3, "building", 9)], live.generation)
    assert not is_yet_to_answer(NEXT, [build(NEXT, 1, "retired", 9), build(EVERYTHING, 2, "live", 9)], before.generation)
    assert not is_yet_to_answer(NEXT, [before, live], None) and not is_yet_to_answer(NEXT, [], before.generation)


def test_nothing_is_waited_for_that_is_not_about_to_answer() -> None:
    """A fresh installation has nothing to catch up with, a store that is away shows nothing, a rebuild has rows that answer,
    and rows that a later version has retired are never built to their end."""
    inline = msgspec.structs.replace(build(NEXT, 1, "live", 9), shape=f"{shape_of(NEXT)}|{INLINE}")
    assert not is_awaited(NEXT, [])
    assert not is_awaited(NEXT, [build(NEXT, 1, "live", 0)])
    assert not is_awaited(NEXT, [build(NEXT, 1, "live", 9), build(NEXT, 2, "building", 0)])
    assert not is_awaited(NEXT, [build(NEXT, 1, "retired", 0), build(EVERYTHING, 2, "live", 9)])
    assert not is_awaited(NEXT, [inline, build(NEXT, 2, "building", 0)])
