"""Every error of every driver, and what becomes of it. Raised by real servers in tests/contract/test_driver_errors.py."""

from __future__ import annotations

import sqlite3
from typing import Any, cast

import psycopg
import pytest
import redis
import sqlalchemy.exc
from sqlalchemy.exc import DBAPIError

from twofold.database import errors, session
from twofold.kernel.errors import Conflict, Neighbour, Unavailable
from twofold.readmodels.stores.redis.errors import as_ours as redis_as_ours
from twofold.readmodels.stores.redis.errors import in_our_words as redis_in_our_words

OURS = None
"""Stands for an error that stays what it is."""

SQLSTATES = {
    "08000": "no connection",
    "08006": "no connection",
    "08P01": "no connection",
    "0A000": "statement refused",
    "22001": OURS,
    "22003": OURS,
    "22P02": OURS,
    "22P05": OURS,
    "23502": OURS,
    "23503": OURS,
    "23505": "conflict",
    "21000": "conflict",
    "25001": "statement refused",
    "25006": "read only",
    "25P02": "statement refused",
    "25P03": "idle in transaction",
    "26000": "statement refused",
    "28000": "statement refused",
    "28P01": "wrong password",
    "3D000": "statement refused",
    "40001": "rolled back",
    "40P01": "rolled back",
    "42501": "statement refused",
    "42601": "statement refused",
    "42P01": "statement refused",
    "42P05": "statement refused",
    "53000": "out of resources",
    "53100": "out of resources",
    "53200": "out of resources",
    "53300": "out of resources",
    "54000": OURS,
    "55000": "statement refused",
    "55P03": "lock not available",
    "57014": "statement timed out",
    "57P01": "shut down",
    "57P02": "shut down",
    "57P03": "shut down",
    "58030": "system error",
    "P0001": "statement refused",
    "XX000": "statement refused",
}
OVERLOADED = {"53200", "53300"}

SQLITE_CODES = {
    sqlite3.SQLITE_BUSY: "locked",
    sqlite3.SQLITE_BUSY_SNAPSHOT: "locked",
    sqlite3.SQLITE_LOCKED: "locked",
    sqlite3.SQLITE_PROTOCOL: "locked",
    sqlite3.SQLITE_NOMEM: "out of resources",
    sqlite3.SQLITE_FULL: "out of resources",
    sqlite3.SQLITE_READONLY: "read only",
    sqlite3.SQLITE_INTERRUPT: "interrupted",
    sqlite3.SQLITE_IOERR: "system error",
    sqlite3.SQLITE_IOERR_FSYNC: "system error",
    sqlite3.SQLITE_CANTOPEN: "system error",
    sqlite3.SQLITE_CONSTRAINT_UNIQUE: "conflict",
    sqlite3.SQLITE_CONSTRAINT_PRIMARYKEY: OURS,
    sqlite3.SQLITE_CONSTRAINT_NOTNULL: OURS,
    sqlite3.SQLITE_CONSTRAINT_TRIGGER: OURS,
    sqlite3.SQLITE_ERROR: "statement refused",
    sqlite3.SQLITE_CORRUPT: "statement refused",
    sqlite3.SQLITE_NOTADB: "statement refused",
    sqlite3.SQLITE_MISMATCH: OURS,
    sqlite3.SQLITE_TOOBIG: OURS,
    sqlite3.SQLITE_MISUSE: "statement refused",
}

REDIS_REPLIES = {
    "BUSY Redis is busy running a script": "busy",
    "CLUSTERDOWN Hash slot not served": "no primary",
    "LOADING Redis is loading the dataset in memory": "starting",
    "MASTERDOWN Link with MASTER is down": "no primary",
    "MISCONF Redis is configured to save RDB snapshots": "cannot save",
    "NOREPLICAS Not enough good replicas to write.": "no replicas",
    "OOM command not allowed when used memory > 'maxmemory'.": "out of resources",
    "READONLY You can't write against a read only replica.": "read only",
    "TRYAGAIN Multiple keys request during rehashing of slot": "resharding",
    "WRONGPASS invalid username-password pair": "wrong password",
    "NOAUTH Authentication required.": "wrong password",
    "ERR max number of clients reached": "no connection",
    "BUSYGROUP Consumer Group name already exists": "refused",
    "BUSYKEY Target key name already exists.": "refused",
    "ERR unknown command": OURS,
    "EXECABORT Transaction discarded": "refused",
    "NOPERM this user has no permissions": "refused",
    "NOSCRIPT No matching script.": "refused",
    "WRONGTYPE Operation against a key holding the wrong kind of value": "refused",
}
REDIS_TYPES = {
    redis.ConnectionError("refused"): "no connection",
    redis.AuthenticationError("no"): "wrong password",
    redis.exceptions.MaxConnectionsError("Too many connections"): "no free connection",
    redis.TimeoutError("slow"): "no answer",
    redis.DataError("a list cannot be a value"): OURS,
    redis.WatchError("changed"): OURS,
}


def postgres_error(sqlstate: str) -> psycopg.Error:
    return psycopg.errors.lookup(sqlstate)("said the server")


def sqlite_error(code: int) -> sqlite3.Error:
    error = sqlite3.OperationalError("said the library")
    error.sqlite_errorcode, error.sqlite_errorname = code, f"SQLITE_{code}"
    return error


def reply_error(reply: str) -> redis.RedisError:
    """As the client makes an exception of it."""
    parser: Any = redis.connection.DefaultParser(socket_read_size=1)
    return cast(redis.RedisError, parser.parse_error(reply))


def wrapped(error: Exception, is_lost: bool = False) -> DBAPIError:
    """As SQLAlchemy raises it."""
    return DBAPIError("SELECT 1", None, error, connection_invalidated=is_lost)


def meaning(found: Exception | None, neighbour: Neighbour) -> str | None:
    """In one word what an error became."""
    if isinstance(found, Unavailable):
        assert found.neighbour == neighbour
        return found.reason
    assert found is None or isinstance(found, Conflict)
    return None if found is None else "conflict"


def raised_as(error: sqlalchemy.exc.SQLAlchemyError) -> Exception:
    """What comes out where rows are read and written."""
    with pytest.raises(Exception) as caught, session.in_our_words(Neighbour.ROWS):
        raise error
    assert caught.value is error or caught.value.__cause__ is error
    return caught.value


@pytest.mark.parametrize(("sqlstate", "expected"), SQLSTATES.items())
def test_each_sqlstate_means_the_same_to_log_and_rows(sqlstate: str, expected: str | None) -> None:
    """Only waiting out what passes, and parking what does not, keeps lanes and slices moving. Rows are never decided again."""
    error = postgres_error(sqlstate)
    found = errors.as_ours(error, Neighbour.LOG)
    assert meaning(found, Neighbour.LOG) == expected
    assert meaning(errors.as_ours(wrapped(error), Neighbour.LOG), Neighbour.LOG) == expected
    detail = sqlstate if expected != "wrong password" else "TWOFOLD_DATABASE_URL: its user or password is refused"
    assert not isinstance(found, Unavailable) or (found.detail, found.is_overload) == (detail, sqlstate in OVERLOADED)
    of_rows = raised_as(wrapped(error))
    assert isinstance(of_rows, Unavailable) == (expected not in (OURS, "conflict"))


@pytest.mark.parametrize(("code", "expected"), SQLITE_CODES.items())
def test_each_result_code_of_sqlite_means_the_same_to_log_and_rows(code: int, expected: str | None) -> None:
    """Extended codes mean what their primary one does."""
    error = sqlite_error(code)
    assert meaning(errors.as_ours(error, Neighbour.LOG), Neighbour.LOG) == expected
    of_rows = raised_as(wrapped(error))
    assert isinstance(of_rows, Unavailable) == (expected not in (OURS, "conflict"))


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (psycopg.OperationalError("connection refused"), "no connection"),
        (psycopg.OperationalError('connection failed: FATAL:  password authentication failed for user "x"'), "wrong password"),
        (psycopg.OperationalError("connection failed: FATAL:  SASL authentication failed"), "wrong password"),
        (psycopg.OperationalError("connection failed: fe_sendauth: no password supplied"), "wrong password"),
        (psycopg.OperationalError('connection failed: FATAL:  database "x" does not exist'), "no connection"),
        (psycopg.errors.ConnectionTimeout("timed out"), "no connection"),
        (psycopg.InterfaceError("the connection is closed"), "no connection"),
        (psycopg.ProgrammingError("the query has 2 placeholders but 1 parameters were passed"), OURS),
        (psycopg.DataError("PostgreSQL text fields cannot contain NUL (0x00) bytes"), OURS),
        (psycopg.NotSupportedError("no"), "no connection"),
        (psycopg.InternalError("out of step"), "no connection"),
        (sqlalchemy.exc.PendingRollbackError("an invalid transaction"), "no connection"),
        (sqlite3.ProgrammingError("Cannot operate on a closed database."), OURS),
        (wrapped(psycopg.DataError("whatever it was"), is_lost=True), "no connection"),
        (sqlalchemy.exc.TimeoutError("QueuePool limit of size 4 overflow 0 reached"), "no free connection"),
        (sqlalchemy.exc.StatementError("a value that cannot be bound", "SELECT 1", None, TypeError()), OURS),
        (TypeError("a bug"), OURS),
        (None, OURS),
    ],
    ids=repr,
)
def test_each_class_of_errors_without_a_code_means_the_same_to_log_and_rows(error: Any, expected: str | None) -> None:
    """What a driver finds out by itself carries no code: there its class has to tell."""
    assert meaning(errors.as_ours(error, Neighbour.ROWS), Neighbour.ROWS) == expected
    if isinstance(error, psycopg.Error | sqlite3.Error):
        assert meaning(errors.as_ours(wrapped(error), Neighbour.ROWS), Neighbour.ROWS) == expected
    if isinstance(error, DBAPIError | sqlalchemy.exc.TimeoutError | sqlalchemy.exc.InvalidRequestError):
        assert isinstance(raised_as(error), Unavailable) == (expected is not OURS)


@pytest.mark.parametrize(("sqlstate", "expected"), SQLSTATES.items())
def test_a_connection_is_kept_after_what_says_nothing_of_it(sqlstate: str, expected: str | None) -> None:
    """Data, a key that is taken, a lock: the next statement may do. After anything else a new connection knows better."""
    is_kept = expected in (OURS, "conflict", "rolled back", "lock not available", "statement timed out")
    assert errors.is_unharmed(postgres_error(sqlstate)) == is_kept


def test_what_is_no_answer_of_the_server_says_nothing_of_the_connection() -> None:
    """One that is lost is known to be closed."""
    for error in (psycopg.DataError("NUL"), psycopg.OperationalError("gone"), sqlite3.OperationalError("x"), TypeError("a bug")):
        assert errors.is_unharmed(error)


def test_a_pool_without_a_free_connection_is_overload_and_a_server_that_is_gone_is_not() -> None:
    """One asks for fewer commands, the other for patience."""
    busy = errors.as_ours(sqlalchemy.exc.TimeoutError("QueuePool limit"), Neighbour.ROWS)
    gone = errors.as_ours(psycopg.OperationalError("connection refused\nIs the server running?"), Neighbour.ROWS)
    assert isinstance(busy, Unavailable) and busy.is_overload
    assert isinstance(gone, Unavailable) and not gone.is_overload and gone.detail == "connection refused"


@pytest.mark.parametrize(
    ("error", "expected"),
    [*((reply_error(reply), expected) for reply, expected in REDIS_REPLIES.items()), *REDIS_TYPES.items()],
    ids=str,
)
def test_each_error_of_redis(error: redis.RedisError, expected: str | None) -> None:
    """As the client itself reads the replies: of some it takes the first word away."""
    assert meaning(redis_as_ours(error), Neighbour.REDIS) == expected
    with pytest.raises(redis.RedisError if expected is OURS else Unavailable), redis_in_our_words():
        raise error
