"""The statements about snapshots on SQLite. The table is in `eventstore/migrations/versions`."""

from __future__ import annotations

USABLE = """
    SELECT s.stream, s.shape, s.version, s.command_id, s.recorded_at, s.position, CAST(s.state AS BLOB)
    FROM json_each(?) AS asked
    CROSS JOIN snapshots AS s ON s.stream = asked.key AND s.shape = asked.value
    JOIN events AS e ON e.position = s.position AND e.stream = s.stream AND e.version = s.version
        AND e.recorded_at = s.recorded_at AND json_extract(e.meta, '$.command_id') = s.command_id
"""
"""Asked with a JSON object of stream to shape; none that stands on an event which is not in the log."""

KEEP = """
    INSERT INTO snapshots (stream, shape, version, command_id, recorded_at, position, state)
    VALUES (?, ?, ?, ?, ?, ?, CAST(? AS TEXT))
    ON CONFLICT (stream) DO UPDATE SET
        shape = excluded.shape, version = excluded.version, command_id = excluded.command_id,
        recorded_at = excluded.recorded_at, position = excluded.position, state = excluded.state
"""
