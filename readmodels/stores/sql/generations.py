"""Which builds of a view's rows there are, and making the next one where a view's shape has changed.

    (none) ── the first ──────────────────────> live ── swap ──> retired ── nobody needs it ──> dropped
           ── another shape ──> building ── swap ──^  <── its version is migrated to again ──┘

A view's inline generations and the others do not know each other: an inline one is folded by who migrates, not by a projector.
Nor do those that a search index holds know the ones that are here.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from sqlalchemy import Dialect

from twofold.database.session import Session
from twofold.kernel.builds import RETIRED_SECONDS_MIN, Build
from twofold.kernel.errors import Misconfigured
from twofold.kernel.rows import Generation, GenerationState
from twofold.kernel.view import AnyView
from twofold.readmodels.schema.shape import is_indexed, is_inline, shape_of
from twofold.readmodels.stores.sql.earlier import bring_up
from twofold.readmodels.stores.sql.tables import create_platform, create_rows, drop_rows, qualified, row_table_name

ADVISORY_LOCK = 0x74776F666F6C6472
"""Serialises makers of tables in one PostgreSQL database. Any number will do, as long as it stays the same."""

RETIRED = ""
"""Stands for a member in the table of users: until when a generation was live."""

OWN_STATES: tuple[GenerationState, ...] = ("live", "building", "retired")
"""Which generation of its own shape a process works on, the best first."""


def make(session: Session, view: AnyView, slices: int, dialect: Dialect, is_joining: bool = False) -> tuple[Generation, bool]:
    """The generation of the view's shape, made if there is none; and whether it was. In a transaction that may write.

    An inline one is being built until it is made once more, `is_joining`: it is live then, and true is returned."""
    alone(session, dialect)
    if dialect.name == "postgresql":
        # Rows may be lost in a crash and folded anew; tables that a process believes to be there may not.
        session.run("SET LOCAL synchronous_commit = on")
    for statement in create_platform(dialect):
        session.run(statement)
    bring_up(session, generations(session, view.name, dialect), dialect)
    known = generations(session, view.name, dialect)
    _drop_unneeded(session, known, dialect)
    mine = [(one, shape) for one, shape in known if _is_kept_alike(shape, shape_of(view)) and one.state != "dropped"]
    own = best([one for one, shape in mine if shape == shape_of(view)])
    live = next((one for one, _ in mine if one.state == "live"), None)
    if own is not None and (own.state != "retired" or view.sync != "inline"):
        if own.state == "retired":
            own = set_state(session, own, "building" if live else "live", dialect)
            _leave(session, [one for one in mine if one[0].number != own.number], live, "building", dialect)
        if own.state == "building" and is_joining:
            retire(session, [live] if live else [], dialect)
            return set_state(session, own, "live", dialect), True
        return own, False
    state: GenerationState = "building" if (not is_joining if view.sync == "inline" else live) else "live"
    generation = Generation(view.name, max((one.number for one, _ in known), default=0) + 1, slices, state)
    _leave(session, mine, live, state, dialect)
    make_rows(session, view, generation, dialect)
    return generation, True


def alone(session: Session, dialect: Dialect) -> None:
    """Until the transaction ends nobody else changes which generations there are."""
    if dialect.name == "postgresql":
        session.rows("SELECT pg_advisory_xact_lock(%s)", (ADVISORY_LOCK,))


def clear(session: Session, generation: Generation, dialect: Dialect) -> None:
    """Drop it, but for an empty table: somebody may be folding it, who finds no checkpoint then, and writes nothing."""
    _forget(session, generation, dialect)
    emptied = "TRUNCATE" if dialect.name == "postgresql" else "DELETE FROM"
    session.run(f"{emptied} {qualified(row_table_name(generation), dialect)}")
    set_state(session, generation, "dropped", dialect)


def _forget(session: Session, generation: Generation, dialect: Dialect) -> None:
    """Checkpoints go first, as who folds it locks them first, too."""
    mark = "%s" if dialect.name == "postgresql" else "?"
    for table in ("checkpoints", "parked_keys", "parked_positions", "generation_users"):
        sql = f"DELETE FROM {qualified(table, dialect)} WHERE view = {mark} AND generation = {mark}"
        session.count(sql, (generation.view, generation.number))


def best(own: Sequence[Generation]) -> Generation | None:
    """Of the generations of one shape, the one to work on: the live one, or the newest in the best state."""
    ranked = [(OWN_STATES.index(one.state), -one.number, one) for one in own if one.state in OWN_STATES]
    return min(ranked)[2] if ranked else None


def retire_inline(session: Session, but: Collection[str], dialect: Dialect) -> None:
    """Nobody folds inline views but these any more: the others' rows are not up to date from now on, and never will be."""
    if is_missing(session, dialect):
        return
    live = session.rows(f"SELECT view, generation, slices, shape FROM {qualified('generations', dialect)} WHERE state = 'live'")
    gone = [Generation(view, number, slices) for view, number, slices, shape in live if is_inline(shape) and view not in but]
    retire(session, gone, dialect)


def of_shape(session: Session, view: AnyView, dialect: Dialect) -> Generation | None:
    """The generation of the view's shape to work on. Makes nothing."""
    known = [] if is_missing(session, dialect) else generations(session, view.name, dialect)
    return best([one for one, shape in known if shape == shape_of(view)])


def builds(session: Session, views: Collection[str], dialect: Dialect) -> list[Build]:
    """By view and number, in one statement."""
    table, checkpoints = qualified("generations", dialect), qualified("checkpoints", dialect)
    at = f"SELECT min(position) FROM {checkpoints} c WHERE c.view = g.view AND c.generation = g.generation"
    sql = (
        f"SELECT view, generation, slices, state, shape, ({at}) FROM {table} g WHERE state <> 'dropped' ORDER BY view, generation"
    )
    return [
        Build(Generation(view, number, slices, state), shape, position or 0)
        for view, number, slices, state, shape, position in session.rows(sql)
        if view in views
    ]


def swap(session: Session, generation: Generation, position: int, dialect: Dialect) -> bool:
    """See kernel/builds.py."""
    alone(session, dialect)
    standing = {one.generation.number: one for one in builds(session, [generation.view], dialect)}
    mine = standing.get(generation.number)
    if mine is None or mine.generation.state != "building" or mine.position < position:
        return False
    alike = [one.generation for one in standing.values() if _is_kept_alike(one.shape, mine.shape)]
    retire(session, [one for one in alike if one.state == "live"], dialect)
    set_state(session, mine.generation, "live", dialect)
    return True


def use(session: Session, member: str, needed: Sequence[Generation], term_seconds: float, dialect: Dialect) -> None:
    """Note it, by the database's clock."""
    mark = "%s" if dialect.name == "postgresql" else "?"
    ordered = sorted(needed, key=lambda one: (one.view, one.number))
    session.each(
        f"""
        INSERT INTO {qualified("generation_users", dialect)} (view, generation, member, until)
        VALUES ({mark}, {mark}, {mark}, {_now(dialect)} + {mark})
        ON CONFLICT (view, generation, member) DO UPDATE SET until = excluded.until
        """,
        [(one.view, one.number, member, term_seconds) for one in ordered],
    )


def not_made(view: AnyView) -> Misconfigured:
    return Misconfigured(f"view {view.name}: rows of its shape have not been made; run `twofold migrate`")


def generations(session: Session, view: str, dialect: Dialect) -> list[tuple[Generation, str]]:
    """All builds of a view with their shapes, by ascending number."""
    table = qualified("generations", dialect)
    sql = f"SELECT generation, slices, state, shape FROM {table} WHERE view = '{view}' ORDER BY generation"
    return [(Generation(view, number, slices, state), shape) for number, slices, state, shape in session.rows(sql)]


def is_missing(session: Session, dialect: Dialect) -> bool:
    """Whether the platform tables have still to be made. They are made in one transaction, so the last one stands for all."""
    if dialect.name == "postgresql":
        return session.rows("SELECT to_regclass(%s)", (qualified("parked_positions", dialect),))[0][0] is None
    return not session.rows("SELECT 1 FROM sqlite_schema WHERE name = 'parked_positions'")


def _drop_unneeded(session: Session, known: Sequence[tuple[Generation, str]], dialect: Dialect) -> None:
    """Drop the retired ones that were retired, and last used, long enough ago, and what is left of others."""
    mark = "%s" if dialect.name == "postgresql" else "?"
    users = qualified("generation_users", dialect)
    sql = f"SELECT max(until) < {_now(dialect)} - {mark} FROM {users} WHERE view = {mark} AND generation = {mark}"
    for generation in [one for one, _ in known if one.state == "dropped"]:
        _forget(session, generation, dialect)
        _drop(session, generation, dialect)
    for generation in [one for one, _ in known if one.state == "retired"]:
        [(is_over,)] = session.rows(sql, (RETIRED_SECONDS_MIN, generation.view, generation.number))
        if is_over is None:  # retired by a version that did not say when
            use(session, RETIRED, [generation], 0.0, dialect)
        elif is_over:
            clear(session, generation, dialect)
            _drop(session, generation, dialect)


def _drop(session: Session, generation: Generation, dialect: Dialect) -> None:
    for statement in drop_rows(generation, dialect):
        session.run(statement)


def make_rows(session: Session, view: AnyView, generation: Generation, dialect: Dialect) -> None:
    mark = "%s" if dialect.name == "postgresql" else "?"
    for statement in create_rows(view, generation, dialect):
        session.run(statement)
    session.each(
        f"INSERT INTO {qualified('generations', dialect)} (view, generation, slices, shape, state)"
        f" VALUES ({mark}, {mark}, {mark}, {mark}, {mark})",
        [(view.name, generation.number, generation.slices, shape_of(view), generation.state)],
    )
    session.each(
        f"INSERT INTO {qualified('checkpoints', dialect)} (view, generation, slice, position) VALUES ({mark}, {mark}, {mark}, 0)",
        [tuple(slice_id) for slice_id in generation.slice_ids()],
    )


def _leave(
    session: Session,
    mine: Sequence[tuple[Generation, str]],
    live: Generation | None,
    state: GenerationState,
    dialect: Dialect,
) -> None:
    """Retire those in this state. What rebuilds of the live shape have half made, or taken the place of, is dropped: a version
    that is gone back to finds the rows that answered last. Somebody may have read the latter until now; they go next time."""
    for one, shape in mine:
        is_of_live = live is not None and one.number != live.number and (live, shape) in mine
        if is_of_live and one.state == "building":
            clear(session, one, dialect)
        elif is_of_live:
            set_state(session, one, "dropped", dialect)
        elif one.state == state:
            retire(session, [one], dialect)


def retire(session: Session, gone: Sequence[Generation], dialect: Dialect) -> None:
    for generation in gone:
        set_state(session, generation, "retired", dialect)
    use(session, RETIRED, gone, 0.0, dialect)


def set_state(session: Session, generation: Generation, state: GenerationState, dialect: Dialect) -> Generation:
    mark = "%s" if dialect.name == "postgresql" else "?"
    sql = f"UPDATE {qualified('generations', dialect)} SET state = {mark} WHERE view = {mark} AND generation = {mark}"
    session.count(sql, (state, generation.view, generation.number))
    return Generation(generation.view, generation.number, generation.slices, state)


def _is_kept_alike(one: str, other: str) -> bool:
    return is_inline(one) == is_inline(other) and is_indexed(one) == is_indexed(other)


def _now(dialect: Dialect) -> str:
    return (
        "extract(epoch FROM clock_timestamp())" if dialect.name == "postgresql" else "((julianday('now') - 2440587.5) * 86400.0)"
    )
