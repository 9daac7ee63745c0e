"""Which build of a view's rows is the live one, and making the next one where a view's shape has changed.

    (none) ── prepare ──> live ── another shape is prepared ──> retired ── and another ──> dropped

A retired generation stays until the one after it is retired too: processes of the version before still answer from it.
"""

from __future__ import annotations

from sqlalchemy import Dialect

from twofold.kernel.rows import Generation
from twofold.kernel.view import AnyView
from twofold.readmodels.schema.columns import shape_of
from twofold.readmodels.stores.sql.session import Session
from twofold.readmodels.stores.sql.tables import create_platform, create_rows, drop_rows, qualified

ADVISORY_LOCK = 0x74776F666F6C6472
"""Serialises makers of tables in one PostgreSQL database. Any number will do, as long as it stays the same."""


def prepare(session: Session, view: AnyView, slices: int, dialect: Dialect) -> tuple[Generation, bool]:
    """The live generation, made if there is none of the view's shape; and whether it was. In a transaction that may write."""
    if dialect.name == "postgresql":
        session.rows("SELECT pg_advisory_xact_lock(%s)", (ADVISORY_LOCK,))
        # Rows may be lost in a crash and folded anew; tables that a process believes to be there may not.
        session.run("SET LOCAL synchronous_commit = on")
    if is_missing(session, dialect):
        for statement in create_platform(dialect):
            session.run(statement)
    shape = shape_of(view)
    known = generations(session, view.name, dialect)
    if known and known[-1][1] == shape:
        return known[-1][0], False
    generation = Generation(view.name, known[-1][0].number + 1 if known else 1, slices)
    _make(session, view, generation, shape, dialect)
    for old, _ in known[:-1]:
        session.run(drop_rows(old, dialect))
    return generation, True


def generations(session: Session, view: str, dialect: Dialect) -> list[tuple[Generation, str]]:
    """All builds of a view with their shapes, the live one last."""
    sql = f"SELECT generation, slices, shape FROM {qualified('generations', dialect)} WHERE view = '{view}' ORDER BY generation"
    return [(Generation(view, number, slices), shape) for number, slices, shape in session.rows(sql)]


def is_missing(session: Session, dialect: Dialect) -> bool:
    """Whether the platform tables have still to be made. They are made in one transaction, so the last one stands for all."""
    if dialect.name == "postgresql":
        return session.rows("SELECT to_regclass(%s)", (qualified("parked_positions", dialect),))[0][0] is None
    return not session.rows("SELECT 1 FROM sqlite_schema WHERE name = 'parked_positions'")


def _make(session: Session, view: AnyView, generation: Generation, shape: str, dialect: Dialect) -> None:
    mark = "%s" if dialect.name == "postgresql" else "?"
    table = qualified("generations", dialect)
    session.count(f"UPDATE {table} SET state = 'retired' WHERE view = {mark}", (view.name,))
    for statement in create_rows(view, generation, dialect):
        session.run(statement)
    session.each(
        f"INSERT INTO {table} (view, generation, slices, shape, state) VALUES ({mark}, {mark}, {mark}, {mark}, 'live')",
        [(view.name, generation.number, generation.slices, shape)],
    )
    session.each(
        f"INSERT INTO {qualified('checkpoints', dialect)} (view, generation, slice, position) VALUES ({mark}, {mark}, {mark}, 0)",
        [tuple(slice_id) for slice_id in generation.slice_ids()],
    )
