"""The log and the inbox in an SQLite file, a file of ours for each who asks; `SqliteLog` is all of it."""

from twofold.eventstore.sqlite.append import SqliteEventStore
from twofold.eventstore.sqlite.history import SqliteHistory


class SqliteLog(SqliteEventStore, SqliteHistory):
    """Port Log. Thread-safe; the file is migrated already. Inline rows are given the raw sqlite3 connection."""
