"""Projectors beside those of another version of the domain: what only the other can read holds up nobody else's rows."""

from __future__ import annotations

import time
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any, ClassVar, cast

import pytest

from tests.contract.projections import Heard, Log, Noise, Said, projector, reached, running, until, words
from tests.contract.viewstores import (
    KINDS,
    Place,
    place,
    rows_url,  # noqa: F401
)
from twofold.kernel.codec import Codec
from twofold.kernel.decider import AnyDecider, Decider
from twofold.kernel.domain import domain_of
from twofold.kernel.view import About, View


class SaidLater(Said, frozen=True):
    """As the next version of the domain writes it."""

    tag: ClassVar[str] = "Said"
    schema_version: ClassVar[int] = 2


@pytest.fixture(params=KINDS)
def where(request: pytest.FixtureRequest) -> Iterator[Place]:
    with place(request.param, request) as opened:
        yield opened


def test_an_event_of_a_later_version_holds_up_the_views_that_listen_to_it_and_no_other(where: Place) -> None:
    """One pod of the version before, left over from a rollout, stood still with all it held: half the slices of every view."""

    def hear(row: Heard | None, event: Said, about: About) -> Heard:
        return Heard(about.key, (*(row.words if row else ()), event.word))

    def count(row: Heard | None, event: Noise, about: About) -> Heard:
        return Heard(about.key, (), (row.count if row else 0) + 1)

    store_name: Any = "redis" if where.__class__.__name__ == "RedisPlace" else "sql"
    heard = View[Heard, Said]("heard", "name", Heard, (Said,), lambda event, about: event.to, hear, store=store_name)
    noise = View[Heard, Noise]("noise", "name", Heard, (Noise,), lambda event, about: ("loud",), count, store=store_name)
    decider: AnyDecider = Decider("talk", "talk", (), (Said, Noise), None, lambda state, command: [], lambda state, event: None)
    codec = Codec(domain_of(cast(Any, SimpleNamespace(__name__="talks", DECIDERS=(decider,), VIEWS=(heard, noise)))))
    store, log = where.open(), Log()
    listening, other = store.make(heard, 2), store.make(noise, 2)
    log.append(Said(("ann",), "one"))
    following = projector(log, store, [heard, noise], codec)
    with running(following, [*listening.slice_ids(), *other.slice_ids()]):
        until(reached(store, other, 1), "the head")
        log.append(Noise())
        log.append(SaidLater(("ann",), "two"))
        for number in range(3):
            log.append(Noise())
            until(reached(store, other, 4 + number), "the other view goes on")
        until(reached(store, listening, 2), "as far as it can be read")
        begun = time.process_time()
        time.sleep(1.0)
        assert time.process_time() - begun < 0.5, "what cannot be read is not tried again and again"
    assert store.parked() == [] and set(store.positions("heard").values()) == {2}
    assert words(store, heard, ["ann"]) == {"ann": ("one",)}
    assert store.load("noise", ["loud"])["loud"].value == Heard("loud", (), 4)
