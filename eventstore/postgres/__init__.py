"""The log and the inbox on PostgreSQL, a file for each who asks; `PostgresLog` is all of it."""

from twofold.eventstore.postgres.append import PostgresEventStore
from twofold.eventstore.postgres.history import PostgresHistory


class PostgresLog(PostgresEventStore, PostgresHistory):
    """Port Log. Thread-safe; `engine` is made with the profile LOG, and the schema is up to date."""
