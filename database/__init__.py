"""Databases as such, whatever is kept in them: URLs, pools and their limits, what will pass, the one writer of an SQLite file."""
