"""States of long streams, each with its shape and the event it stands on. Whatever is lost of this table is folded anew."""

from alembic import op

revision = "0007"
down_revision = "0006"

POSTGRES = """
    CREATE TABLE snapshots (
        stream      text        COLLATE "C" PRIMARY KEY,
        shape       text        NOT NULL,
        version     bigint      NOT NULL,
        position    bigint      NOT NULL,
        command_id  text        NOT NULL,
        recorded_at timestamptz NOT NULL,
        state       json        NOT NULL
    )
"""
# Times are microseconds since 1970, UTC.
SQLITE = """
    CREATE TABLE snapshots (
        stream      TEXT    PRIMARY KEY,
        shape       TEXT    NOT NULL,
        version     INTEGER NOT NULL,
        position    INTEGER NOT NULL,
        command_id  TEXT    NOT NULL,
        recorded_at INTEGER NOT NULL,
        state       TEXT    NOT NULL
    )
"""


def upgrade() -> None:
    op.execute(POSTGRES if op.get_bind().dialect.name == "postgresql" else SQLITE)
