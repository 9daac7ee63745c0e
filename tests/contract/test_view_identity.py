"""A view whose `sync` was changed, in one database: its rows are folded anew, by those who fold them now."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, cast

import pytest

import twofold.readmodels.stores.sql
from tests.contract.eventstores import PostgresPlace, envelope, place
from tests.contract.projections import Bugs, Said, domain, projector, reached, refold, running, until
from twofold.kernel.codec import Codec, encode_event
from twofold.kernel.errors import Unavailable
from twofold.kernel.ids import new_command_id
from twofold.kernel.log import Decision, Meta, NewEvent
from twofold.kernel.ports import Log, LogPages
from twofold.kernel.rows import Query
from twofold.kernel.view import AnyView
from twofold.readmodels.inline.projection import PostgresInlineProjection
from twofold.readmodels.inline.store import InlineViewStore
from twofold.readmodels.stores.sql import SqlViewStore


@dataclass
class Deployed:
    """One PostgreSQL database with the log and the rows; every method is what a deployment does."""

    where: PostgresPlace
    events: Log
    codec: Codec
    view: AnyView
    engine: Any
    said_count: int = 0

    def inline(self, *views: AnyView) -> PostgresInlineProjection:
        """Migrated for these inline views: what its workers fold with."""
        rows, is_near = PostgresInlineProjection(views, self.codec), False
        while not is_near:
            with self.where.engine.begin() as connection:
                is_near = rows.build(connection.connection.driver_connection, self.events)
        with self.where.engine.begin() as connection:
            rows.make(connection.connection.driver_connection, self.events)
        return rows

    def say(self, count: int, rows: PostgresInlineProjection | None = None) -> None:
        for _ in range(count):
            self.said_count += 1
            name, schema_version, data = encode_event(Said(("ann",), f"w{self.said_count}"))
            command_id = new_command_id()
            meta = Meta(command_id, "anonymous", schema_version)
            event = NewEvent("talk-1", self.said_count, name, data, meta)
            sent = envelope("talk-1", command_id)
            self.events.append([Decision(sent, "succeeded", self.said_count, (event,))], rows)

    def follow(self, view: AnyView) -> SqlViewStore:
        """Migrated for the view as an asynchronous one, and a projector up to the head."""
        store = SqlViewStore(self.engine)
        generation = store.make(view, 3)
        with running(projector(self.events, store, [view], self.codec), generation.slice_ids()):  # type: ignore[arg-type]
            until(reached(store, generation, self.said_count), "all slices at the head")
        return store

    def fresh(self) -> dict[str, Any]:
        return dict(refold(self.events, self.view, self.codec))


@pytest.fixture
def deployed(request: pytest.FixtureRequest) -> Iterator[Deployed]:
    with place("postgres", request) as where:
        assert isinstance(where, PostgresPlace)
        codec, view, _ = domain(Bugs())
        engine = twofold.readmodels.stores.sql.connect(where.url, 4)
        try:
            yield Deployed(where, where.open(), codec, view, engine)
        finally:
            engine.dispose()


def test_an_inline_view_made_asynchronous_is_folded_once(deployed: Deployed) -> None:
    """The projector began at 0, in rows that had every event already."""
    deployed.say(5, deployed.inline(replace(deployed.view, sync="inline")))
    store = deployed.follow(deployed.view)
    assert {key: row.value for key, row in store.load("heard", ["ann"]).items()} == deployed.fresh()


def test_an_asynchronous_view_made_inline_has_what_the_projector_had_not_folded(deployed: Deployed) -> None:
    """What lay between its last checkpoint and the head was in no row ever after."""
    deployed.say(3)
    deployed.follow(deployed.view)
    deployed.say(2)
    inline = replace(deployed.view, sync="inline")
    rows = deployed.inline(inline)
    deployed.say(1, rows)
    answers = InlineViewStore(deployed.engine)
    answers.attach(inline)
    assert {key: row.value for key, row in answers.load("heard", ["ann"]).items()} == deployed.fresh()


def test_a_worker_of_the_version_before_appends_nothing_once_a_view_has_joined(deployed: Deployed) -> None:
    """`b` of `a, b, c` was in no row of the new view, for ever, and nobody was told."""
    view = replace(deployed.view, sync="inline")
    changed = replace(view, indexes=("count",))
    before = deployed.inline(view)
    deployed.say(1, before)
    after = deployed.inline(changed)
    for stale in (before, None):
        with pytest.raises(Unavailable, match="a newer inline view exists"):
            deployed.say(1, stale)
        deployed.said_count -= 1
    deployed.say(2, after)
    with pytest.raises(Unavailable, match="a newer inline view exists"), deployed.where.engine.begin() as connection:
        PostgresInlineProjection([view], deployed.codec).attach(connection.connection.driver_connection)
    answers = InlineViewStore(deployed.engine)
    answers.attach(changed)
    assert {key: row.value for key, row in answers.load("heard", ["ann"]).items()} == deployed.fresh()


def test_a_worker_of_a_version_that_is_rolled_back_goes_on_with_the_views_that_are_left(deployed: Deployed) -> None:
    """It appended nothing from the migration on, until at the very end of the roll-back the workers of the other version came."""
    view = replace(deployed.view, sync="inline")
    added = replace(view, name="added")
    deployed.inline(view)
    later = deployed.inline(view, added)
    deployed.say(1, later)
    deployed.inline(view)
    deployed.say(1, later)
    deployed.inline()
    deployed.say(1, later)
    deployed.inline(view, added)
    deployed.say(1, later)
    answers = InlineViewStore(deployed.engine)
    for one in (view, added):
        answers.attach(one)
        assert {key: row.value for key, row in answers.load(one.name, ["ann"]).items()} == deployed.fresh()


def test_a_new_inline_view_is_built_while_others_append(deployed: Deployed) -> None:
    """The head was locked for as long as it took to fold the whole log: nothing could be decided meanwhile."""
    view = replace(deployed.view, sync="inline")
    before = deployed.inline(view)
    deployed.say(2, before)
    events = deployed.events

    class Busy:
        """Somebody appends before each page that is read, as long as the view is not about to join."""

        appends_count = 3

        def page(self, after: int, limit: int, types: Any = None) -> Any:
            if self.appends_count:
                self.appends_count -= 1
                deployed.say(1, before)
            return events.page(after, limit, types)

    changed = replace(view, revision=2)
    busy = Busy()
    rows = PostgresInlineProjection([changed], deployed.codec)
    while busy.appends_count:
        with deployed.where.engine.begin() as connection:
            assert rows.build(connection.connection.driver_connection, cast(LogPages, busy))
    after = deployed.inline(changed)
    deployed.say(1, after)
    answers = InlineViewStore(deployed.engine)
    assert answers.attach(changed).number == 2
    assert {key: row.value for key, row in answers.load("heard", ["ann"]).items()} == deployed.fresh()


def test_rows_that_nobody_folds_inline_any_more_do_not_pass_for_as_new_as_the_log(deployed: Deployed) -> None:
    """A gateway of the version before answered tokens from them, stale, for as long as it lived."""
    view = replace(deployed.view, sync="inline")
    deployed.say(2, deployed.inline(view))
    answers = InlineViewStore(deployed.engine)
    answers.attach(view)
    assert answers.get("heard", ["ann"])[0].position == 2
    deployed.say(1, deployed.inline(replace(view, indexes=("count",))))
    [found] = answers.get("heard", ["ann"])
    assert (found.position, answers.find("heard", Query()).position) == (0, 0)
    assert set(answers.positions("heard").values()) == set(answers.positions().values()) == {0}


def test_an_inline_view_that_was_taken_out_comes_back_whole(deployed: Deployed) -> None:
    """Rolled back to, its generation was live all the time, and knew nothing of what had happened without it."""
    view = replace(deployed.view, sync="inline")
    deployed.say(1, deployed.inline(view))
    deployed.say(1, deployed.inline())
    deployed.say(1, deployed.inline(view))
    answers = InlineViewStore(deployed.engine)
    answers.attach(view)
    assert {key: row.value for key, row in answers.load("heard", ["ann"]).items()} == deployed.fresh()


@pytest.mark.parametrize("sync", ["inline", "async"])
def test_rows_of_the_release_before_are_used_on_by_those_who_folded_them(deployed: Deployed, sync: Any) -> None:
    """Their shape did not say who had folded them; that can be seen, so nothing is folded anew without need."""
    view = replace(deployed.view, sync=sync)
    deployed.say(4)
    generation = deployed.follow(view).attach(view) if sync == "async" else None
    if generation is None:
        deployed.inline(view)
        deployed.where.execute("UPDATE read.checkpoints SET position = 0")
    deployed.where.execute("UPDATE read.generations SET shape = replace(shape, '|inline', '')")
    deployed.where.execute("UPDATE log_head SET inline_views = 0")
    if sync == "async":
        assert deployed.follow(view).attach(view) == generation
    else:
        deployed.say(2, deployed.inline(view))
        answers = InlineViewStore(deployed.engine)
        assert answers.attach(view).number == 1
        assert {key: row.value for key, row in answers.load("heard", ["ann"]).items()} == deployed.fresh()
        store = deployed.follow(deployed.view)
        assert {key: row.value for key, row in store.load("heard", ["ann"]).items()} == deployed.fresh()
