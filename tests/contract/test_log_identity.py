"""Which log this is: its domain, lanes and event types are written down, and whoever does not fit is told so before he starts."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from alembic import command
from alembic.config import Config
from sqlalchemy import create_engine, text

import examples.counter
import twofold.eventstore.migrate
from tests.contract.eventstores import PostgresPlace, SqlitePlace, SqlPlace, envelope, place, placed
from twofold import Command, Decider, Downcaster, Event, Upcaster
from twofold.database.urls import normalise_url
from twofold.eventstore.identity import FIRST_LANES, adopt, identity_of, require
from twofold.kernel.codec import encode_event
from twofold.kernel.domain import Domain, domain_of
from twofold.kernel.errors import Conflict, Misconfigured
from twofold.kernel.log import Decision, Meta, NewEvent

COUNTER = domain_of(examples.counter)
LANES = 3


@pytest.fixture(params=["postgres", "sqlite"])
def where(request: pytest.FixtureRequest) -> Iterator[SqlPlace]:
    with place(request.param, request) as opened:
        assert isinstance(opened, SqlPlace)
        yield opened


def url_of(where: SqlPlace) -> str:
    """Where nobody has the file open."""
    where.close()
    assert isinstance(where, PostgresPlace | SqlitePlace)
    return where.url if isinstance(where, PostgresPlace) else f"sqlite:///{where.path}"


def domain(name: str, counted_version: int = 1, has_more: bool = False, **exported: Any) -> Domain:
    """A domain whose only event, Counted, has this schema version; or a second one, too."""

    class Counted(Event, frozen=True):
        schema_version = counted_version

    class Forgotten(Event, frozen=True):
        pass

    events = (Counted, Forgotten) if has_more else (Counted,)
    module = ModuleType(name)
    ups = tuple(Upcaster("Counted", version, dict) for version in range(1, counted_version))
    decider: Decider[int, Command, Event] = Decider(
        "counter", "n", (), events, 0, lambda state, command: [], lambda state, event: 0
    )
    for exports, value in {"DECIDERS": (decider,), "VIEWS": (), "UPCASTERS": ups, **exported}.items():
        setattr(module, exports, value)
    return domain_of(module)


def wrote(event: Event, number: int) -> Decision:
    sent = envelope(f"counter-{number}")
    tag, schema_version, data = encode_event(event)
    meta = Meta(sent.command_id, "anonymous", schema_version)
    return Decision(sent, "succeeded", 1, (NewEvent(sent.stream, 1, tag, data, meta),))


def test_a_log_is_somebody_from_its_first_migration_on(where: SqlPlace) -> None:
    """An identity that is made once, and a domain and lanes that the first deployment gives it."""
    url = url_of(where)
    assert (identity_of(url).domain, identity_of(url).lanes) == ("", 0)
    with pytest.raises(Misconfigured, match="twofold migrate"):
        require(url, COUNTER, LANES)
    given = adopt(url, COUNTER, LANES)
    twofold.eventstore.migrate.migrate(url)
    assert given == adopt(url, COUNTER, LANES) == require(url, COUNTER, LANES) == identity_of(url)
    assert (given.domain, given.lanes, given.event_types, len(given.id)) == ("examples.counter", LANES, frozenset(), 36)


def test_another_domain_and_another_lane_count_are_refused(where: SqlPlace) -> None:
    """A shop's worker on a hotel's log parks what it takes; a gateway with more lanes accepts what nobody decides."""
    url = url_of(where)
    adopt(url, COUNTER, LANES)
    for check in (adopt, require):
        with pytest.raises(Misconfigured, match=r"TWOFOLD_DOMAIN: .*hotel.* set TWOFOLD_DOMAIN=examples\.counter"):
            check(url, domain("hotel"), LANES)
        with pytest.raises(Misconfigured, match="TWOFOLD_LANES=4: .* 3 lanes; .* `twofold lanes 4`"):
            check(url, COUNTER, 4)


def test_a_new_log_may_begin_with_more_lanes_and_one_that_is_there_keeps_its_own(where: SqlPlace) -> None:
    """Containers begin with as many as the workers they are scaled to; who resized, or ran before that, is not undone."""
    url = url_of(where)
    assert adopt(url, COUNTER, None, first_lanes=4).lanes == 4
    assert adopt(url, COUNTER, None, first_lanes=8).lanes == 4
    with pytest.raises(Misconfigured, match="TWOFOLD_LANES=5: .* 4 lanes"):
        adopt(url, COUNTER, 5, first_lanes=8)


def test_a_used_log_that_does_not_say_how_many_lanes_it_has_has_the_first_ones(where: SqlPlace) -> None:
    """One of release 0.1.0: what waits in its lanes was put there by that number."""
    hotel = domain("hotel")
    where.open().append([wrote(hotel.events["Counted"](), 1)])
    assert adopt(url_of(where), hotel, None, first_lanes=4).lanes == FIRST_LANES


def test_a_renamed_module_keeps_its_log_by_one_line(where: SqlPlace) -> None:
    """What the log knows a domain by is for ever; what its module is called is not."""
    url = url_of(where)
    adopt(url, domain("hotel"), LANES)
    with pytest.raises(Misconfigured, match="NAME = 'hotel'"):
        require(url, domain("booking"), LANES)
    assert require(url, domain("booking", NAME="hotel"), LANES).domain == "hotel"


def test_the_types_and_versions_that_were_written_are_noted_and_no_others(where: SqlPlace) -> None:
    """Declared is not written: until then, who does not know a type may still be started."""
    adopt(url_of(where), domain("hotel", 2, has_more=True), LANES)
    store = where.open()
    one = domain("hotel", 1).events["Counted"]()
    store.append([wrote(one, 1)])
    store.append([wrote(one, 2)])
    assert identity_of(url_of(where)).event_types == {("Counted", 1)}
    where.open().append([wrote(domain("hotel", 2).events["Counted"](), 3), placed("order-1")])
    assert identity_of(url_of(where)).event_types == {("Counted", 1), ("Counted", 2), ("OrderPlaced", 1)}


def test_events_that_the_code_cannot_read_are_refused(where: SqlPlace) -> None:
    """An old worker after a roll-back, or a module that has lost an event: it would fold what it cannot understand."""
    newer = domain("hotel", 2, has_more=True)
    adopt(url_of(where), newer, LANES)
    where.open().append([wrote(newer.events["Counted"](), 1)])
    url = url_of(where)
    require(url, domain("hotel", 3), LANES)
    with pytest.raises(Misconfigured, match=r"TWOFOLD_DOMAIN=hotel: .*\(Counted version 2\)"):
        require(url, domain("hotel", 1), LANES)
    require(url, domain("hotel", 1, DOWNCASTERS=(Downcaster("Counted", 2, dict),)), LANES)
    where.open().append([wrote(newer.events["Forgotten"](), 2)])
    with pytest.raises(Misconfigured, match=r"\(Counted version 2, Forgotten version 1\)"):
        adopt(url_of(where), domain("hotel", 1), LANES)


def test_an_append_that_is_refused_notes_its_types_all_the_same_the_next_time(where: SqlPlace) -> None:
    """A type is not taken for noted because somebody tried to."""
    store = where.open()
    newer = domain("hotel", 2).events["Counted"]()
    first = wrote(newer, 1)
    store.append([placed("counter-1")])
    with pytest.raises(Conflict):
        store.append([first])
    store.append([wrote(newer, 2)])
    assert ("Counted", 2) in identity_of(url_of(where)).event_types


@pytest.mark.parametrize("kind", ["postgres", "sqlite"])
def test_a_log_from_before_is_given_its_row_and_its_types(kind: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    """Release 0.1.0 wrote down nothing of it: what stands in its events is taken from there, once."""
    url = request.getfixturevalue("postgres_url") if kind == "postgres" else f"sqlite:///{tmp_path / 'log.db'}"
    engine = create_engine(normalise_url(url))
    with engine.begin() as connection:
        config = Config()
        config.set_main_option("script_location", str(twofold.eventstore.migrate.MIGRATIONS))
        config.attributes.update(connection=connection, version_table=twofold.eventstore.migrate.VERSION_TABLE)
        command.upgrade(config, "0001")
        at = "now()" if kind == "postgres" else "0"
        for number, meta in enumerate(('{"command_id": "a"}', '{"command_id": "b", "schema_version": 2}'), start=1):
            row = f"({number}, 'counter-1', {number}, 'Counted', '{{}}', :meta, {at})"
            connection.execute(text(f"INSERT INTO events VALUES {row}"), {"meta": meta})
    engine.dispose()
    assert not twofold.eventstore.migrate.is_current(url)
    twofold.eventstore.migrate.migrate(url)
    with pytest.raises(Misconfigured, match="Counted version 2"):
        adopt(url, domain("shop", 1), LANES)
    assert identity_of(url).domain == ""
    assert adopt(url, domain("hotel", 2), LANES).event_types == {("Counted", 1), ("Counted", 2)}
    assert require(url, domain("hotel", 2), LANES).domain == "hotel"


@pytest.mark.parametrize("name", ["", "two\nlines", "x" * 201, 7])
def test_a_name_that_no_log_could_know_is_refused(name: object) -> None:
    """It stands in a database for ever, and in messages of one line."""
    with pytest.raises(Misconfigured, match="NAME"):
        domain("hotel", NAME=name)
