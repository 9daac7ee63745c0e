"""What a log needs to grow for years (docs/decisions/0026): a head that is found by an index, however many versions of its row a
long transaction keeps; and, where nothing has been written yet, partitions by position, and command ids of 16 bytes.
`log_partition` makes partitions of tables that are in use, when an operator says so: the release before works on them until then.
"""

from alembic import context, op

revision = "0008"
down_revision = "0007"

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
    # Positions in a partition: the greatest number there is while there are none. Through where what was detached went.
    """
    ALTER TABLE log_head
        ADD COLUMN partition_positions bigint NOT NULL DEFAULT 9223372036854775807,
        ADD COLUMN detached_through    bigint NOT NULL DEFAULT 0
    """,
    # Versions and command ids are unique inside each partition; the statement that takes the head sees to the rest.
    """
    CREATE FUNCTION log_add_partition(first bigint, size bigint) RETURNS void LANGUAGE plpgsql AS $$
    DECLARE
        events_name text := 'events_' || first;
        inbox_name  text := 'inbox_' || first;
    BEGIN
        IF to_regclass(events_name) IS NOT NULL THEN
            RETURN;
        END IF;
        EXECUTE format('CREATE TABLE %I (LIKE events INCLUDING DEFAULTS)', events_name);
        EXECUTE format('ALTER TABLE %I ADD PRIMARY KEY (position)', events_name);
        EXECUTE format('ALTER TABLE %I ADD UNIQUE (stream, version)', events_name);
        EXECUTE format('CREATE TRIGGER events_are_permanent BEFORE UPDATE OR DELETE OR TRUNCATE ON %I
            FOR EACH STATEMENT EXECUTE FUNCTION events_are_permanent()', events_name);
        EXECUTE format('CREATE TABLE %I (LIKE inbox INCLUDING DEFAULTS)', inbox_name);
        EXECUTE format('ALTER TABLE %I ADD PRIMARY KEY (command_id)', inbox_name);
        EXECUTE format('ALTER TABLE events ATTACH PARTITION %I FOR VALUES FROM (%s) TO (%s)', events_name, first, first + size);
        EXECUTE format('ALTER TABLE inbox ATTACH PARTITION %I FOR VALUES FROM (%s) TO (%s)', inbox_name, first, first + size);
    END $$
    """,
    # With the rights of whoever migrated: what runs day and night may make no tables. Says at which position to ask again.
    """
    CREATE FUNCTION log_extend() RETURNS bigint LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT AS $$
    DECLARE
        head record;
        coming bigint;
    BEGIN
        SELECT position, partition_positions AS size INTO head FROM log_head ORDER BY position DESC LIMIT 1;
        IF head.position < head.size AND to_regclass('events_0') IS NULL THEN
            RETURN head.position + 1000000;
        END IF;
        coming := (head.position / head.size + 1) * head.size;
        PERFORM pg_advisory_xact_lock(hashtext('log_extend'));
        FOR step IN 0..1 LOOP
            IF NOT EXISTS (SELECT FROM log_partitions WHERE first <= coming AND coming < until) THEN
                PERFORM log_add_partition(coming, head.size);
            END IF;
            coming := coming + head.size;
        END LOOP;
        RETURN coming - 2 * head.size;
    END $$
    """,
    # Attached ones, from the catalog: the only place where they are said to be.
    """
    CREATE VIEW log_partitions AS
    SELECT c.oid, c.relname AS name, (b.bounds)[1]::bigint AS first, (b.bounds)[2]::bigint AS until
    FROM pg_inherits AS i JOIN pg_class AS c ON c.oid = i.inhrelid
    CROSS JOIN LATERAL regexp_match(pg_get_expr(c.relpartbound, c.oid), 'FROM \\(''(\\d+)''\\) TO \\(''(\\d+)''\\)') AS b (bounds)
    WHERE i.inhparent = to_regclass('events') AND b.bounds IS NOT NULL
    """,
    # Tables in use become the first partitions, as they are. Whoever calls it has validated constraints that say that all
    # positions are below `until`: then nothing is read, and nobody waits for longer than the names take to change.
    """
    CREATE FUNCTION log_partition(size bigint, until bigint) RETURNS void LANGUAGE plpgsql AS $$
    DECLARE
        given record;
        of    text;
    BEGIN
        LOCK TABLE events, inbox IN ACCESS EXCLUSIVE MODE;
        IF (SELECT position + 1 >= until FROM log_head ORDER BY position DESC LIMIT 1 FOR UPDATE) THEN
            RAISE EXCEPTION 'the log has gone beyond %', until;
        END IF;
        ALTER TABLE events RENAME CONSTRAINT events_pkey TO events_0_pkey;
        ALTER TABLE inbox RENAME CONSTRAINT inbox_pkey TO inbox_0_pkey;
        FOREACH of IN ARRAY ARRAY['events', 'inbox'] LOOP
            EXECUTE format('ALTER TABLE %I RENAME TO %I', of, of || '_0');
            EXECUTE format('CREATE TABLE %I (LIKE %I INCLUDING DEFAULTS) PARTITION BY RANGE (position)', of, of || '_0');
            FOR given IN
                SELECT a.grantee::regrole AS grantee, a.privilege_type FROM pg_class AS c, aclexplode(c.relacl) AS a
                WHERE c.oid = to_regclass(of || '_0') AND a.grantee NOT IN (0, c.relowner)
            LOOP
                EXECUTE format('GRANT %s ON %I TO %s', given.privilege_type, of, given.grantee);
            END LOOP;
        END LOOP;
        ALTER TABLE events ADD PRIMARY KEY (position);
        CREATE TRIGGER events_are_permanent BEFORE UPDATE OR DELETE OR TRUNCATE ON events
            FOR EACH STATEMENT EXECUTE FUNCTION events_are_permanent();
        EXECUTE format('ALTER TABLE events ATTACH PARTITION events_0 FOR VALUES FROM (0) TO (%s)', until);
        EXECUTE format('ALTER TABLE inbox ATTACH PARTITION inbox_0 FOR VALUES FROM (0) TO (%s)', until);
        UPDATE log_head SET partition_positions = size;
        INSERT INTO log_event_types VALUES ('(a log in partitions)', 1);
        PERFORM log_add_partition(until, size);
    END $$
    """,
)
# How this log keeps a command id: every statement brings what it is given to this type. Nobody has to know which it is, and a log
# in use may be brought from text to uuid while it is (docs/operate.md).
KEPT_AS = "CREATE DOMAIN log_command_id AS {kind}"
NARROW = "ALTER TABLE inbox ALTER COLUMN command_id TYPE uuid USING command_id::uuid"
IS_EMPTY = "SELECT NOT EXISTS (SELECT FROM inbox)"
IS_NEW = "SELECT position = 0 AND NOT EXISTS (SELECT FROM members WHERE expires_at > now()) FROM log_head"


def upgrade() -> None:
    connection = op.get_bind()
    if connection.dialect.name != "postgresql":
        return
    for statement in POSTGRES:
        op.execute(statement)
    size = context.config.attributes.get("partition_positions", 0)
    is_new = size and connection.exec_driver_sql(IS_NEW).scalar()
    is_narrow = is_new and connection.exec_driver_sql(IS_EMPTY).scalar()
    connection.exec_driver_sql(KEPT_AS.format(kind="uuid" if is_narrow else 'text COLLATE "C"'))
    if is_narrow:
        connection.exec_driver_sql(NARROW)
    if is_new:
        connection.exec_driver_sql(f"SELECT log_partition({size}, {size})")
