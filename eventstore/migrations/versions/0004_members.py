"""A member's row says what it knows and wants; leases last as long as their member. Embedded, members are in memory.

`leases.expires_at` is there for release 0.1.0 alone, which may run beside this one during an upgrade, and takes what has expired.
"""

from alembic import op

revision = "0004"
down_revision = "0003"

POSTGRES = (
    """
    ALTER TABLE members
        ADD COLUMN version text        NOT NULL DEFAULT '',
        ADD COLUMN knows   text        NOT NULL DEFAULT '[]',
        ADD COLUMN wants   text        NOT NULL DEFAULT '[]',
        ADD COLUMN since   timestamptz NOT NULL DEFAULT now()
    """,
    "ALTER TABLE leases ALTER COLUMN expires_at SET DEFAULT 'infinity'",
    """
    CREATE TABLE lease_changes (
        room   text   PRIMARY KEY,
        number bigint NOT NULL
    ) WITH (fillfactor = 50, autovacuum_vacuum_threshold = 1000, autovacuum_vacuum_scale_factor = 0)
    """,
)


def upgrade() -> None:
    if op.get_bind().dialect.name == "postgresql":
        for statement in POSTGRES:
            op.execute(statement)
