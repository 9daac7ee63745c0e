"""The log on PostgreSQL: faults of the server and the network, several processes, plans of the hot statements."""

from __future__ import annotations

import json
import multiprocessing
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from typing import Any

import msgspec
import psycopg
import pytest

from tests.contract.eventstores import ACCEPTED_AT, PostgresPlace, SameViews, decided, envelope, place, placed
from tests.named import id_of
from tests.servers import Servers
from tests.servers.postgres import libpq
from twofold.database.postgres import LOG, borrowed, connect
from twofold.eventstore.migrate import is_current, migrate
from twofold.eventstore.postgres import PostgresLog, sql
from twofold.eventstore.postgres.leases import PostgresLeases
from twofold.kernel.errors import Conflict, Misconfigured, Unavailable
from twofold.kernel.members import Member

RECOVERED_SECONDS_MAX = 10.0


@pytest.fixture
def where(request: pytest.FixtureRequest) -> Iterator[PostgresPlace]:
    with place("postgres", request) as opened:
        assert isinstance(opened, PostgresPlace)
        yield opened


def test_migrating_at_once_and_again_is_harmless(postgres_url: str) -> None:
    """Every container of a deployment may run it at its start."""
    assert not is_current(postgres_url)
    context = multiprocessing.get_context("spawn")
    plain_url = libpq(postgres_url).replace("postgresql://", "postgres://")
    processes = [context.Process(target=migrate, args=(plain_url,)) for _ in range(3)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
    assert [process.exitcode for process in processes] == [0, 0, 0]
    assert is_current(postgres_url)
    migrate(postgres_url)


def test_a_server_that_is_not_there_is_unavailable() -> None:
    """Wait and retry, says the error; not what psycopg would say."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"postgresql://twofold@127.0.0.1:{unused.getsockname()[1]}/none"
        with pytest.raises(Unavailable):
            PostgresLog(connect(url, 1, LOG)).head()
        with pytest.raises(Unavailable):
            migrate(url)


@pytest.mark.parametrize("url", ["mysql://h/d", "not a url", "sqlite://"])
def test_an_address_that_cannot_be_a_log_is_misconfigured(url: str) -> None:
    """Found at start-up, with the name of the setting."""
    with pytest.raises(Misconfigured, match="TWOFOLD_DATABASE_URL"):
        migrate(url)


def append_many(url: str, name: str, batches: int) -> None:
    engine = connect(url, 1, LOG)
    store = PostgresLog(engine)
    for number in range(batches):
        store.append([placed(f"{name}-{number}-{part}") for part in range(1 + number % 5)])
    engine.dispose()


def test_several_processes_append_to_one_gapless_log(where: PostgresPlace) -> None:
    """Any number of workers on any number of hosts, and still a position is a completed prefix."""
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=append_many, args=(where.url, f"p{number}", 50)) for number in range(3)]
    for process in processes:
        process.start()
    store = where.open()
    positions: list[int] = []
    while any(process.is_alive() for process in processes) or store.head()[0] > len(positions):
        positions += [event.position for event in store.page(len(positions), 50).events]
    assert [process.exitcode for process in processes] == [0, 0, 0]
    assert positions == list(range(1, 3 * 150 + 1))


def test_what_only_reads_is_asked_again_without_a_word(where: PostgresPlace) -> None:
    store = where.open()
    store.append([placed("order-1")])
    where.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
        " WHERE application_name = 'twofold' AND datname = current_database()"
    )
    assert store.head()[0] == 1


def test_broken_connections_are_replaced(where: PostgresPlace) -> None:
    """After a restart of the server every idle connection is dead: each thread may notice it once, and then it is over."""
    store = where.open()
    store.append([placed("order-1")])
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda number: store.append([placed(f"order-a{number}")]), range(8)))
    where.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
        " WHERE application_name = 'twofold' AND datname = current_database()"
    )
    sent = placed("order-2")
    with pytest.raises(Unavailable):
        store.append([sent])
    assert store.append([sent]).head == 10
    with ThreadPoolExecutor(4) as pool:
        assert sorted(pool.map(lambda number: store.append([placed(f"order-b{number}")]).head, range(8))) == list(range(11, 19))


def test_a_restarted_server_is_found_again(servers: Servers) -> None:
    """Nobody has to restart a worker because its database was restarted or killed; nothing acknowledged is lost."""
    with servers.private_postgres() as server:
        migrate(server.url)
        engine = connect(server.url, 2, LOG)
        store = PostgresLog(engine)
        store.append([placed("order-1")])
        server.kill()
        with pytest.raises(Unavailable):
            store.append([placed("order-2")])
        with pytest.raises(Unavailable):
            store.head()
        server.start()
        deadline = time.monotonic() + RECOVERED_SECONDS_MAX
        while True:
            try:
                assert store.append([placed("order-3")]).head == 2
                break
            except Unavailable:
                assert time.monotonic() < deadline
        engine.dispose()


class Proxy:
    """Forwards TCP to the server; once `swallows_answers` is set, the next answer is lost and the connection with it."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.swallows_answers = False
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                server = socket.create_connection(("127.0.0.1", self._port))
                threading.Thread(target=self._forward, args=(client, server, False), daemon=True).start()
                threading.Thread(target=self._forward, args=(server, client, True), daemon=True).start()

    def _forward(self, source: socket.socket, sink: socket.socket, is_answer: bool) -> None:
        with suppress(OSError), source, sink:
            while data := source.recv(65536):
                if is_answer and self.swallows_answers:
                    sink.shutdown(socket.SHUT_RDWR)
                    return
                sink.sendall(data)


@pytest.mark.parametrize("is_retry", [False, True], ids=["one statement", "several statements"])
def test_a_connection_cut_after_commit_was_sent_is_unavailable_and_the_inbox_knows(where: PostgresPlace, is_retry: bool) -> None:
    """The answer is lost, not the decision: who asks again finds its outcome instead of deciding twice."""
    with psycopg.connect(libpq(where.url)) as direct:
        port = direct.info.port
    proxy = Proxy(port)
    engine = connect(where.url.replace(f":{port}/", f":{proxy.port}/"), 1, LOG)
    store = PostgresLog(engine)
    sent = envelope("order-1", attempt=2 if is_retry else 1)
    store.append([placed("order-0")])
    if is_retry:
        cut_at_commit(engine, proxy)
    else:
        proxy.swallows_answers = True
    with pytest.raises(Unavailable):
        store.append([decided(sent, 1, 1)])
    proxy.swallows_answers = False
    assert where.open().outcomes([sent.command_id])[sent.command_id].position == 2
    assert store.head()[0] == 2
    with pytest.raises(Conflict):
        store.append([decided(sent, 1, 1)])
    engine.dispose()
    proxy.close()


def cut_at_commit(engine: Any, proxy: Proxy) -> None:
    """Make the engine's only connection lose the answer to its next COMMIT."""
    with borrowed(engine) as connection:
        execute = connection.execute

        def execute_and_cut(statement: Any, *arguments: Any, **more: Any) -> Any:
            proxy.swallows_answers = statement == "COMMIT"
            return execute(statement, *arguments, **more)

        connection.execute = execute_and_cut  # type: ignore[assignment, method-assign]


def test_a_head_that_stays_locked_is_unavailable(where: PostgresPlace) -> None:
    """Every wait is bounded, also that for another worker."""
    engine = connect(where.url, 1, replace(LOG, lock_timeout_ms=200))
    store = PostgresLog(engine)
    with psycopg.connect(libpq(where.url)) as holder:
        holder.execute("SELECT * FROM log_head FOR UPDATE")
        with pytest.raises(Unavailable, match="55P03"):
            store.append([placed("order-1")])
    assert store.append([placed("order-1")]).head == 1
    engine.dispose()


def test_a_worker_stopped_inside_its_transaction_loses_the_head(where: PostgresPlace) -> None:
    """SIGSTOP in the middle of an append with inline rows must not stop everybody else's appends."""
    engine = connect(where.url, 1, replace(LOG, idle_in_transaction_timeout_ms=300))
    other = where.open()
    heads: list[int] = []

    class Stopped(SameViews):
        def hears(self, events: object) -> bool:
            return True

        def lock(self, connection: Any, events: Any) -> None:
            pass

        def write(self, connection: Any, locked: Any, events: Any) -> None:
            heads.append(other.append([placed("order-2")]).head)

    with pytest.raises(Unavailable):
        PostgresLog(engine).append([placed("order-1")], Stopped())
    assert heads == [1]
    assert other.head()[0] == 1
    assert PostgresLog(engine).append([placed("order-1")]).head == 2
    engine.dispose()


def test_a_nul_in_what_is_appended_is_a_bug_of_that_command(where: PostgresPlace) -> None:
    """Data errors stay what they are, so that the worker parks the one command instead of waiting for better times."""
    store = where.open()
    with pytest.raises(psycopg.DataError):
        store.append([placed("order-\0")])
    with pytest.raises(psycopg.OperationalError, match="index row"):
        store.append([placed("order-" + "".join(chr(0x4E00 + number) for number in range(9000)))])
    assert store.append([placed("order-1")]).head == 1


def test_a_role_that_may_make_no_tables_runs_everything_but_migrate(where: PostgresPlace, unique: str) -> None:
    """Tables are made by `migrate` alone, so what runs day and night needs no right to make, change or drop any."""
    where.execute(f"CREATE ROLE {unique} LOGIN")
    where.execute("REVOKE ALL ON SCHEMA public FROM PUBLIC")
    where.execute(f"GRANT USAGE ON SCHEMA public TO {unique}")
    where.execute(f"GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO {unique}")
    url = where.url.replace("twofold@", f"{unique}@")
    engine = connect(url, 1, LOG)
    with pytest.raises(Unavailable, match="42501"), borrowed(engine) as connection:
        connection.execute("CREATE TABLE forbidden (n int)")
    assert is_current(url)
    log, leases = PostgresLog(engine), PostgresLeases(engine)
    sent = envelope("order-2")
    log.append([placed("order-1"), decided(sent, 0, status="parked", code="bug", error="no")])
    log.append([decided(msgspec.structs.replace(sent, attempt=2), 1, 1)])
    log.append([decided(envelope("order-3"), 0, status="parked", code="bug", error="no")])
    assert log.outcomes([sent.command_id])[sent.command_id].status == "succeeded"
    assert [event.position for event in log.page(0, 10).events] == [1, 2]
    assert (log.head()[0], log.version("order-2"), len(log.stream("order-1"))) == (2, 1, 1)
    assert len(log.read({"order-1": None}).events) == 1
    assert log.discard(log.parked()[0].id)
    assert leases.renew(Member("workers", "a"), ["lane-0", "lane-1"], 30.0) == {"lane-0": 1, "lane-1": 1}
    assert leases.renew(Member("workers", "a"), ["lane-0"], 30.0) == {"lane-0": 1}
    assert [(member.name, member.holds) for member in leases.members()] == [("a", ("lane-0",))]
    leases.leave("workers", "a")
    engine.dispose()
    where.execute(f"DROP OWNED BY {unique}")
    where.execute(f"DROP ROLE {unique}")


def test_truncating_the_log_is_refused(where: PostgresPlace) -> None:
    """TRUNCATE is not DELETE to PostgreSQL."""
    with pytest.raises(psycopg.Error, match="never changed or removed"):
        where.execute("TRUNCATE events")


def asked(streams: list[str], version: int, shape: str) -> dict[str, Any]:
    """Parameters of READ."""
    about = {"versions": version, "command_ids": "c", "recorded_at": ACCEPTED_AT, "shapes": shape}
    return {"streams": streams, "bytes": 10_000} | {name: [value] * len(streams) for name, value in about.items()}


ROWS = 5_000
HOT: dict[str, tuple[str, Any]] = {
    "outcomes": (sql.OUTCOMES, ([id_of(f"command-{number}") for number in range(200)],)),
    "read": (sql.READ, asked([f"order-{number}" for number in range(1000)], 3, "")),
    "read from the start": (sql.READ, asked(["order-7"], 0, "")),
    "read behind snapshots": (sql.READ, asked([f"order-{number}" for number in range(1000)], 0, "round")),
    "take the head": (
        sql.TAKE_HEAD,
        {
            "event_count": 2,
            "inline_views": 0,
            **{"preceded_streams": ["order-7"], "preceding_versions": [3], "first_streams": ["order-7"], "first_versions": [4]},
            "fresh_ids": [id_of("command-7")],
        },
    ),
    "page": (sql.PAGE, (2_500, 1000, 1_000_000)),
    "page of types": (sql.PAGE_OF_TYPES, {"after": 100, "through": 200, "types": ["OrderPlaced"], "limit": 50, "bytes": 9}),
    "stream": (sql.STREAM, ("order-7", 0, 100, "infinity", None)),
    "version": (sql.VERSION, ("order-7",)),
    "recorded at": (sql.RECORDED_AT, (list(range(1, 200)),)),
    "parked": (sql.PARKED, (10, 10)),
}


@pytest.fixture(scope="module")
def grown(servers: Servers) -> Iterator[str]:
    """A log of some thousand rows, analysed, as libpq URL."""
    admin_url = libpq(servers.postgres_url)
    name = f"twofold_plans_{time.time_ns()}"
    with psycopg.connect(admin_url, autocommit=True) as admin:
        admin.execute(f'CREATE DATABASE "{name}"')
    url = admin_url.rpartition("/")[0] + "/" + name
    migrate(url)
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(
            f"INSERT INTO events SELECT n, 'order-' || n % {ROWS // 20}, n / {ROWS // 20}, 'OrderPlaced', '{{}}', '{{}}', now()"
            f" FROM generate_series(1, {ROWS}) AS n"
        )
        connection.execute(
            "INSERT INTO inbox SELECT gen_random_uuid(), 'f', 't', 's', 'succeeded', 1, 1, n, NULL, NULL, NULL, now(), now()"
            f" FROM generate_series(1, {ROWS}) AS n"
        )
        connection.execute(
            "INSERT INTO parked_commands (command_id, fingerprint, envelope, reason, error, parked_at)"
            f" SELECT n, 'f', '{{}}', 'bug', '', now() FROM generate_series(1, {ROWS}) AS n"
        )
        connection.execute(
            "INSERT INTO snapshots SELECT 'order-' || n, 'round', 2, n, '', now(), '0'"
            f" FROM generate_series(1, {ROWS // 20}) AS n"
        )
        connection.execute("ANALYZE")
    yield url
    with psycopg.connect(admin_url, autocommit=True) as admin:
        admin.execute(f'DROP DATABASE "{name}" WITH (FORCE)')


@pytest.mark.parametrize("plan_cache_mode", ["force_custom_plan", "force_generic_plan"])
@pytest.mark.parametrize("name", HOT)
def test_no_hot_read_scans_a_table(grown: str, name: str, plan_cache_mode: str) -> None:
    """Times must not grow with the log: every hot read is answered by descending an index, prepared or not."""
    statement, parameters = HOT[name]
    with psycopg.connect(grown, autocommit=True) as connection:
        connection.execute(f"SET plan_cache_mode = {plan_cache_mode}")
        for setting, value in LOG.planner.items():
            connection.execute(f"SET {setting} = {value}")
        row = connection.execute("EXPLAIN (FORMAT JSON) " + statement, parameters, prepare=True).fetchone()
    assert row is not None
    scans = list(scanned(row[0][0]["Plan"]))
    assert scans, json.dumps(row[0])
    assert not [scan for scan in scans if scan["Node Type"] == "Seq Scan" and scan["Relation Name"] != "log_head"], scans
    if statement == sql.READ:
        conditions = [scan.get("Index Cond", scan.get("Recheck Cond", "")) for scan in scans if scan["Relation Name"] == "events"]
        assert all("version" in each or "position" in each for each in conditions), "a stream is not read to find one event of it"


def scanned(node: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The nodes of a plan that read a table."""
    if "Relation Name" in node:
        yield node
    for child in node.get("Plans", ()):
        yield from scanned(child)
