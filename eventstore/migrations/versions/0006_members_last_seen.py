"""A member's row says when it was last heard of."""

from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    if op.get_bind().dialect.name == "postgresql":
        op.execute("ALTER TABLE members ADD COLUMN seen_at timestamptz NOT NULL DEFAULT now()")
