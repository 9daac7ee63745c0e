"""Ids in a log that grows: 16 bytes in a new one, text in one from before; and no event says thrice which command it is of."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import psycopg
import pytest

from tests.contract.eventstores import PostgresPlace, SqlitePlace, decided, envelope, placed
from tests.contract.test_execute import asked, executor, statuses
from tests.contract.test_partitions import BLOCKED_SECONDS_MAX, SIZE, filled
from tests.named import id_of
from twofold.database.postgres import LOG, connect
from twofold.eventstore import partitions
from twofold.eventstore.postgres import PostgresLog
from twofold.kernel.errors import Conflict
from twofold.kernel.log import Meta
from twofold.kernel.ports import Log

OPERATE = Path(__file__).parents[2] / "docs" / "operate.md"
KIND = """
    SELECT DISTINCT format_type(a.atttypid, NULL), count(*) FROM pg_attribute AS a JOIN pg_class AS c ON c.oid = a.attrelid
    WHERE a.attname = 'command_id' AND c.relname ~ '^inbox(_[0-9]+)?$' AND c.relkind IN ('r', 'p') GROUP BY 1
"""


def narrow(where: PostgresPlace, size: int) -> None:
    """As docs/operate.md says."""
    [found] = re.findall(r"```sql\n(BEGIN;.*?log_command_id.*?COMMIT;)\n```", OPERATE.read_text(), re.DOTALL)
    where.execute(found)


def begin(where: PostgresPlace, size: int) -> None:
    list(partitions.partition(where.url, size))


KINDS: dict[str, tuple[int, tuple[Callable[[PostgresPlace, int], None], ...], str]] = {
    "new": (SIZE, (), "uuid"),
    "in use": (0, (), "text"),
    "in use, in partitions": (0, (begin,), "text"),
    "in use, in partitions, made narrow": (0, (begin, narrow), "uuid"),
}


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def where(postgres_url: str, kind: str) -> Iterator[PostgresPlace]:
    place = PostgresPlace(postgres_url, KINDS[kind][0])
    yield place
    place.close()


def changed(where: PostgresPlace, kind: str, size: int = SIZE) -> Log:
    """By an operator; the log as who starts then finds it."""
    for change in KINDS[kind][1]:
        change(where, size)
    return where.open()


def test_outcomes_are_kept_whatever_ids_are_kept_as(where: PostgresPlace, kind: str) -> None:
    """And whatever they become: the first outcome is the one, in every partition."""
    store = where.open()
    parked = decided(envelope("order-2"), 0, status="parked", code="bug", error="no")
    done, refused = placed("order-1"), decided(envelope("order-3"), 0, status="rejected", code="no")
    store.append([done, refused, parked])
    filled(store, SIZE - 2)
    store = changed(where, kind)
    assert {found for found, _ in where.execute(KIND)} == {KINDS[kind][2]}
    filled(store, 3 * SIZE)
    for again in (decided(done.envelope, 2, 1), decided(refused.envelope, 0), decided(parked.envelope, 0)):
        with pytest.raises(Conflict):
            store.append([again])
    ids = [each.envelope.command_id for each in (done, refused, parked)]
    found = store.outcomes([*ids, id_of("nobody"), "no UUID", "\0", id_of("nobody").upper()])
    assert {command_id: outcome.command_id for command_id, outcome in found.items()} == dict(zip(ids, ids, strict=True))
    assert [found[each].status for each in ids] == ["succeeded", "rejected", "parked"]
    store.append([decided(msgspec.structs.replace(parked.envelope, attempt=2), 1, 1)])
    assert store.outcomes(ids)[ids[2]].status == "succeeded" and store.parked() == []


def test_commands_are_executed_whatever_ids_are_kept_as(where: PostgresPlace, kind: str) -> None:
    store = where.open()
    first = [asked(1, "a"), asked(5_000, "a"), asked(0, "b")]
    outcomes = executor(store).execute(first)
    store = changed(where, kind)
    filled(store, SIZE + 3)
    assert sorted(executor(store).execute(first), key=str) == sorted(outcomes, key=str)
    assert statuses(executor(store).execute([asked(2, "a"), asked(995, "a")])) == ["succeeded", "succeeded"]


def test_ids_become_narrow_while_others_append(where: PostgresPlace, kind: str) -> None:
    """Whoever has prepared a statement for the one goes on with the other."""
    filled(where.open(), SIZE + 3)
    engine, is_over, failed = connect(where.url, 1, LOG), threading.Event(), list[BaseException]()

    def append() -> None:
        beside, number = PostgresLog(engine), 0
        try:
            while not is_over.is_set():
                number += 1
                beside.append([sent := placed(f"beside-{number}")])
                assert sent.envelope.command_id in beside.outcomes([sent.envelope.command_id])
        except BaseException as error:
            failed.append(error)

    writer = threading.Thread(target=append)
    writer.start()
    changed(where, kind, 100_000)
    is_over.set()
    writer.join(BLOCKED_SECONDS_MAX)
    engine.dispose()
    assert failed == [] and not writer.is_alive()
    assert where.execute("SELECT count(*) FROM inbox") == where.execute("SELECT count(*) FROM events")


def test_an_id_that_is_no_uuid_stays_text_with_all_others(postgres_url: str) -> None:
    """Earlier versions noted whatever came over the broker."""
    where = PostgresPlace(postgres_url, 0)
    done = placed("order-1")
    where.open().append([done])
    where.execute("INSERT INTO inbox SELECT 'no UUID', 'f', 't', 's', 'ignored', 1, 1, 1, NULL, NULL, NULL, now(), now()")
    begin(where, SIZE)
    with pytest.raises(psycopg.errors.InvalidTextRepresentation):
        narrow(where, SIZE)
    with pytest.raises(Conflict):
        where.open().append([done])
    assert [found for found, _ in where.execute(KIND)] == ["text"]
    where.close()


def metas(where: PostgresPlace) -> list[set[str]]:
    return [set(json.loads(meta)) for [meta] in where.execute("SELECT meta::text FROM events ORDER BY position")]


SPELT_OUT = {"command_id", "correlation_id", "causation_id", "principal"}


def test_what_an_earlier_version_may_read_is_spelt_out(where: PostgresPlace, kind: str) -> None:
    """Only a log in partitions keeps earlier versions away. One in use is told that it is while it is appended to."""
    store = where.open()
    filled(store, 3)
    long_count = 0 if KINDS[kind][0] else 3
    assert metas(where) == [SPELT_OUT] * long_count + [{"command_id", "principal"}] * (3 - long_count)
    again, sent = changed(where, kind), placed("order-1")
    other = msgspec.structs.replace(sent.events[0].meta, correlated="order form 7", caused="c")
    events = (msgspec.structs.replace(sent.events[0], meta=other),)
    again.append([msgspec.structs.replace(sent, events=events), placed("order-2")])
    is_short = "partitions" in kind or kind == "new"
    assert metas(where)[3:] == [SPELT_OUT, {"command_id", "principal"} if is_short else SPELT_OUT]
    metas_read = [event.meta for event in again.page(0, 10).events]
    assert metas_read[3] == other and (metas_read[3].correlation_id, metas_read[3].causation_id) == ("order form 7", "c")
    for meta in (*metas_read[:3], metas_read[4]):
        assert meta.correlation_id == meta.causation_id == meta.command_id
        assert meta == Meta(meta.command_id, "anonymous") == meta.spelt_out() and hash(meta) == hash(meta.spelt_out())


def test_a_folder_that_an_earlier_version_may_open_is_spelt_out(tmp_path: Path) -> None:
    place = SqlitePlace(tmp_path / "log.db")
    store: Log = place.open()
    filled(store, 2)
    assert [set(json.loads(meta)) for [meta] in place.execute("SELECT meta FROM events")] == [SPELT_OUT] * 2
    place.close()
