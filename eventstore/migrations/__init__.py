"""Alembic's folder: how the log's schema came to be, one revision at a time."""
