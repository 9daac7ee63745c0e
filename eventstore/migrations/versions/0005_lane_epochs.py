"""Which epoch of lanes the log is in, and what is left of the one before. On SQLite all lanes change at once: nothing is left."""

from alembic import op

revision = "0005"
down_revision = "0004"

POSTGRES = """
    ALTER TABLE log
        ADD COLUMN epoch       bigint      NOT NULL DEFAULT 0,
        ADD COLUMN old_epoch   bigint,
        ADD COLUMN old_lanes   integer,
        ADD COLUMN drained     bigint[]    NOT NULL DEFAULT '{}',
        ADD COLUMN is_over     boolean     NOT NULL DEFAULT false,
        ADD COLUMN due_at      timestamptz NOT NULL DEFAULT 'epoch'
"""


def upgrade() -> None:
    if op.get_bind().dialect.name == "postgresql":
        op.execute(POSTGRES)
