"""Where each process was first deployed: it reacts to what comes behind that position."""

from alembic import op

revision = "0010"
down_revision = "0009"

TABLE = "CREATE TABLE process_begins (process text PRIMARY KEY, position bigint NOT NULL)"


def upgrade() -> None:
    op.execute(TABLE)
