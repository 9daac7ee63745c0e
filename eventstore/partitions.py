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

FEWEST_EVENTS = 3
"""Of a stream with fewer in a partition, a state and the event that it stands on would be no less."""
STREAMS_AT_ONCE = 500

STREAMS = """
    SELECT stream FROM {name} WHERE stream > :after GROUP BY stream HAVING count(*) >= :events ORDER BY stream LIMIT :limit
"""
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
        _call(url, "log_bound(:of, :until)", of=of, until=until)
    for of in ("events", "inbox"):
        yield f"reads {of} once, to see that all its positions are below {until}; nobody waits for it"
        _call(url, "log_see_to_bound(:of)", of=of)
    _call(url, "log_partition(:size, :until)", size=size, until=until)
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


def streams_to_keep(url: str, one: Partition) -> Iterator[list[str]]:
    """The streams of a partition that have more events there than a state of theirs would replace, in portions, by name."""
    after = ""
    while True:
        with looking(url) as connection:
            given = {"after": after, "events": FEWEST_EVENTS, "limit": STREAMS_AT_ONCE}
            found = [row.stream for row in connection.execute(text(STREAMS.format(name=one.name)), given)]
        if not found:
            return
        yield found
        after = found[-1]


def detach(url: str, one: Partition) -> Iterator[str]:
    """Take a partition out of the log, but for what a fold may need of it; says what it does. May be stopped, and repeated."""
    yield f"{one.name}: copies what folds may still need, nobody waits for it"
    kept_count = _call(url, "log_keep(:first, :until)", first=one.first, until=one.until)
    _call(url, "log_detach(:first, :until)", first=one.first, until=one.until)
    yield (
        f"{one.name} and inbox_{one.first} are tables of their own now; {kept_count} of its events were kept, as {one.name}{KEPT}"
    )


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
    _call(url, "log_see_to_detached(:first, :until)", first=kept.first, until=kept.until)
    _call(url, "log_attach(:first, :until)", first=kept.first, until=kept.until)
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


def _call(url: str, function: str, **given: str | int) -> int | None:
    """One of the functions of `migrations/versions`, in a transaction of its own."""
    with migrating(url, LOCK_TIMEOUT) as connection:
        answer: int | None = connection.execute(text(f"SELECT {function}"), given).scalar()
    return answer
