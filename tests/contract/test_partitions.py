"""The log in partitions: what held for one table holds across them, and what is detached is missed by whoever needs it."""

from __future__ import annotations

import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.contract.eventstores import PostgresPlace, SameViews, decided, envelope, placed
from tests.contract.test_execute import DOMAIN, asked, executor, statuses
from tests.servers import Servers
from tests.servers.binaries import path_of
from tests.servers.postgres import libpq
from twofold.database.postgres import LOG, connect
from twofold.eventstore import partitions
from twofold.eventstore.partitions import Growth, Partition
from twofold.eventstore.postgres import PostgresLog, append
from twofold.kernel.codec import Codec
from twofold.kernel.errors import Conflict, Detached, Misconfigured, Unavailable
from twofold.kernel.ports import Log
from twofold.workers.keeping import keep_states

SIZE = 10
BLOCKED_SECONDS_MAX = 30.0


@pytest.fixture
def where(postgres_url: str) -> Iterator[PostgresPlace]:
    place = PostgresPlace(postgres_url, SIZE)
    yield place
    place.close()


@pytest.fixture
def plain(postgres_url: str) -> Iterator[PostgresPlace]:
    """As a version before has left it."""
    place = PostgresPlace(postgres_url, 0)
    yield place
    place.close()


def filled(store: Log, through: int) -> None:
    """One event each, up to this position."""
    for number in range(store.head()[0] + 1, through + 1):
        store.append([placed(f"filler-{number}")])


def partitions_of(where: PostgresPlace) -> list[tuple[Any, ...]]:
    return where.execute("SELECT name, first, until FROM log_partitions ORDER BY first")


def test_positions_go_on_from_one_partition_to_the_next(where: PostgresPlace) -> None:
    """Batches of any length, across any number of boundaries, and there is always a partition to come."""
    store = where.open()
    counts = (1, 3, 9, 1, 2, 4, 9, 9)
    for number, count in enumerate(counts):
        appended = store.append([placed(f"order-{number}", count, count), decided(envelope(f"order-{number}"), count)])
        assert partitions_of(where)[-1][1] > appended.head, "one is ahead"
    total = sum(counts)
    assert [event.position for event in store.page(0, 100).events] == list(range(1, total + 1))
    assert [event.version for event in store.stream("order-7")] == list(range(1, 10))
    assert [event.position for event in store.page(7, 100, ["OrderPlaced"]).events] == list(range(8, total + 1))
    assert where.execute("SELECT count(*) FROM events_10") == [(SIZE,)]


def test_a_version_of_an_older_partition_is_taken(where: PostgresPlace) -> None:
    """Each partition has an index of its own: the one that says no is another's."""
    store = where.open()
    store.append([placed("order-1", version=2, count=2)])
    filled(store, SIZE + 3)
    for version in (1, 2):
        with pytest.raises(Conflict):
            store.append([placed("order-2"), placed("order-1", version)])
    assert (store.head()[0], store.version("order-2")) == (SIZE + 3, 0)
    assert store.append([placed("order-1", 3)]).head == SIZE + 4


def test_a_batch_that_crosses_the_boundary_is_compared_with_the_partition_it_leaves(where: PostgresPlace) -> None:
    store = where.open()
    store.append([first := placed("order-1")])
    filled(store, SIZE - 2)
    with pytest.raises(Conflict):
        store.append([placed("order-2", 5, 5), placed("order-1")])
    with pytest.raises(Conflict):
        store.append([placed("order-2", 5, 5), decided(first.envelope, 1)])
    assert store.append([placed("order-2", 5, 5)]).head == SIZE + 3


@pytest.mark.parametrize("count", [0, 1])
def test_a_command_is_decided_once_wherever_its_outcome_is(where: PostgresPlace, count: int) -> None:
    store = where.open()
    first = decided(envelope("order-1"), count, count)
    store.append([first])
    filled(store, SIZE + 1)
    for again in (decided(first.envelope, 1, 1), decided(first.envelope, 0, status="rejected", code="no")):
        with pytest.raises(Conflict):
            store.append([again])
    assert store.outcomes([first.envelope.command_id])[first.envelope.command_id].status == ("succeeded" if count else "ignored")


def test_a_newer_attempt_replaces_a_parked_outcome_of_an_older_partition(where: PostgresPlace) -> None:
    store = where.open()
    sent = envelope("order-1")
    store.append([decided(sent, 0, status="parked", code="bug", error="no")])
    filled(store, SIZE + 1)
    again = msgspec.structs.replace(sent, attempt=2)
    store.append([decided(again, 1, 1)])
    assert store.outcomes([sent.command_id])[sent.command_id].status == "succeeded"
    assert where.execute(f"SELECT count(*) FROM inbox WHERE command_id = '{sent.command_id}'") == [(1,)]
    filled(store, 2 * SIZE + 1)
    with pytest.raises(Conflict):
        store.append([decided(msgspec.structs.replace(sent, attempt=3), 2, 1)])


@pytest.mark.parametrize("is_same", ["stream", "command"])
def test_who_waits_while_another_crosses_the_boundary_decides_again(where: PostgresPlace, is_same: str) -> None:
    """He has not seen what the other one wrote, and the index that knows it is not the one of the partition he writes to."""
    store, engine = where.open(), connect(where.url, 1, LOG)
    filled(store, SIZE - 2)
    first = placed("order-1")
    elsewhere = decided(msgspec.structs.replace(first.envelope, stream="order-2"), 1, 1)
    second = placed("order-1") if is_same == "stream" else elsewhere
    raised: list[BaseException] = []

    def wait_behind() -> None:
        try:
            PostgresLog(engine).append([second])
        except Conflict as error:
            raised.append(error)

    waiter = threading.Thread(target=wait_behind)

    class Slow(SameViews):
        def hears(self, events: object) -> bool:
            return True

        def lock(self, connection: Any, events: Any) -> None: ...

        def write(self, connection: Any, locked: Any, events: Any) -> None:
            waiter.start()
            until_blocked(where)

    store.append([first], Slow())
    waiter.join(BLOCKED_SECONDS_MAX)
    assert [type(error) for error in raised] == [Conflict]
    assert (store.head()[0], store.version("order-1"), store.version("order-2")) == (SIZE - 1, 1, 0)
    engine.dispose()


def until_blocked(where: PostgresPlace) -> None:
    deadline = time.monotonic() + BLOCKED_SECONDS_MAX
    asked = "SELECT count(*) FROM pg_locks WHERE NOT granted AND locktype IN ('transactionid', 'tuple')"
    while where.execute(asked) == [(0,)]:
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_a_role_that_may_make_no_tables_is_never_without_a_partition(where: PostgresPlace, unique: str) -> None:
    where.execute(f"CREATE ROLE {unique} LOGIN")
    where.execute("REVOKE ALL ON SCHEMA public FROM PUBLIC")
    where.execute(f"GRANT USAGE ON SCHEMA public TO {unique}")
    where.execute(f"GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO {unique}")
    engine = connect(where.url.replace("twofold@", f"{unique}@"), 1, LOG)
    filled(PostgresLog(engine), 4 * SIZE)
    engine.dispose()
    assert where.open().head()[0] == 4 * SIZE
    where.execute(f"DROP OWNED BY {unique}")
    where.execute(f"DROP ROLE {unique}")


def test_an_append_that_finds_no_partition_waits(where: PostgresPlace) -> None:
    """It is not the commands' fault: none of them is parked for it."""
    where.execute(
        "CREATE OR REPLACE FUNCTION log_extend() RETURNS bigint LANGUAGE plpgsql AS 'BEGIN RAISE insufficient_privilege; END'"
    )
    store = where.open()
    filled(store, 2 * SIZE - 1)
    with pytest.raises(Unavailable, match="no partition"):
        store.append([placed("order-1")])
    assert store.head()[0] == 2 * SIZE - 1


def test_tables_in_use_become_the_first_partitions_while_others_append(plain: PostgresPlace, unique: str) -> None:
    """Nothing is copied, rights stay, and a version before goes on until an operator says so."""
    store = plain.open()
    plain.execute(f"CREATE ROLE {unique}")
    plain.execute(f"GRANT SELECT, INSERT ON events TO {unique}")
    first = placed("order-1")
    store.append([first])
    filled(store, SIZE + 5)
    assert partitions_of(plain) == []
    [[file]] = plain.execute("SELECT pg_relation_filenode('events')")
    engine, is_over = connect(plain.url, 1, LOG), threading.Event()

    def append() -> None:
        beside, number = PostgresLog(engine), 0
        while not is_over.is_set():
            number += 1
            beside.append([placed(f"beside-{number}")])

    writer = threading.Thread(target=append)
    writer.start()
    said = list(partitions.partition(plain.url, 10_000))
    again = list(partitions.partition(plain.url, 10_000))
    is_over.set()
    writer.join(BLOCKED_SECONDS_MAX)
    engine.dispose()
    head = store.append([placed("order-2")]).head
    assert [event.position for event in store.page(0, 10_000).events] == list(range(1, head + 1))
    assert partitions_of(plain)[0] == ("events_0", 0, 20_000) and len(said) == 3 and "already" in again[0]
    assert plain.execute("SELECT pg_relation_filenode('events_0')") == [(file,)]
    granted = f"SELECT has_table_privilege('{unique}', 'events', 'INSERT'), has_table_privilege('{unique}', 'events', 'DELETE')"
    assert plain.execute(granted) == [(True, False)]
    with pytest.raises(Conflict):
        store.append([first])
    plain.execute(f"DROP OWNED BY {unique}")
    plain.execute(f"DROP ROLE {unique}")


def keep_snapshot(where: PostgresPlace, stream: str) -> None:
    """Of the stream's last event, as a worker keeps it."""
    where.execute(
        "INSERT INTO snapshots SELECT stream, 's', version, position, meta ->> 'command_id', recorded_at, '{}' FROM events"
        f" WHERE stream = '{stream}' ORDER BY version DESC LIMIT 1"
    )


def detached(where: PostgresPlace) -> Log:
    """order-1 has events before, in and behind what is detached, order-2 ends there with a snapshot, order-3 without one."""
    store = where.open()
    store.append([placed("order-1", 3, 3), placed("order-2", 2, 2), placed("order-3", 2, 2)])
    for stream in ("order-1", "order-2"):
        keep_snapshot(where, stream)
    store.append([placed("order-1", 4)])
    filled(store, 3 * SIZE)
    growth = partitions.growth_of(where.url)
    found = partitions.refuse_to_detach(growth, SIZE, horizon=SIZE, lowest=growth.head)
    assert [one.name for one in found] == ["events_0"]
    for one in found:
        assert "6 of its events were kept" in list(partitions.detach(where.url, one))[-1]
    return store


def test_what_is_detached_is_missed_by_whoever_needs_it(where: PostgresPlace) -> None:
    """And by nobody else: heads, pages of what follows, streams without a snapshot, and the next version of every stream."""
    store = detached(where)
    for need in (
        lambda: store.page(0, 100),
        lambda: store.page(2, 100),
        lambda: store.page(0, 100, ["OrderPlaced"]),
        lambda: store.stream("order-1"),
        lambda: store.stream("order-2", after=0, limit=1),
        lambda: store.stream("order-2", to_version=1),
        lambda: store.read({"order-2": None, "order-3": None}),
    ):
        with pytest.raises(Detached, match=f"positions 1 to {SIZE - 1}.*partitions attach"):
            need()
    assert store.page(SIZE - 1, 100).events[0].position == SIZE
    assert [event.version for event in store.stream("order-3")] == [1, 2]
    assert [event.version for event in store.stream("order-1", after=2)] == [3, 4]
    assert [store.version(stream) for stream in ("order-1", "order-2", "order-3", "nobody")] == [4, 2, 2, 0]
    assert store.stream("nobody") == []
    head = store.head()[0]
    assert store.append([placed("order-2", 3), placed("order-3", 3), placed("order-1", 5)]).head == head + 3
    for taken in (placed("order-2", 1), placed("order-2", 2), placed("order-3", 2)):
        with pytest.raises(Conflict):
            store.append([taken])


@pytest.mark.parametrize("stream", ["order-1", "order-2"])
def test_a_stream_whose_next_page_is_detached_is_not_taken_for_a_new_one(
    where: PostgresPlace, stream: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A page of a stream is so many versions long: all of it may be detached, and what is kept lie behind it."""
    monkeypatch.setattr(append, "READ_BYTES_MAX", 1)
    store = detached(where)
    for shape in ("s", "t"):
        with pytest.raises(Detached) if shape == "t" else nullcontext():
            loaded = store.read({stream: None}, {stream: shape})
            assert loaded.snapshots[stream].last.version == (3 if stream == "order-1" else 2)
            assert [event.version for event in loaded.events.get(stream, ())] == ([4] if stream == "order-1" else [])


def test_what_is_attached_again_is_as_if_it_had_never_been_away(where: PostgresPlace) -> None:
    store = detached(where)
    store.append([placed("order-2", 3)])
    assert "attached" in list(partitions.attach(where.url))[-1]
    assert [event.position for event in store.page(0, 100).events] == list(range(1, 3 * SIZE + 2))
    assert [event.version for event in store.stream("order-2")] == [1, 2, 3]
    assert [event.version for event in store.read({"order-2": None}).events["order-2"]] == [1, 2, 3]
    assert len(where.execute("SELECT 1 FROM inbox")) == 3 * SIZE + 1 - 8 + 4
    with pytest.raises(Misconfigured, match="nothing is detached"):
        list(partitions.attach(where.url))
    growth = partitions.growth_of(where.url)
    for one in partitions.refuse_to_detach(growth, 2 * SIZE, horizon=1, lowest=growth.head):
        list(partitions.detach(where.url, one))
    assert [one.name for one in partitions.growth_of(where.url).partitions if one.is_kept] == ["events_0_kept", "events_10_kept"]
    where.execute("DROP TABLE events_10, inbox_10")
    with pytest.raises(Misconfigured, match="events_10 and inbox_10 are not in this database"):
        list(partitions.attach(where.url))


def test_a_log_of_which_something_is_detached_is_restored_from_a_dump(
    where: PostgresPlace, servers: Servers, unique: str, tmp_path: Path
) -> None:
    """Partitions, what makes the next ones, what is kept and what it has to be exchanged for."""
    head = detached(where).head()[0]
    dump = str(tmp_path / "log.dump")
    subprocess.run([path_of("pg_dump"), "-Fc", "-f", dump, libpq(where.url)], check=True)
    with servers.database(f"restored_{unique}") as url:
        subprocess.run([path_of("pg_restore"), "--exit-on-error", "-d", libpq(url), dump], check=True)
        again = PostgresPlace(url, SIZE)
        store = again.open()
        with pytest.raises(Detached):
            store.page(0, 100)
        filled(store, head + 3 * SIZE)
        list(partitions.attach(url))
        assert [event.position for event in store.page(0, 100).events] == list(range(1, head + 3 * SIZE + 1))
        again.close()


def test_a_command_that_needs_what_is_detached_is_parked_alone(where: PostgresPlace) -> None:
    """Its lane goes on; an operator who has attached what was missing has it decided."""
    store = where.open()
    executor(store).execute([asked(1, "old"), asked(2, "old")])
    keep_snapshot(where, "counter-old")
    filled(store, 3 * SIZE)
    growth = partitions.growth_of(where.url)
    list(partitions.detach(where.url, growth.partitions[0]))
    sent = asked(4, "old")
    outcomes = executor(store).execute([asked(1, "new"), sent, asked(1, "other")])
    assert sorted(statuses(outcomes)) == ["parked", "succeeded", "succeeded"]
    [parked] = store.parked()
    assert "of positions 1 to 9" in parked.error and "partitions attach" in parked.error
    list(partitions.attach(where.url))
    [outcome] = executor(store).execute([msgspec.structs.replace(sent, attempt=2)])
    assert (outcome.status, outcome.version, store.parked()) == ("succeeded", 3, [])


def test_what_may_still_be_needed_is_not_detached() -> None:
    two = [Partition("events_0", 0, 10, 1, True), Partition("events_10", 10, 20, 1, True)]
    growth = Growth(25, SIZE, 0, two)
    assert partitions.refuse_to_detach(growth, 20, horizon=6, lowest=20) == two
    assert partitions.refuse_to_detach(growth, 19, horizon=6, lowest=20) == two[:1]
    for horizon, lowest, why in ((0, 25, "TWOFOLD_IDEMPOTENCY_POSITIONS"), (7, 25, "within 7 positions"), (1, 19, "a view")):
        with pytest.raises(Misconfigured, match=why):
            partitions.refuse_to_detach(growth, 20, horizon, lowest)
    with pytest.raises(Misconfigured, match="partitions begin"):
        partitions.refuse_to_detach(Growth(25, 0, 0, []), 20, 1, 25)


def test_short_streams_are_kept_as_states_before_they_are_detached(where: PostgresPlace) -> None:
    """Then one event of each has to stay; and whoever comes back after years goes on where it was."""
    store, counters = where.open(), ("a", "b", "short")
    for _ in range(3):
        executor(store).execute([asked(2, counter) for counter in counters[:2]])
    executor(store).execute([asked(1, "short")])
    filled(store, SIZE + 1)
    [first, *_] = partitions.growth_of(where.url).partitions
    portions = list(partitions.streams_to_keep(where.url, first))
    assert portions == [["counter-a", "counter-b"]]
    assert [keep_states(DOMAIN, Codec(DOMAIN), store, streams) for streams in portions * 2] == [2, 0]
    assert "5 of its events were kept" in list(partitions.detach(where.url, first))[-1], "9 there were"
    outcomes = executor(store).execute([asked(994, "a"), asked(995, "b"), asked(1, "short")])
    assert [(outcome.status, outcome.version) for outcome in outcomes] == [("succeeded", 4), ("rejected", 3), ("succeeded", 2)]


def test_a_state_that_cannot_be_kept_leaves_its_events(where: PostgresPlace) -> None:
    store = where.open()
    executor(store).execute([asked(2, "a") for _ in range(3)])
    store.append([placed("order-1", 3, 3)])
    unkept = replace(DOMAIN, deciders=tuple([replace(decider, snapshot_every=0) for decider in DOMAIN.deciders]))
    assert keep_states(unkept, Codec(unkept), store, ["counter-a", "order-1", "counter-nobody"]) == 0
    assert where.execute("SELECT count(*) FROM snapshots") == [(0,)]
