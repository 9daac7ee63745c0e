"""What a log needs to grow for years: its head is found by an index, however many versions of its row a long transaction keeps."""

from alembic import op

revision = "0008"
down_revision = "0006"

POSTGRES = (
    # A unique index on the same value for ever would be searched through all those versions, by every append.
    "ALTER TABLE log_head DROP CONSTRAINT log_head_pkey",
    "CREATE INDEX log_head_newest ON log_head (position)",
    """
    CREATE FUNCTION log_has_one_head() RETURNS trigger LANGUAGE plpgsql AS
    $$ BEGIN RAISE EXCEPTION 'the log has one head'; END $$
    """,
    """
    CREATE TRIGGER log_has_one_head BEFORE INSERT OR DELETE OR TRUNCATE ON log_head
    FOR EACH STATEMENT EXECUTE FUNCTION log_has_one_head()
    """,
)


def upgrade() -> None:
    if op.get_bind().dialect.name == "postgresql":
        for statement in POSTGRES:
            op.execute(statement)
