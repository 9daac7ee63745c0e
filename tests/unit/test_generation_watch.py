"""What a room that answers from the rows attaches, and says that it needs, as generations of its views come and go."""

from __future__ import annotations

import dataclasses
from types import SimpleNamespace
from typing import Any
from unittest.mock import Mock

import examples.counter
from twofold.generation_watch import answering
from twofold.kernel.builds import Build
from twofold.kernel.domain import domain_of
from twofold.kernel.errors import Neighbour, Unavailable
from twofold.kernel.rows import Generation, GenerationState
from twofold.readmodels.schema.shape import shape_of

[VIEW] = domain_of(examples.counter).views.values()
LATER = dataclasses.replace(VIEW, name="later")


def watching(rows: Any) -> Any:
    views = {view.name: view for view in (VIEW, LATER)}
    return answering(SimpleNamespace(rows=rows, domain=SimpleNamespace(views=views)))._step  # type: ignore[arg-type]


def attached(rows: Any) -> list[tuple[str, int]]:
    return [(call.args[0].name, call.args[1].generation.number) for call in rows.attach.mock_calls]


def build(
    number: int, state: GenerationState = "live", position: int = 9, shape: str = shape_of(VIEW), view: str = VIEW.name
) -> Build:
    return Build(Generation(view, number, 4, state), shape, position)


def rows_at(number: int) -> Any:
    return Mock(generation=lambda name: build(number).generation if name == VIEW.name else None)


def test_a_view_that_nobody_has_made_keeps_none_of_the_others_from_answering() -> None:
    rows = rows_at(0)
    one = build(1)
    assert watching(rows)([one]) == [one.generation]
    assert attached(rows) == [(VIEW.name, 1)]


def test_what_answers_is_needed_beside_what_is_built() -> None:
    """And nothing else: no other shape's that is retired, and the one that answers once."""
    rows = rows_at(1)
    live, own, retired = build(1, shape="of before"), build(3, "building", 5), build(2, "retired", shape="of before that")
    assert watching(rows)([live, retired, own]) in ([live.generation, own.generation], [own.generation, live.generation])
    assert attached(rows) == []
    assert watching(rows)([build(1), build(2, "retired")]) == [build(1).generation]


def test_a_store_that_is_away_is_asked_again_by_the_next_look() -> None:
    rows = rows_at(0)
    rows.attach.side_effect = Unavailable(Neighbour.ROWS, "no connection")
    step = watching(rows)
    for looks in (1, 2):
        assert step([build(1)]) == [build(1).generation]
        assert attached(rows) == [(VIEW.name, 1)] * looks
