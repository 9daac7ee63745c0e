"""`checkpoints` on PostgreSQL: the runs of `standings` as a row for each slice, to be read, and written by earlier releases.

Release 0.1.0 and those until 0.2 move each slice by itself, beside projectors that move runs and behind them when they are gone
back to. To them this view is the table that they made: what they lock are the runs, and what they write parts one.
"""

from __future__ import annotations

from sqlalchemy import Dialect

from twofold.database.session import Session
from twofold.readmodels.stores.sql.tables import SCHEMA

TAKE_OVER = f"""
    INSERT INTO {SCHEMA}.standings (view, generation, first, last, position, mark)
    SELECT view, generation, slice, slice, position, mark FROM {SCHEMA}.checkpoints
"""
VIEW = f"""
    CREATE VIEW {SCHEMA}.checkpoints AS
    SELECT s.view, s.generation, n AS slice, s.position, s.mark
    FROM {SCHEMA}.standings s CROSS JOIN LATERAL generate_series(s.first, s.last) n
"""
WRITE = f"""
    CREATE OR REPLACE FUNCTION {SCHEMA}.write_checkpoint() RETURNS trigger LANGUAGE plpgsql AS $$
    DECLARE
        stood {SCHEMA}.standings;
    BEGIN
        IF TG_OP = 'INSERT' THEN
            INSERT INTO {SCHEMA}.standings (view, generation, first, last, position, mark)
            VALUES (NEW.view, NEW.generation, NEW.slice, NEW.slice, NEW.position, NEW.mark);
            RETURN NEW;
        END IF;
        SELECT * INTO stood FROM {SCHEMA}.standings s
        WHERE s.view = OLD.view AND s.generation = OLD.generation AND OLD.slice BETWEEN s.first AND s.last FOR UPDATE;
        IF NOT FOUND THEN
            RETURN NULL;
        END IF;
        IF TG_OP = 'UPDATE' AND stood.first = stood.last THEN
            UPDATE {SCHEMA}.standings s SET position = NEW.position, mark = NEW.mark
            WHERE s.view = stood.view AND s.generation = stood.generation AND s.first = stood.first;
            RETURN NEW;
        END IF;
        DELETE FROM {SCHEMA}.standings s
        WHERE s.view = stood.view AND s.generation = stood.generation AND s.first = stood.first;
        INSERT INTO {SCHEMA}.standings (view, generation, first, last, position, mark)
        SELECT stood.view, stood.generation, left_over.first, left_over.last, stood.position, stood.mark
        FROM (VALUES (stood.first, OLD.slice - 1), (OLD.slice + 1, stood.last)) AS left_over (first, last)
        WHERE left_over.first <= left_over.last;
        IF TG_OP = 'DELETE' THEN
            RETURN OLD;
        END IF;
        INSERT INTO {SCHEMA}.standings (view, generation, first, last, position, mark)
        VALUES (OLD.view, OLD.generation, OLD.slice, OLD.slice, NEW.position, NEW.mark);
        RETURN NEW;
    END
    $$
"""
TRIGGER = f"""
    CREATE TRIGGER write_checkpoint INSTEAD OF INSERT OR UPDATE OR DELETE ON {SCHEMA}.checkpoints
    FOR EACH ROW EXECUTE FUNCTION {SCHEMA}.write_checkpoint()
"""
KIND = f"SELECT relkind::text FROM pg_class WHERE oid = to_regclass('{SCHEMA}.checkpoints')"


def make_per_slice(session: Session, dialect: Dialect) -> None:
    """Make the view, of a table if an earlier release made one. Who moves one meanwhile waits, and goes on in the view."""
    if dialect.name != "postgresql":
        return
    kind = [row[0] for row in session.rows(KIND)]
    if kind == ["v"]:
        return
    if kind:
        session.run(f"ALTER TABLE {SCHEMA}.checkpoints ADD COLUMN IF NOT EXISTS mark text")  # and nobody else writes from here on
        session.run(TAKE_OVER)
        session.run(f"DROP TABLE {SCHEMA}.checkpoints")
    for statement in (VIEW, WRITE, TRIGGER):
        session.run(statement)
