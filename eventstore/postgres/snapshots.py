"""The statements about snapshots on PostgreSQL, and who keeps them. The table is in `eventstore/migrations/versions`."""

from __future__ import annotations

from collections.abc import Sequence

from twofold.database.postgres import PSYCOPG
from twofold.kernel.log import Snapshot

USABLE = """
    SELECT s.position, s.version, s.command_id, s.recorded_at, s.state FROM snapshots AS s
    WHERE asked.shape <> '' AND s.stream = asked.stream AND s.shape = asked.shape AND EXISTS (
        SELECT FROM events
        WHERE events.position = s.position AND events.stream = s.stream AND events.version = s.version
            AND events.recorded_at = s.recorded_at AND events.meta ->> 'command_id' = s.command_id OFFSET 0
    ) OFFSET 0
"""
"""Of the stream and shape that are `asked` for, beside which it is joined; none that stands on an event which is not there."""

KEEP = """
    INSERT INTO snapshots (stream, shape, version, position, command_id, recorded_at, state)
    SELECT s.stream, s.shape, s.version, s.position, s.command_id, s.recorded_at, s.state::json
    FROM unnest(
        %b::text[], %b::text[], %b::bigint[], %b::bigint[], %b::text[], %b::timestamptz[], %b::text[]
    ) AS s (stream, shape, version, position, command_id, recorded_at, state)
    ORDER BY s.stream
    ON CONFLICT (stream) DO UPDATE SET
        shape = excluded.shape, version = excluded.version, position = excluded.position, command_id = excluded.command_id,
        recorded_at = excluded.recorded_at, state = excluded.state
"""
"""In the order of streams, so that two who keep the same ones wait for each other and never in a circle."""


def keep(connection: PSYCOPG, snapshots: Sequence[Snapshot]) -> None:
    rows = [(s.stream, s.shape, s.last.version, s.last.position, *s.last[1:3], s.state.decode()) for s in snapshots]
    connection.execute(KEEP, tuple(map(list, zip(*rows, strict=True))))
