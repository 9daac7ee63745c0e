"""Beside the log's head, the number of the set of inline views that every append has to fold; 0 for none."""

from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    op.execute("ALTER TABLE log_head ADD COLUMN inline_views bigint NOT NULL DEFAULT 0")
