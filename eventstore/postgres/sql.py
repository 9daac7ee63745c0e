"""Every statement the log runs on PostgreSQL, each readable alone. The tables are in `eventstore/migrations/versions`.

Look-ups of many keys at once join the keys LATERALLY with a fenced subquery (ORDER BY or OFFSET 0 inside): the planner
then has no choice but one index descent for each key, however the table grows and whatever its statistics say.

Command ids are given, and answered, as text. `log_command_id` is how this log keeps them: as uuid, or as the text that a log from
before 0.2 has. The type of a log may change while it runs: whoever has prepared a statement finds it by its name again.
"""

from __future__ import annotations

from twofold.eventstore.postgres.snapshots import USABLE
from twofold.eventstore.records import BIGINT_MAX, EVENT_COLUMNS, OUTCOME_COLUMNS, PARKED_COLUMNS, ROW_BYTES

NEWEST = "(SELECT * FROM log_head ORDER BY position DESC LIMIT 1)"
"""The head's row, found from the end of its index. Every append leaves a version of it behind, which stays for as long as any
transaction that is older: a scan of the table would see them all, one after the other."""

_BEGIN = "(seen.position + {count}) / seen.partition_positions * seen.partition_positions"
"""The first position of the partition in which the batch ends. Inside it a stream's versions and command ids are unique."""

_IS_FENCED = """
    (log_head.position = seen.position
        OR (log_head.position + {count}) / log_head.partition_positions = seen.position / seen.partition_positions)
"""
"""Nobody else has appended since this statement's snapshot, or all that was appended, and is now, lies in one partition, whose
indexes see to it. What lies before that partition the snapshot shows whole, for whoever appends or notes holds the head's lock
until he has committed. So one index for each partition is as good as one for all of them (docs/decisions/0026)."""

_IS_NOTED_BEFORE = f"""
    (seen.position + {{count}} >= seen.partition_positions AND EXISTS (
        SELECT FROM unnest(%(fresh_ids)b::text[]) AS asked (command_id)
        CROSS JOIN LATERAL (
            SELECT FROM inbox WHERE inbox.command_id = asked.command_id::log_command_id AND inbox.position < {_BEGIN} OFFSET 0
        ) AS noted
    ))
"""
"""Whether one of the commands has an outcome in another partition. While there is but one, nothing is looked up."""

_COUNT = "%(event_count)s"

TAKE_HEAD = f"""
    UPDATE log_head
    SET position = log_head.position + %(event_count)s, recorded_at = greatest(log_head.recorded_at, clock_timestamp())
    FROM {NEWEST} AS seen
    WHERE log_head.position >= seen.position AND log_head.inline_views = %(inline_views)s
    AND {_IS_FENCED.format(count=_COUNT)}
    AND NOT EXISTS (
        SELECT FROM unnest(%(preceded_streams)b::text[], %(preceding_versions)b::bigint[]) AS asked (stream, version)
        LEFT JOIN LATERAL (
            SELECT position FROM events WHERE events.stream = asked.stream AND events.version = asked.version OFFSET 0
        ) AS preceding ON true
        WHERE preceding.position IS NULL
    )
    AND NOT (seen.position + %(event_count)s >= seen.partition_positions AND EXISTS (
        SELECT FROM unnest(%(first_streams)b::text[], %(first_versions)b::bigint[]) AS asked (stream, version)
        CROSS JOIN LATERAL (
            SELECT FROM events WHERE events.stream = asked.stream AND events.version >= asked.version LIMIT 1
        ) AS taken
    ))
    AND NOT {_IS_NOTED_BEFORE.format(count=_COUNT)}
    RETURNING log_head.position - %(event_count)s AS start, log_head.recorded_at
"""
"""Locks the log until the end of the transaction: everything that can wait for anybody else has to be done before.

No row, and nothing is written, where other inline views are to be folded than whoever appends knows; when an event that one of
the new ones has to follow is not there; where there is an older partition, also when the stream has come that far already, when
a command is decided there, or when that cannot be told.
(Whoever decided had read it, so it is older than this statement's snapshot, however long the lock is waited for.) Whoever waits
for the lock is given the row as it is then, at `seen` or behind it."""

INLINE_VIEWS = f"SELECT inline_views FROM {NEWEST} AS head"

SEE_HEAD = f"""
    SELECT log_head.position AS start, greatest(log_head.recorded_at, clock_timestamp()) AS recorded_at
    FROM {NEWEST} AS seen JOIN log_head ON log_head.position >= seen.position
    WHERE {_IS_FENCED.format(count=0)} AND NOT {_IS_NOTED_BEFORE.format(count=0)}
    FOR SHARE OF log_head
"""
"""For decisions without events, which need no positions. The head may not move until they have committed (`_IS_FENCED`)."""

GIVEN_HEAD = "SELECT %(start)s::bigint AS start, %(recorded_at)s::timestamptz AS recorded_at"
"""For a transaction that has taken the head before."""

_WRITE = """
    WITH head AS ({head}),
    new_events AS (
        INSERT INTO events (position, stream, version, type, data, meta, recorded_at)
        SELECT head.start + e.ordinal, e.stream, e.version, e.type, e.data::json, e.meta::json, head.recorded_at
        FROM head, unnest(
            %(event_streams)b::text[], %(event_versions)b::bigint[], %(event_types)b::text[], %(event_data)b::text[],
            %(event_metas)b::text[]
        ) WITH ORDINALITY AS e (stream, version, type, data, meta, ordinal)
    ),
    noted AS (
        INSERT INTO inbox (
            command_id, fingerprint, type, stream, status, attempt, version, position, events,
            code, details, accepted_at, decided_at
        )
        SELECT
            d.command_id::log_command_id, d.fingerprint, d.type, d.stream, d.status, d.attempt, d.version,
            head.start + d.event_offset, d.events::json, d.code, d.details::json, d.accepted_at, head.recorded_at
        FROM head, unnest(
            %(command_ids)b::text[], %(fingerprints)b::text[], %(types)b::text[], %(streams)b::text[], %(statuses)b::text[],
            %(attempts)b::integer[], %(versions)b::bigint[], %(offsets)b::bigint[], %(events)b::text[], %(codes)b::text[],
            %(details)b::text[], %(accepted_at)b::timestamptz[]
        ) AS d (
            command_id, fingerprint, type, stream, status, attempt, version, event_offset, events, code, details, accepted_at
        )
    )
    SELECT start, recorded_at FROM head
"""


def write_batch(head: str) -> str:
    """Append events and outcomes in one statement, which answers with (start, recorded_at)."""
    return _WRITE.format(head=head)


APPEND = write_batch(TAKE_HEAD)
NOTE = write_batch(SEE_HEAD)
APPEND_LOCKED = write_batch(GIVEN_HEAD)

FORGET_OLDER_PARKED = """
    DELETE FROM inbox USING unnest(%s::text[], %s::integer[]) AS again (command_id, attempt)
    WHERE inbox.command_id = again.command_id::log_command_id AND inbox.status = 'parked' AND inbox.attempt < again.attempt
"""
"""A new attempt is to replace the outcome of an older, parked one, wherever that stands."""

NOTE_TYPES = """
    INSERT INTO log_event_types (type, schema_version)
    SELECT * FROM unnest(%s::text[], %s::integer[]) ON CONFLICT DO NOTHING
"""

PARK = """
    INSERT INTO parked_commands (command_id, fingerprint, envelope, reason, error, parked_at)
    VALUES (%s, %s, %s, %s, %s, %s)
    ON CONFLICT (command_id, fingerprint) DO UPDATE SET
        envelope = excluded.envelope, reason = excluded.reason, error = excluded.error, parked_at = excluded.parked_at
"""
SETTLE = "DELETE FROM parked_commands WHERE command_id = %s AND fingerprint = %s"

OUTCOMES = f"""
    SELECT asked.command_id, o.* FROM unnest(%b::text[]) AS asked (command_id)
    CROSS JOIN LATERAL (
        SELECT {OUTCOME_COLUMNS} FROM inbox WHERE inbox.command_id = asked.command_id::log_command_id OFFSET 0
    ) AS o
"""
READ = f"""
    SELECT asked.version > 0 AND known.position IS NULL AS is_lost, e.*
    FROM unnest(
        %(streams)b::text[], %(versions)b::bigint[], %(command_ids)b::text[], %(recorded_at)b::timestamptz[], %(shapes)b::text[]
    ) AS asked (stream, version, command_id, recorded_at, shape)
    LEFT JOIN LATERAL (
        SELECT position FROM events
        WHERE asked.version > 0 AND events.stream = asked.stream AND events.version = asked.version
            AND events.recorded_at = asked.recorded_at AND meta ->> 'command_id' = asked.command_id OFFSET 0
    ) AS known ON true
    LEFT JOIN LATERAL ({USABLE}) AS snapshot ON true
    LEFT JOIN LATERAL (
        SELECT snapshot.position, asked.stream, snapshot.version, NULL AS type, snapshot.state AS data,
            to_json(snapshot.command_id) AS meta, snapshot.recorded_at, false AS is_full
        WHERE snapshot.position IS NOT NULL
        UNION ALL
        SELECT {EVENT_COLUMNS}, through >= %(bytes)s FROM (
            SELECT {EVENT_COLUMNS}, size, sum(size) OVER (ORDER BY version ROWS UNBOUNDED PRECEDING) AS through FROM (
                SELECT {EVENT_COLUMNS}, pg_column_size(data) + {ROW_BYTES} AS size FROM events
                WHERE events.stream = asked.stream AND version > greatest(asked.version, snapshot.version)
                    AND version <= greatest(asked.version, snapshot.version) + %(bytes)s / {ROW_BYTES} + 1
            ) AS event
        ) AS event WHERE through - size < %(bytes)s
    ) AS e ON true
    WHERE e.position IS NOT NULL OR (asked.version > 0 AND known.position IS NULL) OR (
        (SELECT detached_through FROM {NEWEST} AS head) > 0
        AND EXISTS (SELECT FROM events WHERE events.stream = asked.stream AND version > asked.version)
    )
"""
"""No row for a stream that has nothing new. One at least, `is_lost`, where the last event known of it is not in the log; one
without position, where what would be next of it is detached, and more behind that is not. First a
snapshot, which has no type; last, `is_full`, the event with which a stream's are so many bytes, as they are stored. What would
be more in any case is not looked at, whatever the plan: LIMIT would not keep it from sorting a whole stream for each page."""

_WITHIN = """
    SELECT e.*, count(*) OVER () AS found, sum(pg_column_size(e.data)) OVER (
        ORDER BY e.position ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING
    ) AS before
"""
"""Around a page: how many events it was to have, and the bytes before each, as they are stored; nothing is unpacked for it."""

PAGE = f"""
    SELECT e.* FROM (
        {_WITHIN} FROM (
            SELECT {EVENT_COLUMNS} FROM events WHERE position > %s::bigint ORDER BY position LIMIT %s
        ) AS e
    ) AS e WHERE before IS NULL OR before < %s ORDER BY e.position
"""

PAGE_OF_TYPES = f"""
    SELECT head.position, head.detached_through, e.* FROM {NEWEST} AS head
    LEFT JOIN LATERAL (
        {_WITHIN} FROM (
            SELECT {EVENT_COLUMNS} FROM events
            WHERE events.position > %(after)s::bigint AND events.position <= %(through)s::bigint AND type = ANY(%(types)s)
            ORDER BY events.position LIMIT %(limit)s
        ) AS e
    ) AS e ON before IS NULL OR before < %(bytes)s
    ORDER BY e.position
"""
"""The head comes from the same snapshot as the events: up to there nothing was left out but what the filter left out."""

STREAM = f"""
    SELECT {EVENT_COLUMNS} FROM events
    WHERE stream = %s AND version > %s::bigint AND version <= %s::bigint AND recorded_at <= %s::timestamptz
    ORDER BY version LIMIT %s
"""
VERSION = "SELECT max(version) FROM events WHERE stream = %s"
NEXT_VERSION = "SELECT min(version) FROM events WHERE stream = %s AND version > %s::bigint"
EXTEND = f"SELECT log_extend(), partition_positions < {BIGINT_MAX} FROM {NEWEST} AS head"

HEAD = f"SELECT position, recorded_at FROM {NEWEST} AS head"
DETACHED_THROUGH = f"SELECT detached_through FROM {NEWEST} AS head"
"""Of what lies at or before it only those events are here that a fold may need."""

WRITE_NOTHING = "UPDATE log SET domain = domain"
"""Needs all that an append needs of its server, and room for a row; not the head's lock."""

RECORDED_AT = """
    SELECT asked.position, e.recorded_at FROM unnest(%b::bigint[]) AS asked (position)
    CROSS JOIN LATERAL (SELECT recorded_at FROM events WHERE events.position = asked.position OFFSET 0) AS e
"""
PARKED = f"SELECT {PARKED_COLUMNS} FROM parked_commands WHERE id > %s::bigint ORDER BY id LIMIT %s"
PARKED_COMMAND = f"SELECT {PARKED_COLUMNS} FROM parked_commands WHERE id = %s::bigint"
DISCARD = "DELETE FROM parked_commands WHERE id = %s::bigint"
