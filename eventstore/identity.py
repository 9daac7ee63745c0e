"""Which log this is, and whether a process may use it: what two deployments must agree on is stored, and checked at start.

    migrate, up ── adopt ──> domain and lanes written once; another's are refused before anything else is made
    every room ── require ──> refused, in one line with the fix        doctor ── require ──> told

Event types are noted by the store when the first event of one is written (docs/decisions/0015), never before: as long as nothing
of a new version stands in the log, the version before it may still be started.
"""

from __future__ import annotations

from sqlalchemy import Connection, text

from twofold.eventstore.migrate import looking, migrating
from twofold.kernel.domain import Domain
from twofold.kernel.errors import Misconfigured
from twofold.kernel.log import LogIdentity

FIRST_LANES = 2
"""Of a log whose deployment did not say how many to begin with (docs/decisions/0008)."""
PARTITIONED = "(a log in partitions)"
"""Stands among the event types of a log that is: a version that knows nothing of that cannot read it, and says so."""
PROCESS_BEGINS = "INSERT INTO process_begins (process, position) SELECT :process, position FROM log_head"
TOLD_MAX = 5
"""More event types than this that cannot be read are a count."""


def adopt(url: str, domain: Domain, lanes: int | None, first_lanes: int | None = None) -> LogIdentity:
    """Give the log this domain, for ever, and these lanes if it has none; `first_lanes` if it is new, too, and nobody says how
    many. The tables are up to date. Raises Misconfigured."""
    with migrating(url) as connection:
        found = _read(connection)
        unsaid = first_lanes if first_lanes and not _has_events(connection) else FIRST_LANES
        wanted = LogIdentity(found.id, found.domain or domain.name, found.lanes or lanes or unsaid, found.event_types)
        refuse_another(wanted, domain, lanes)
        if wanted != found:
            given = {"domain": domain.name, "lanes": wanted.lanes}
            connection.execute(text("UPDATE log SET domain = :domain, lanes = :lanes"), given)
        for process in sorted(domain.processes.keys() - _begins(connection).keys()):
            connection.execute(text(PROCESS_BEGINS), {"process": process})
    return wanted


def begins_of(url: str) -> dict[str, int]:
    """By process, behind which position it reacts to what happens: where the log stood when it was first deployed."""
    with looking(url) as connection:
        return _begins(connection)


def identity_of(url: str) -> LogIdentity:
    """What the log at this URL says of itself. The tables are up to date."""
    with looking(url) as connection:
        return _read(connection)


def require(url: str, domain: Domain, lanes: int | None) -> LogIdentity:
    """The log's identity, if a process with this domain may use it, and may say that there are so many lanes. Raises
    Misconfigured, with the fix."""
    found = identity_of(url)
    if not found.domain:
        raise Misconfigured("TWOFOLD_DATABASE_URL: the log has not been given its domain; run `twofold migrate`")
    refuse_another(found, domain, lanes)
    return found


def refuse_another(log: LogIdentity, domain: Domain, lanes: int | None) -> None:
    """Raises Misconfigured for another domain, events that the domain cannot read, or another number of lanes."""
    if log.domain != domain.name:
        raise Misconfigured(
            f"TWOFOLD_DOMAIN: this is domain {domain.name}, and the log is of {log.domain}; set TWOFOLD_DOMAIN={log.domain}, or"
            f" name another database (TWOFOLD_DATABASE_URL, TWOFOLD_DATA); or, if it was only renamed, put NAME = {log.domain!r}"
        )
    unreadable = sorted(
        f"{name} version {version}" for name, version in log.event_types if version > domain.readable.get(name, 0)
    )
    if unreadable:
        more = f" and {len(unreadable) - TOLD_MAX} more" if len(unreadable) > TOLD_MAX else ""
        raise Misconfigured(
            f"TWOFOLD_DOMAIN={domain.name}: the log holds events it cannot read ({', '.join(unreadable[:TOLD_MAX])}{more});"
            " start the version that wrote them, or declare them and their upcasters, or downcasters to go back"
        )
    if lanes not in (None, log.lanes):
        raise Misconfigured(f"TWOFOLD_LANES={lanes}: this log has {log.lanes} lanes; unset it, or run `twofold lanes {lanes}`")


def _has_events(connection: Connection) -> bool:
    """A log of release 0.1.0 does not say how many lanes it has; one that has been used had what was the default."""
    return bool(connection.execute(text("SELECT position FROM log_head")).scalar_one())


def _begins(connection: Connection) -> dict[str, int]:
    return {name: position for name, position in connection.execute(text("SELECT process, position FROM process_begins"))}


def _read(connection: Connection) -> LogIdentity:
    row = connection.execute(text("SELECT id, domain, lanes FROM log")).one()
    types = connection.execute(text("SELECT type, schema_version FROM log_event_types")).all()
    written = frozenset((name, version) for name, version in types if name != PARTITIONED)
    return LogIdentity(str(row.id), row.domain or "", row.lanes or 0, written)
