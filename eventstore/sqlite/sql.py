"""Every statement the log runs on SQLite, each readable alone. The tables are in `eventstore/migrations/versions`."""

from __future__ import annotations

from twofold.eventstore.records import OUTCOME_COLUMNS, PARKED_COLUMNS

_EVENT = "e.position, e.stream, e.version, e.type, CAST(e.data AS BLOB), CAST(e.meta AS BLOB), e.recorded_at"
"""JSON is kept as text, to be read by people, and comes and goes as bytes, not to be decoded on the way."""

HEAD = "SELECT position, recorded_at FROM log_head"
WRITE, UNWRITE = "UPDATE log SET domain = domain || '?'", "UPDATE log SET domain = rtrim(domain, '?')"
"""Together they need what an append needs, room in the write-ahead log; a row that stays what it was would not be written."""
TAKE_HEAD = "SELECT position, recorded_at, inline_views FROM log_head"
MOVE_HEAD = "UPDATE log_head SET position = ?, recorded_at = ?"

INSERT_EVENT = """
    INSERT INTO events (position, stream, version, type, data, meta, recorded_at)
    VALUES (?, ?, ?, ?, CAST(? AS TEXT), CAST(? AS TEXT), ?)
"""
NOTE = f"""
    INSERT INTO inbox (command_id, {OUTCOME_COLUMNS})
    VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
    ON CONFLICT (command_id) DO UPDATE SET
        fingerprint = excluded.fingerprint, type = excluded.type, stream = excluded.stream, status = excluded.status,
        attempt = excluded.attempt, version = excluded.version, position = excluded.position, events = excluded.events,
        code = excluded.code, details = excluded.details, accepted_at = excluded.accepted_at, decided_at = excluded.decided_at
    WHERE inbox.status = 'parked' AND inbox.attempt < excluded.attempt
"""
"""Changes no row, and so counts none, when the command has an outcome that may not be replaced."""

FORGET = """
    DELETE FROM inbox WHERE rowid IN (SELECT rowid FROM inbox ORDER BY rowid LIMIT ?) AND position <= ?
"""
"""Outcomes that need not be known any more, oldest first, so many at most."""

NOTE_TYPE = "INSERT OR IGNORE INTO log_event_types (type, schema_version) VALUES (?, ?)"

PARK = """
    INSERT INTO parked_commands (command_id, fingerprint, envelope, reason, error, parked_at)
    VALUES (?, ?, CAST(? AS TEXT), ?, ?, ?)
    ON CONFLICT (command_id, fingerprint) DO UPDATE SET
        envelope = excluded.envelope, reason = excluded.reason, error = excluded.error, parked_at = excluded.parked_at
"""
SETTLE = "DELETE FROM parked_commands WHERE command_id = ? AND fingerprint = ?"

OUTCOMES = f"SELECT command_id, {OUTCOME_COLUMNS} FROM inbox WHERE command_id IN (SELECT value FROM json_each(?))"

READ = f"""
    SELECT json_extract(asked.value, '$[0]') > 0 AND known.position IS NULL AS is_lost, {_EVENT} FROM json_each(?) AS asked
    LEFT JOIN events AS known
        ON known.stream = asked.key AND known.version = json_extract(asked.value, '$[0]')
        AND json_extract(known.meta, '$.command_id') = json_extract(asked.value, '$[1]')
        AND known.recorded_at = json_extract(asked.value, '$[2]')
    LEFT JOIN events AS e ON e.stream = asked.key AND e.version > json_extract(asked.value, '$[0]')
    WHERE e.position IS NOT NULL OR is_lost
    ORDER BY asked.id, e.version
"""
"""Asked with a JSON object of stream to (version, command id, time) of the last event known. No row for a stream that has nothing
new; one at least, `is_lost`, where that event is not in the log. LEFT JOIN fixes the order: index descents for each stream."""

PRECEDING = """
    SELECT count(*) FROM json_each(?) AS asked
    CROSS JOIN events AS e ON e.stream = asked.key AND e.version = asked.value
"""
"""How many of these events, stream to version, there are."""

PAGE = f"SELECT {_EVENT} FROM events AS e WHERE e.position > ? ORDER BY e.position LIMIT ?"

PAGE_OF_TYPES = f"""
    SELECT head.position, {_EVENT} FROM log_head AS head
    LEFT JOIN (
        SELECT * FROM events AS e
        WHERE e.position > :after AND e.position <= :through AND e.type IN (SELECT value FROM json_each(:types))
        ORDER BY e.position LIMIT :limit
    ) AS e
"""
"""The head comes from the same snapshot as the events: up to there nothing was left out but what the filter left out."""

STREAM = f"""
    SELECT {_EVENT} FROM events AS e
    WHERE e.stream = ? AND e.version > ? AND e.version <= ? AND e.recorded_at <= ?
    ORDER BY e.version LIMIT ?
"""
VERSION = "SELECT max(version) FROM events WHERE stream = ?"

RECORDED_AT = "SELECT position, recorded_at FROM events WHERE position IN (SELECT value FROM json_each(?))"

PARKED = f"SELECT {PARKED_COLUMNS} FROM parked_commands WHERE id > ? ORDER BY id LIMIT ?"
PARKED_COMMAND = f"SELECT {PARKED_COLUMNS} FROM parked_commands WHERE id = ?"
DISCARD = "DELETE FROM parked_commands WHERE id = ?"

PUT_BATCH = "INSERT INTO lanes (lane, body) VALUES (?, ?)"
LAST_BATCH = "SELECT coalesce(max(id), 0) FROM lanes"
TAKE_BATCHES = "SELECT id, lane, body FROM lanes WHERE id > ? ORDER BY id LIMIT ?"
REMOVE_BATCH = "DELETE FROM lanes WHERE id = ?"
DEPTHS = "SELECT lane, count(*) FROM lanes GROUP BY lane"
BURY = "INSERT INTO dead_letters (lane, body, reason, buried_at) SELECT lane, body, ?, ? FROM lanes WHERE id = ?"
DEAD_LETTERS_COUNT = "SELECT count(DISTINCT body) FROM dead_letters"
DEAD_LETTERS = "SELECT lane, body, reason, min(buried_at) FROM dead_letters GROUP BY body ORDER BY min(id) LIMIT ?"
REMOVE_DEAD_LETTER = "DELETE FROM dead_letters WHERE body = ?"

LANE_COUNT = "SELECT lanes FROM log"
SET_LANE_COUNT = "UPDATE log SET lanes = ?"
LANE_BODIES = "SELECT id, lane, body FROM lanes ORDER BY id"

PUT_CALL = "INSERT INTO effect_calls (effect, due_at, body) VALUES (?, ?, ?)"
TAKE_CALLS = """
    SELECT id, body FROM effect_calls
    WHERE effect = ? AND due_at <= ? AND id NOT IN (SELECT value FROM json_each(?))
    ORDER BY due_at, id LIMIT ?
"""
REMOVE_CALL = "DELETE FROM effect_calls WHERE id = ?"
CALL_DEPTHS = "SELECT effect, count(*) FROM effect_calls GROUP BY effect"
BURY_CALL = """
    INSERT INTO dead_letters (lane, body, reason, buried_at)
    SELECT 'effect.' || effect, body, ?, ? FROM effect_calls WHERE id = ?
"""
