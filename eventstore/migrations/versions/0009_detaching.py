"""What an operator has done to partitions of the log (eventstore/partitions.py, docs/decisions/0026), each in a transaction."""

from alembic import op

revision = "0009"
down_revision = "0008"

POSTGRES = (
    # What `log_partition` relies on, of both tables. It reads them, and keeps nobody from reading and writing meanwhile.
    """
    CREATE FUNCTION log_bound(of text, until bigint) RETURNS void LANGUAGE plpgsql AS $$
    BEGIN
        EXECUTE format('ALTER TABLE %I DROP CONSTRAINT IF EXISTS %I', of, of || '_0_positions');
        EXECUTE format('ALTER TABLE %I ADD CONSTRAINT %I CHECK (position >= 0 AND position < %s) NOT VALID',
            of, of || '_0_positions', until);
    END $$
    """,
    """
    CREATE FUNCTION log_see_to_bound(of text) RETURNS void LANGUAGE plpgsql AS $$
    BEGIN
        EXECUTE format('ALTER TABLE %I VALIDATE CONSTRAINT %I', of, of || '_0_positions');
    END $$
    """,
    # Beside a partition, what the fold of a stream may still need of it: what stands at or behind the stream's snapshot, if that
    # is of an event that is there; else everything. It is also what the stream's next version is compared with.
    """
    CREATE FUNCTION log_keep(first bigint, until bigint) RETURNS bigint LANGUAGE plpgsql AS $$
    DECLARE
        whole text := 'events_' || first;
        kept  text := 'events_' || first || '_kept';
        found bigint;
    BEGIN
        EXECUTE format('DROP TABLE IF EXISTS %I', kept);
        EXECUTE format('CREATE TABLE %I (LIKE %I INCLUDING ALL)', kept, whole);
        EXECUTE format('ALTER TABLE %I ADD CHECK (position >= %s AND position < %s)', kept, first, until);
        EXECUTE format('INSERT INTO %I SELECT e.* FROM %I AS e
            LEFT JOIN snapshots AS s ON s.stream = e.stream AND EXISTS (
                SELECT FROM events WHERE events.position = s.position AND events.stream = s.stream AND events.version = s.version
                    AND events.recorded_at = s.recorded_at AND events.meta ->> ''command_id'' = s.command_id
            )
            WHERE s.stream IS NULL OR e.version >= s.version', kept, whole);
        GET DIAGNOSTICS found = ROW_COUNT;
        EXECUTE format('CREATE TRIGGER events_are_permanent BEFORE UPDATE OR DELETE OR TRUNCATE ON %I
            FOR EACH STATEMENT EXECUTE FUNCTION events_are_permanent()', kept);
        RETURN found;
    END $$
    """,
    """
    CREATE FUNCTION log_detach(first bigint, until bigint) RETURNS void LANGUAGE plpgsql AS $$
    BEGIN
        LOCK TABLE events, inbox IN ACCESS EXCLUSIVE MODE;
        EXECUTE format('ALTER TABLE events DETACH PARTITION %I', 'events_' || first);
        EXECUTE format('ALTER TABLE inbox DETACH PARTITION %I', 'inbox_' || first);
        EXECUTE format('ALTER TABLE events ATTACH PARTITION %I FOR VALUES FROM (%s) TO (%s)',
            'events_' || first || '_kept', first, until);
        UPDATE log_head SET detached_through = until - 1;
    END $$
    """,
    # Reads what is to be attached, so that nobody waits for it then.
    """
    CREATE FUNCTION log_see_to_detached(first bigint, until bigint) RETURNS void LANGUAGE plpgsql AS $$
    DECLARE
        detached text;
    BEGIN
        FOREACH detached IN ARRAY ARRAY['events_' || first, 'inbox_' || first] LOOP
            EXECUTE format('ALTER TABLE %I DROP CONSTRAINT IF EXISTS %I', detached, detached || '_positions');
            EXECUTE format('ALTER TABLE %I ADD CONSTRAINT %I CHECK (position >= %s AND position < %s)',
                detached, detached || '_positions', first, until);
        END LOOP;
    END $$
    """,
    """
    CREATE FUNCTION log_attach(first bigint, until bigint) RETURNS void LANGUAGE plpgsql AS $$
    DECLARE
        kept text := 'events_' || first || '_kept';
    BEGIN
        LOCK TABLE events, inbox IN ACCESS EXCLUSIVE MODE;
        EXECUTE format('ALTER TABLE events DETACH PARTITION %I', kept);
        EXECUTE format('DROP TABLE %I', kept);
        EXECUTE format('ALTER TABLE events ATTACH PARTITION %I FOR VALUES FROM (%s) TO (%s)', 'events_' || first, first, until);
        EXECUTE format('ALTER TABLE inbox ATTACH PARTITION %I FOR VALUES FROM (%s) TO (%s)', 'inbox_' || first, first, until);
        UPDATE log_head SET detached_through = greatest(first - 1, 0);
    END $$
    """,
)


def upgrade() -> None:
    if op.get_bind().dialect.name == "postgresql":
        for statement in POSTGRES:
            op.execute(statement)
