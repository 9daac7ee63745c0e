"""Calls to the outside on their way to Dramatiq's threads: a queue for each effect, an actor for each, one consumer."""
