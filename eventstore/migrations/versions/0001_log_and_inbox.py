"""The log, its head, the inbox, parked commands, leases; on SQLite also the lanes."""

from alembic import op

revision = "0001"
down_revision = None

POSTGRES = (
    # `json` keeps the text as it was written and takes as long to store as plain text; `jsonb` took 1.7 times as long.
    """
    CREATE TABLE events (
        position    bigint      PRIMARY KEY,
        stream      text        COLLATE "C" NOT NULL,
        version     bigint      NOT NULL,
        type        text        COLLATE "C" NOT NULL,
        data        json        NOT NULL,
        meta        json        NOT NULL,
        recorded_at timestamptz NOT NULL,
        CONSTRAINT events_stream_version UNIQUE (stream, version)
    )
    """,
    """
    CREATE FUNCTION events_are_permanent() RETURNS trigger LANGUAGE plpgsql AS
    $$ BEGIN RAISE EXCEPTION 'events are never changed or removed'; END $$
    """,
    """
    CREATE TRIGGER events_are_permanent BEFORE UPDATE OR DELETE OR TRUNCATE ON events
    FOR EACH STATEMENT EXECUTE FUNCTION events_are_permanent()
    """,
    # One row, updated by every append: room on its page keeps the updates heap-only, vacuum comes long before bloat does.
    """
    CREATE TABLE log_head (
        only_row    boolean     PRIMARY KEY DEFAULT true CHECK (only_row),
        position    bigint      NOT NULL,
        recorded_at timestamptz NOT NULL
    ) WITH (fillfactor = 10, autovacuum_vacuum_threshold = 1000, autovacuum_vacuum_scale_factor = 0)
    """,
    "INSERT INTO log_head (position, recorded_at) VALUES (0, 'epoch')",
    # A command id is a UUID wherever a gateway minted it, but what comes over the broker must be storable whatever it is.
    """
    CREATE TABLE inbox (
        command_id  text        COLLATE "C" PRIMARY KEY,
        fingerprint text        NOT NULL,
        type        text        NOT NULL,
        stream      text        NOT NULL,
        status      text        NOT NULL,
        attempt     integer     NOT NULL,
        version     bigint      NOT NULL,
        position    bigint      NOT NULL,
        events      json,
        code        text,
        details     json,
        accepted_at timestamptz NOT NULL,
        decided_at  timestamptz NOT NULL
    )
    """,
    """
    CREATE TABLE parked_commands (
        id          bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        command_id  text        NOT NULL,
        fingerprint text        NOT NULL,
        envelope    json        NOT NULL,
        reason      text        NOT NULL,
        error       text        NOT NULL,
        parked_at   timestamptz NOT NULL,
        CONSTRAINT parked_commands_wish UNIQUE (command_id, fingerprint)
    )
    """,
    """
    CREATE TABLE members (
        room       text        NOT NULL,
        member     text        NOT NULL,
        expires_at timestamptz NOT NULL,
        PRIMARY KEY (room, member)
    ) WITH (fillfactor = 50, autovacuum_vacuum_threshold = 1000, autovacuum_vacuum_scale_factor = 0)
    """,
    """
    CREATE TABLE leases (
        room       text        NOT NULL,
        resource   text        NOT NULL,
        owner      text,
        epoch      bigint      NOT NULL,
        expires_at timestamptz NOT NULL,
        PRIMARY KEY (room, resource)
    ) WITH (fillfactor = 50, autovacuum_vacuum_threshold = 1000, autovacuum_vacuum_scale_factor = 0)
    """,
)

# Times are microseconds since 1970, UTC.
SQLITE = (
    """
    CREATE TABLE events (
        position    INTEGER PRIMARY KEY,
        stream      TEXT    NOT NULL,
        version     INTEGER NOT NULL,
        type        TEXT    NOT NULL,
        data        TEXT    NOT NULL,
        meta        TEXT    NOT NULL,
        recorded_at INTEGER NOT NULL,
        UNIQUE (stream, version)
    )
    """,
    """
    CREATE TRIGGER events_are_not_changed BEFORE UPDATE ON events
    BEGIN SELECT RAISE(ABORT, 'events are never changed or removed'); END
    """,
    """
    CREATE TRIGGER events_are_not_removed BEFORE DELETE ON events
    BEGIN SELECT RAISE(ABORT, 'events are never changed or removed'); END
    """,
    """
    CREATE TABLE log_head (
        only_row    INTEGER PRIMARY KEY CHECK (only_row = 1),
        position    INTEGER NOT NULL,
        recorded_at INTEGER NOT NULL
    )
    """,
    "INSERT INTO log_head VALUES (1, 0, 0)",
    """
    CREATE TABLE inbox (
        command_id  TEXT    PRIMARY KEY,
        fingerprint TEXT    NOT NULL,
        type        TEXT    NOT NULL,
        stream      TEXT    NOT NULL,
        status      TEXT    NOT NULL,
        attempt     INTEGER NOT NULL,
        version     INTEGER NOT NULL,
        position    INTEGER NOT NULL,
        events      TEXT,
        code        TEXT,
        details     TEXT,
        accepted_at INTEGER NOT NULL,
        decided_at  INTEGER NOT NULL
    )
    """,
    """
    CREATE TABLE parked_commands (
        id          INTEGER PRIMARY KEY AUTOINCREMENT,
        command_id  TEXT    NOT NULL,
        fingerprint TEXT    NOT NULL,
        envelope    TEXT    NOT NULL,
        reason      TEXT    NOT NULL,
        error       TEXT    NOT NULL,
        parked_at   INTEGER NOT NULL,
        UNIQUE (command_id, fingerprint)
    )
    """,
    # AUTOINCREMENT: an id is never used twice, or a consumer that asks for "above the last one" would miss a batch.
    """
    CREATE TABLE lanes (
        id   INTEGER PRIMARY KEY AUTOINCREMENT,
        lane INTEGER NOT NULL,
        body BLOB    NOT NULL
    )
    """,
    """
    CREATE TABLE dead_letters (
        id        INTEGER PRIMARY KEY,
        lane      INTEGER NOT NULL,
        body      BLOB    NOT NULL,
        reason    TEXT    NOT NULL,
        buried_at INTEGER NOT NULL
    )
    """,
)


def upgrade() -> None:
    for statement in POSTGRES if op.get_bind().dialect.name == "postgresql" else SQLITE:
        op.execute(statement)
