"""Leases kept in the log's PostgreSQL database, by its clock.

    nothing has changed since ──> one statement: this member's row lasts for another term
    somebody came, went, or wants something else ──> under the room's lock: everybody's share anew

`lease_changes` has a number for each room that grows whenever somebody may have more, or must have less, than before: with a
change of its members and of what they want, and with every lease that is given up. A member that finds it as
it left it, itself alive and nobody else run out, holds what it held. Changes of one room go one at a time, each on top of
what the one before it wrote; who is alive does not queue for them, which could take longer than its term, but comes again.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import NamedTuple
from zlib import crc32

import msgspec
from sqlalchemy import Engine

from twofold.database.postgres import PSYCOPG, borrowed
from twofold.eventstore.leases import Lease, Share, share
from twofold.kernel.members import WHOLE_VIEWS, Member

LOCK_ROOM = "SELECT pg_advisory_xact_lock(%s, %s)"
TRY_ROOM = "SELECT pg_try_advisory_xact_lock(%s, %s)"
LEASES_LOCK = 0x74776F
"""First key of the advisory locks that serialise changes; the second is the CRC-32 of the room."""

BOUND = "SET LOCAL idle_in_transaction_session_timeout = '500ms'"
"""A member stopped between two statements of its change holds up the room's others, but not for the length of a term."""

RELAX = "SET LOCAL synchronous_commit = off"
"""A lease need not survive a crash of the server that outlives its term; what is held for longer is renewed at once."""

RENEW = """
    WITH renewed AS (
        UPDATE members SET seen_at = clock_timestamp(), expires_at = clock_timestamp() + make_interval(secs => %(term)s)
        WHERE room = %(room)s AND member = %(member)s AND expires_at > clock_timestamp()
        RETURNING member
    )
    SELECT EXISTS (SELECT FROM renewed),
        NOT EXISTS (SELECT FROM members WHERE room = %(room)s AND expires_at <= clock_timestamp())
        AND EXISTS (SELECT FROM lease_changes WHERE room = %(room)s AND number = %(number)s)
"""
IS_KNOWN = "SELECT version = %s AND knows = %s AND wants = %s FROM members WHERE room = %s AND member = %s"
JOIN = """
    INSERT INTO members (room, member, version, knows, wants, expires_at)
    VALUES (%s, %s, %s, %s, %s, clock_timestamp() + make_interval(secs => %s))
    ON CONFLICT (room, member) DO UPDATE SET
        version = excluded.version, knows = excluded.knows, wants = excluded.wants,
        seen_at = clock_timestamp(), expires_at = excluded.expires_at
"""
EXPIRE = "DELETE FROM members WHERE room = %s AND expires_at <= clock_timestamp() RETURNING member"
WANTS = "SELECT wants, array_agg(member), bool_and(knows::jsonb ? %s) FROM members WHERE room = %s GROUP BY wants"
LEASES = """
    SELECT resource, owner, epoch FROM leases WHERE room = %(room)s AND (owner = %(member)s OR resource IN (
        SELECT json_array_elements_text(wanted.names::json)
        FROM (SELECT DISTINCT wants AS names FROM members WHERE room = %(room)s) AS wanted
    ))
"""
"""Of what somebody wants, or this member has: slices of generations that are no more, and lanes, pile up."""
GIVE_UP = "UPDATE leases SET owner = NULL WHERE room = %s AND owner = %s AND resource = ANY(%s)"
TAKE = """
    INSERT INTO leases (room, resource, owner, epoch, expires_at)
    SELECT %s, taken.resource, %s, taken.epoch, 'infinity' FROM unnest(%s::text[], %s::bigint[]) AS taken (resource, epoch)
    ON CONFLICT (room, resource) DO UPDATE SET owner = excluded.owner, epoch = excluded.epoch, expires_at = 'infinity'
"""
CHANGE = """
    INSERT INTO lease_changes (room, number) VALUES (%(room)s, %(by)s)
    ON CONFLICT (room) DO UPDATE SET number = lease_changes.number + %(by)s
    RETURNING number
"""
LEAVE = "DELETE FROM members WHERE room = %s AND member = %s"
FREE = "UPDATE leases SET owner = NULL WHERE room = %s AND owner = %s"
MEMBERS = """
    SELECT room, member, version, knows, wants <> '[]', since, seen_at, ARRAY(
        SELECT resource FROM leases WHERE leases.room = members.room AND leases.owner = members.member
        ORDER BY length(resource), resource COLLATE "C"
    )
    FROM members WHERE expires_at > clock_timestamp() ORDER BY room COLLATE "C", member COLLATE "C"
"""

_NAMES = msgspec.json.Decoder(tuple[str, ...])


LOOK_SECONDS_MAX = 30.0
"""Everybody's share is looked at at least so often: release 0.1.0, during an upgrade, gives up without changing the number."""


class _Seen(NamedTuple):
    """What a member was, and was given, when the room's number was this."""

    member: Member
    resources: tuple[str, ...]
    number: int
    held: dict[str, int]
    at: float


class PostgresLeases:
    """Port Leases over the log's database. Thread-safe, as long as each member is renewed by one thread at a time."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._seen: dict[tuple[str, str], _Seen] = {}

    def renew(self, member: Member, resources: Sequence[str], term_seconds: float) -> dict[str, int]:
        wanted = tuple(resources)
        seen = self._seen.get((member.room, member.name))
        with borrowed(self._engine) as connection:
            is_alive, is_settled = self._renewed(connection, seen, term_seconds) if seen is not None else (False, False)
            is_same = seen is not None and (seen.member, seen.resources) == (member, wanted)
            is_new = seen is not None and time.monotonic() - seen.at < LOOK_SECONDS_MAX
            if not (is_alive and is_settled and is_same and is_new):
                seen = self._shared(connection, member, wanted, term_seconds, seen if is_alive else None)
        assert seen is not None, "whoever was not seen before has a share now"
        self._seen[member.room, member.name] = seen
        return dict(seen.held)

    def leave(self, room: str, member: str) -> None:
        self._seen.pop((room, member), None)
        with borrowed(self._engine) as connection, connection.pipeline():
            connection.execute("BEGIN")
            connection.execute(LOCK_ROOM, (LEASES_LOCK, _room_key(room)))
            connection.execute(LEAVE, (room, member))
            connection.execute(FREE, (room, member))
            connection.execute(CHANGE, {"room": room, "by": 1})
            connection.execute("COMMIT")

    def members(self) -> list[Member]:
        with borrowed(self._engine) as connection:
            found = connection.execute(MEMBERS).fetchall()
        return [
            Member(room, name, version, frozenset(_NAMES.decode(knows)), wants and not holds, since, seen_at, tuple(holds))
            for room, name, version, knows, wants, since, seen_at, holds in found
        ]

    def _renewed(self, connection: PSYCOPG, seen: _Seen, term_seconds: float) -> tuple[bool, bool]:
        """Whether the member is alive, for another term; and whether all is as it was."""
        room, name = seen.member.room, seen.member.name
        with connection.pipeline():
            for statement in ("BEGIN", RELAX):
                connection.execute(statement)
            found = connection.execute(RENEW, {"room": room, "member": name, "number": seen.number, "term": term_seconds})
            connection.execute("COMMIT")
        is_alive, is_settled = found.fetchone() or (False, False)
        return is_alive, is_settled

    def _shared(
        self, connection: PSYCOPG, member: Member, resources: tuple[str, ...], term_seconds: float, before: _Seen | None
    ) -> _Seen:
        """What the member holds now. `before`: what it holds if somebody else is at it; None: it waits for its turn."""
        room, name = member.room, member.name
        about = (member.version, _as_text(sorted(member.knows)), _as_text(resources))
        with connection.pipeline() as pipeline:
            for statement in ("BEGIN", BOUND, RELAX):
                connection.execute(statement)
            lock = connection.execute(LOCK_ROOM if before is None else TRY_ROOM, (LEASES_LOCK, _room_key(room)))
            if before is not None:
                pipeline.sync()
                if lock.fetchone() != (True,):
                    connection.execute("ROLLBACK")
                    return before
            known = connection.execute(IS_KNOWN, (*about, room, name))
            connection.execute(JOIN, (room, name, *about, term_seconds))
            expired = connection.execute(EXPIRE, (room,))
            asked = connection.execute(WANTS, (WHOLE_VIEWS, room))
            leases = connection.execute(LEASES, {"room": room, "member": name})
            pipeline.sync()
            wants = asked.fetchall()
            mine = share(
                name,
                {_NAMES.decode(wanted): members for wanted, members, _ in wants},
                {resource: Lease(owner, epoch) for resource, owner, epoch in leases},
                all(is_whole for _, _, is_whole in wants),
            )
            _write(connection, room, name, mine)
            is_changed = known.fetchone() != (True,) or expired.fetchone() is not None or bool(mine.given_up)
            changed = connection.execute(CHANGE, {"room": room, "by": int(is_changed)})
            connection.execute("COMMIT")
        number = changed.fetchone()
        assert number is not None, "an upsert returns its row"
        return _Seen(member, resources, number[0], mine.held, time.monotonic())


def _write(connection: PSYCOPG, room: str, member: str, mine: Share) -> None:
    if mine.given_up:
        connection.execute(GIVE_UP, (room, member, mine.given_up))
    if mine.taken:
        connection.execute(TAKE, (room, member, mine.taken, [mine.held[resource] for resource in mine.taken]))


def _as_text(names: Sequence[str]) -> str:
    return msgspec.json.encode(names).decode()


def _room_key(room: str) -> int:
    """CRC-32 as the signed 32-bit number that advisory locks take."""
    return crc32(room.encode()) - 2**31
