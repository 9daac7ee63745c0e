"""Projectors: events become rows."""
