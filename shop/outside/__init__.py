"""Whom the shop asks outside: a payment provider, and whoever delivers its notices. Called by effects, never by a decision."""
