"""The log in partitions by position: looked at, made of tables that are in use, detached and attached (docs/decisions/0026).

    events ─┬─ events_0          positions from 0        inbox ─┬─ inbox_0
            ├─ events_10000000   …                              ├─ inbox_10000000
            └─ events_20000000   nothing yet                    └─ inbox_20000000

    detach ──> events_0 is a table of its own, and in its place stands events_0_kept: what a fold may still need of it
    attach ──> back again

For operators, with the rights of whoever migrates: nothing here runs beside a command. What may take long holds up nobody; what
holds up everybody is over at once, or gives up after LOCK_TIMEOUT and may be typed again.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from sqlalchemy import Connection, text

from twofold.eventstore.migrate import PARTITION_POSITIONS, looking, migrating
from twofold.kernel.errors import Misconfigured

LOCK_TIMEOUT = "2s"
"""So long, at most, appends wait behind whoever waits for a reader (a dump) that has the tables."""
KEPT = "_kept"

HEAD = "SELECT position, partition_positions, detached_through FROM log_head ORDER BY position DESC LIMIT 1"
ATTACHED = """
    SELECT p.name, p.first, p.until, pg_total_relation_size(p.oid)
        + coalesce(pg_total_relation_size(to_regclass('inbox_' || p.first)), 0) AS bytes
    FROM log_partitions AS p ORDER BY p.first
"""
DETACHED = """
    SELECT c.relname AS name, substring(c.relname FROM 8)::bigint AS first, pg_total_relation_size(c.oid)
        + coalesce(pg_total_relation_size(to_regclass('inbox_' || substring(c.relname FROM 8))), 0) AS bytes
    FROM pg_class AS c
    WHERE c.relkind = 'r' AND NOT c.relispartition AND c.relname ~ '^events_[0-9]+$' AND pg_table_is_visible(c.oid)
    ORDER BY first
"""
NEEDED = """
    SELECT e.* FROM {name} AS e
    LEFT JOIN snapshots AS s ON s.stream = e.stream AND EXISTS (
        SELECT FROM events WHERE events.position = s.position AND events.stream = s.stream AND events.version = s.version
    )
    WHERE s.stream IS NULL OR e.version >= s.version
"""
"""Of a partition, what the fold of a stream may still need: from its snapshot on; where it has none, everything. It is also what
its next version is compared with. So a stream goes on as if nothing had been detached."""


class Partition(NamedTuple):
    """Events and outcomes at positions from `first` to before `until`. `is_attached`: the log has them; `is_kept`: only what a
    fold may need of them. `bytes` with indexes and outcomes."""

    name: str
    first: int
    until: int
    bytes: int
    is_attached: bool

    @property
    def is_kept(self) -> bool:
        return self.name.endswith(KEPT)


class Growth(NamedTuple):
    """How far the log has grown. `size` is 0 for one without partitions; `detached_through` 0 while nothing is detached."""

    head: int
    size: int
    detached_through: int
    partitions: list[Partition]


def growth_of(url: str) -> Growth:
    """By position; what is detached, but still in the database, among the others."""
    with looking(url) as connection:
        return _growth(connection)


def partition(url: str, size: int = PARTITION_POSITIONS) -> Iterator[str]:
    """Make the tables of a log in use the first partitions, as they are; says what it does. May be stopped, and repeated."""
    growth = growth_of(url)
    if growth.size:
        yield f"the log is in partitions of {growth.size} positions already"
        return
    until = (growth.head // size + 2) * size
    for of in ("events", "inbox"):
        with migrating(url, LOCK_TIMEOUT) as connection:
            _run(connection, f"ALTER TABLE {of} DROP CONSTRAINT IF EXISTS {of}_0_positions")
            within = f"CHECK (position >= 0 AND position < {until})"
            _run(connection, f"ALTER TABLE {of} ADD CONSTRAINT {of}_0_positions {within} NOT VALID")
    for of in ("events", "inbox"):
        yield f"reads {of} once, to see that all its positions are below {until}; nobody waits for it"
        with migrating(url) as connection:
            _run(connection, f"ALTER TABLE {of} VALIDATE CONSTRAINT {of}_0_positions")
    with migrating(url, LOCK_TIMEOUT) as connection:
        _run(connection, f"SELECT log_partition({size}, {until})")
    yield f"in partitions: what there is up to position {until - 1} is the first, and each of {size} from there on"


def refuse_to_detach(growth: Growth, before: int, horizon: int, lowest: int) -> list[Partition]:
    """The partitions that lie before this position and may be detached, oldest first. Raises Misconfigured, with the fix.

    `horizon`: so many positions back from the head a command asked again is answered with its first outcome; 0: as far as there
    are any. `lowest`: where the view stands that is furthest behind, whatever it is for."""
    if not growth.size:
        raise Misconfigured("the log is not in partitions; run `twofold partitions begin`")
    if not horizon:
        raise Misconfigured(
            "TWOFOLD_IDEMPOTENCY_POSITIONS is not set: every command that was ever decided may be asked again; say for how many"
            " positions back from the head it has to be known, and what is older may be detached"
        )
    found = [one for one in growth.partitions if one.is_attached and not one.is_kept and one.until <= before]
    for one in found:
        if one.until > growth.head + 1 - horizon:
            raise Misconfigured(f"{one.name} ends at {one.until - 1}, within {horizon} positions of the head, {growth.head}")
        if one.until > lowest:
            raise Misconfigured(f"{one.name} ends at {one.until - 1}, and a view still stands at {lowest}; let it catch up")
    return found


def detach(url: str, one: Partition) -> Iterator[str]:
    """Take a partition out of the log, but for what a fold may need of it; says what it does. May be stopped, and repeated."""
    kept = f"{one.name}{KEPT}"
    yield f"{one.name}: copies what folds may still need, nobody waits for it"
    with migrating(url) as connection:
        _run(connection, f"DROP TABLE IF EXISTS {kept}")
        _run(connection, f"CREATE TABLE {kept} (LIKE {one.name} INCLUDING ALL)")
        _run(connection, f"ALTER TABLE {kept} ADD CHECK (position >= {one.first} AND position < {one.until})")
        rows = connection.execute(text(f"INSERT INTO {kept} {NEEDED.format(name=one.name)}")).rowcount
        _run(
            connection,
            f"CREATE TRIGGER events_are_permanent BEFORE UPDATE OR DELETE OR TRUNCATE ON {kept}"
            " FOR EACH STATEMENT EXECUTE FUNCTION events_are_permanent()",
        )
    with migrating(url, LOCK_TIMEOUT) as connection:
        _run(connection, "LOCK TABLE events, inbox IN ACCESS EXCLUSIVE MODE")
        _run(connection, f"ALTER TABLE events DETACH PARTITION {one.name}")
        _run(connection, f"ALTER TABLE inbox DETACH PARTITION inbox_{one.first}")
        _run(connection, f"ALTER TABLE events ATTACH PARTITION {kept} FOR VALUES FROM ({one.first}) TO ({one.until})")
        _run(connection, f"UPDATE log_head SET detached_through = {one.until - 1}")
    yield f"{one.name} and inbox_{one.first} are tables of their own now; {rows} of its events were kept, as {kept}"


def attach(url: str) -> Iterator[str]:
    """Bring back what was detached last; says what it does. Raises Misconfigured when there is nothing, or it is not here."""
    growth = growth_of(url)
    kept = next((one for one in reversed(growth.partitions) if one.is_kept and one.is_attached), None)
    if kept is None:
        raise Misconfigured("nothing is detached")
    name, inbox = kept.name.removesuffix(KEPT), f"inbox_{kept.first}"
    if not any(one.name == name for one in growth.partitions):
        raise Misconfigured(f"the tables {name} and {inbox} are not in this database; restore them first (docs/operate.md)")
    yield f"{name}: is read once, nobody waits for it"
    with migrating(url) as connection:
        for table in (name, inbox):
            _run(connection, f"ALTER TABLE {table} DROP CONSTRAINT IF EXISTS {table}_positions")
            within = f"position >= {kept.first} AND position < {kept.until}"
            _run(connection, f"ALTER TABLE {table} ADD CONSTRAINT {table}_positions CHECK ({within})")
    with migrating(url, LOCK_TIMEOUT) as connection:
        _run(connection, "LOCK TABLE events, inbox IN ACCESS EXCLUSIVE MODE")
        _run(connection, f"ALTER TABLE events DETACH PARTITION {kept.name}")
        _run(connection, f"DROP TABLE {kept.name}")
        for of, table in (("events", name), ("inbox", inbox)):
            _run(connection, f"ALTER TABLE {of} ATTACH PARTITION {table} FOR VALUES FROM ({kept.first}) TO ({kept.until})")
        _run(connection, f"UPDATE log_head SET detached_through = {max(kept.first - 1, 0)}")
    yield f"{name} and {inbox} are attached"


def _growth(connection: Connection) -> Growth:
    head = connection.execute(text(HEAD)).one()
    partitions = [Partition(row.name, row.first, row.until, row.bytes, True) for row in connection.execute(text(ATTACHED))]
    if not partitions:
        return Growth(head.position, 0, head.detached_through, [])
    ends = {one.first: one.until for one in partitions}
    detached = [
        Partition(row.name, row.first, ends[row.first], row.bytes, False)
        for row in connection.execute(text(DETACHED))
        if row.first in ends
    ]
    together = sorted(partitions + detached, key=lambda one: (one.first, one.is_attached))
    return Growth(head.position, head.partition_positions, head.detached_through, together)


def _run(connection: Connection, statement: str) -> None:
    connection.exec_driver_sql(statement)
