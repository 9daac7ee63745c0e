"""The event log and the inbox, on PostgreSQL and on SQLite; beside them the embedded queue's table, and leases."""
