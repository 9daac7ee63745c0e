"""Embedded: calls to the outside that wait for whoever performs them. Served, the broker holds them."""

from alembic import op

revision = "0011"
down_revision = "0010"

# Times are microseconds since 1970, UTC. AUTOINCREMENT: an id is never used twice, so none is removed for another.
SQLITE = (
    """
    CREATE TABLE effect_calls (
        id     INTEGER PRIMARY KEY AUTOINCREMENT,
        effect TEXT    NOT NULL,
        due_at INTEGER NOT NULL,
        body   BLOB    NOT NULL
    )
    """,
    "CREATE INDEX effect_calls_due ON effect_calls (effect, due_at)",
)


def upgrade() -> None:
    if op.get_bind().dialect.name == "sqlite":
        for statement in SQLITE:
            op.execute(statement)
