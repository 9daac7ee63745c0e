"""Which builds of a view's rows there are, and making the next one where a view's shape has changed.

    (none) ── make ──> live ── another shape is made ──> retired ── and another ──> dropped

A retired generation stays until the one after it is retired too: processes of the version before still answer from it. One
that is `building` beside the live one is nobody's answer yet.
"""

from __future__ import annotations

from collections.abc import Collection

from sqlalchemy import Dialect

from twofold.database.session import Session
from twofold.kernel.errors import Misconfigured
from twofold.kernel.rows import Generation
from twofold.kernel.view import AnyView
from twofold.readmodels.schema.shape import INLINE, MARKS, shape_of
from twofold.readmodels.stores.sql.tables import create_platform, create_rows, drop_rows, qualified, row_table_name

ADVISORY_LOCK = 0x74776F666F6C6472
"""Serialises makers of tables in one PostgreSQL database. Any number will do, as long as it stays the same."""


def make(session: Session, view: AnyView, slices: int, dialect: Dialect) -> tuple[Generation, bool]:
    """The live generation, made if there is none of the view's shape; and whether it was. In a transaction that may write."""
    if dialect.name == "postgresql":
        session.rows("SELECT pg_advisory_xact_lock(%s)", (ADVISORY_LOCK,))
        # Rows may be lost in a crash and folded anew; tables that a process believes to be there may not.
        session.run("SET LOCAL synchronous_commit = on")
    if is_missing(session, dialect):
        for statement in create_platform(dialect):
            session.run(statement)
    _mark_inline(session, view, dialect)
    shape = shape_of(view)
    known = generations(session, view.name, dialect)
    live = next((generation for generation, of_shape in known if generation.state == "live" and of_shape == shape), None)
    if live is not None:
        return live, False
    generation = Generation(view.name, max((one.number for one, _ in known), default=0) + 1, slices)
    _make(session, view, generation, shape, dialect)
    for old in [one for one, _ in known if one.state == "retired"]:
        session.run(drop_rows(old, dialect))
    return generation, True


def retire_inline(session: Session, but: Collection[str], dialect: Dialect) -> None:
    """Nobody folds inline views but these any more: the others' rows are not up to date from now on, and never will be."""
    if is_missing(session, dialect):
        return
    mark = "%s" if dialect.name == "postgresql" else "?"
    table = qualified("generations", dialect)
    live = session.rows(f"SELECT view, generation, shape FROM {table} WHERE state = 'live'")
    gone = [(view, number) for view, number, shape in live if INLINE in shape.split("|")[MARKS:] and view not in but]
    session.each(f"UPDATE {table} SET state = 'retired' WHERE view = {mark} AND generation = {mark}", gone)


def of_shape(session: Session, view: AnyView, dialect: Dialect) -> Generation | None:
    """The live generation, if it is of the view's shape, or else the one before it, which is kept for processes of the version
    before. Makes nothing."""
    shape = shape_of(view)
    known = [] if is_missing(session, dialect) else generations(session, view.name, dialect)
    live = [generation for generation, of in known if generation.state == "live" and of == shape]
    retired = [(generation, of) for generation, of in known if generation.state == "retired"][-1:]
    return next(iter([*live, *(generation for generation, of in retired if of == shape)]), None)


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


def _mark_inline(session: Session, view: AnyView, dialect: Dialect) -> None:
    """Say of a generation made before 0.2 that it was folded inline, which its shape did not tell: there are rows, and its
    checkpoint has never moved. Taken for an asynchronous one, it would be folded twice."""
    mark = "%s" if dialect.name == "postgresql" else "?"
    for generation, shape in generations(session, view.name, dialect):
        if generation.state != "live" or generation.slices > 1 or shape.split("|")[MARKS:]:
            continue
        at = f"SELECT 1 FROM {qualified('checkpoints', dialect)} WHERE view = {mark} AND generation = {mark} AND position > 0"
        rows = f"SELECT 1 FROM {qualified(row_table_name(generation), dialect)} LIMIT 1"
        if not session.rows(at, (view.name, generation.number)) and session.rows(rows):
            sql = f"UPDATE {qualified('generations', dialect)} SET shape = {mark} WHERE view = {mark} AND generation = {mark}"
            session.count(sql, (f"{shape}|{INLINE}", view.name, generation.number))


def _make(session: Session, view: AnyView, generation: Generation, shape: str, dialect: Dialect) -> None:
    mark = "%s" if dialect.name == "postgresql" else "?"
    table = qualified("generations", dialect)
    session.count(f"UPDATE {table} SET state = 'retired' WHERE view = {mark} AND state = 'live'", (view.name,))
    for statement in create_rows(view, generation, dialect):
        session.run(statement)
    session.each(
        f"INSERT INTO {table} (view, generation, slices, shape, state) VALUES ({mark}, {mark}, {mark}, {mark}, {mark})",
        [(view.name, generation.number, generation.slices, shape, generation.state)],
    )
    session.each(
        f"INSERT INTO {qualified('checkpoints', dialect)} (view, generation, slice, position) VALUES ({mark}, {mark}, {mark}, 0)",
        [tuple(slice_id) for slice_id in generation.slice_ids()],
    )
