"""Leases kept in the log's PostgreSQL database, by its clock.

Renewals of one room go one at a time, each on top of what the one before it wrote.
"""

from __future__ import annotations

from collections.abc import Sequence
from zlib import crc32

from sqlalchemy import Engine

from twofold.database.postgres import borrowed
from twofold.eventstore.leases import Lease, share

LOCK_ROOM = "SELECT pg_advisory_xact_lock(%s, %s)"
LEASES_LOCK = 0x74776F
"""First key of the advisory locks that serialise renewals; the second is the CRC-32 of the room."""

BOUND = "SET LOCAL idle_in_transaction_session_timeout = '500ms'"
"""A member stopped between two statements of its renewal holds up the room's others, but not for the length of a term."""

RELAX = "SET LOCAL synchronous_commit = off"
"""A lease need not survive a crash of the server that outlives its term; what is held for longer is renewed at once."""

EXPIRE_MEMBERS = "DELETE FROM members WHERE room = %s AND expires_at <= clock_timestamp()"
JOIN = """
    INSERT INTO members (room, member, expires_at) VALUES (%s, %s, clock_timestamp() + make_interval(secs => %s))
    ON CONFLICT (room, member) DO UPDATE SET expires_at = excluded.expires_at
"""
MEMBERS = "SELECT member FROM members WHERE room = %s"
LEASES = "SELECT resource, owner, epoch, expires_at <= clock_timestamp() FROM leases WHERE room = %s"
GIVE_UP = "UPDATE leases SET owner = NULL WHERE room = %s AND owner = %s AND resource = ANY(%s)"
HOLD = """
    INSERT INTO leases (room, resource, owner, epoch, expires_at)
    SELECT %s, held.resource, %s, held.epoch, clock_timestamp() + make_interval(secs => %s)
    FROM unnest(%s::text[], %s::bigint[]) AS held (resource, epoch)
    ON CONFLICT (room, resource) DO UPDATE SET owner = excluded.owner, epoch = excluded.epoch, expires_at = excluded.expires_at
"""
LEAVE = "DELETE FROM members WHERE room = %s AND member = %s"
FREE = "UPDATE leases SET owner = NULL WHERE room = %s AND owner = %s"
COUNT = "SELECT room, count(*) FROM members WHERE expires_at > clock_timestamp() GROUP BY room"


class PostgresLeases:
    """Port Leases over the log's database. Thread-safe."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def renew(self, room: str, member: str, resources: Sequence[str], term_seconds: float) -> dict[str, int]:
        with borrowed(self._engine) as connection, connection.pipeline() as pipeline:
            for statement in ("BEGIN", BOUND, RELAX):
                connection.execute(statement)
            connection.execute(LOCK_ROOM, (LEASES_LOCK, _room_key(room)))
            connection.execute(EXPIRE_MEMBERS, (room,))
            connection.execute(JOIN, (room, member, term_seconds))
            members = connection.execute(MEMBERS, (room,))
            leases = connection.execute(LEASES, (room,))
            pipeline.sync()
            known = {resource: Lease(owner, epoch, is_expired) for resource, owner, epoch, is_expired in leases}
            mine = share(member, [name for (name,) in members], resources, known)
            if mine.given_up:
                connection.execute(GIVE_UP, (room, member, mine.given_up))
            connection.execute(HOLD, (room, member, term_seconds, list(mine.held), list(mine.held.values())))
            connection.execute("COMMIT")
        return mine.held

    def leave(self, room: str, member: str) -> None:
        with borrowed(self._engine) as connection, connection.pipeline():
            connection.execute("BEGIN")
            connection.execute(LOCK_ROOM, (LEASES_LOCK, _room_key(room)))
            connection.execute(LEAVE, (room, member))
            connection.execute(FREE, (room, member))
            connection.execute("COMMIT")

    def members(self) -> dict[str, int]:
        with borrowed(self._engine) as connection:
            return dict(connection.execute(COUNT).fetchall())


def _room_key(room: str) -> int:
    """CRC-32 as the signed 32-bit number that advisory locks take."""
    return crc32(room.encode()) - 2**31
