"""Which log this is: its identity, domain and lanes, and the event types that were ever written, with their versions.

Domain and lanes are written by `migrate` and `up`, which know them (eventstore/identity.py).
"""

from uuid import uuid4

from alembic import op

revision = "0003"
down_revision = "0002"

POSTGRES = (
    """
    CREATE TABLE log (
        only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
        id       uuid    NOT NULL,
        domain   text,
        lanes    integer
    )
    """,
    """
    CREATE TABLE log_event_types (
        type           text    COLLATE "C" NOT NULL,
        schema_version integer NOT NULL,
        PRIMARY KEY (type, schema_version)
    )
    """,
    """
    INSERT INTO log_event_types
    SELECT DISTINCT type, coalesce((meta ->> 'schema_version')::integer, 1) FROM events
    """,
)
SQLITE = (
    """
    CREATE TABLE log (
        only_row INTEGER PRIMARY KEY DEFAULT 1 CHECK (only_row = 1),
        id       TEXT    NOT NULL,
        domain   TEXT,
        lanes    INTEGER
    )
    """,
    """
    CREATE TABLE log_event_types (
        type           TEXT    NOT NULL,
        schema_version INTEGER NOT NULL,
        PRIMARY KEY (type, schema_version)
    )
    """,
    """
    INSERT INTO log_event_types
    SELECT DISTINCT type, coalesce(json_extract(meta, '$.schema_version'), 1) FROM events
    """,
)


def upgrade() -> None:
    for statement in POSTGRES if op.get_bind().dialect.name == "postgresql" else SQLITE:
        op.execute(statement)
    op.execute(f"INSERT INTO log (id) VALUES ('{uuid4()}')")
