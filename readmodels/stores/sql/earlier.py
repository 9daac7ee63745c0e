"""Brings up to date what release 0.1.0 made: its checkpoints did not say what they stand on, its shapes not who folds them."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Dialect

from twofold.database.session import Session
from twofold.kernel.rows import Generation
from twofold.readmodels.schema.shape import INLINE, is_marked
from twofold.readmodels.stores.sql.per_slice import make_per_slice
from twofold.readmodels.stores.sql.tables import qualified, row_table_name


def bring_up(session: Session, known: Sequence[tuple[Generation, str]], dialect: Dialect) -> None:
    """`known` are the generations of one view, with their shapes. Harmless where it has been done."""
    make_per_slice(session, dialect)
    if dialect.name == "sqlite" and not session.rows("SELECT 1 FROM pragma_table_info('checkpoints') WHERE name = 'mark'"):
        session.run("ALTER TABLE checkpoints ADD COLUMN mark text")
    _mark_inline(session, known, dialect)


def _mark_inline(session: Session, known: Sequence[tuple[Generation, str]], dialect: Dialect) -> None:
    """Say of a generation made before 0.2 that it was folded inline, which its shape did not tell: there are rows, and its
    checkpoint has never moved. Taken for an asynchronous one, it would be folded twice."""
    mark = "%s" if dialect.name == "postgresql" else "?"
    for generation, shape in known:
        if generation.state != "live" or generation.slices > 1 or is_marked(shape):
            continue
        at = f"SELECT 1 FROM {qualified('checkpoints', dialect)} WHERE view = {mark} AND generation = {mark} AND position > 0"
        rows = f"SELECT 1 FROM {qualified(row_table_name(generation), dialect)} LIMIT 1"
        if not session.rows(at, (generation.view, generation.number)) and session.rows(rows):
            sql = f"UPDATE {qualified('generations', dialect)} SET shape = {mark} WHERE view = {mark} AND generation = {mark}"
            session.count(sql, (f"{shape}|{INLINE}", generation.view, generation.number))
