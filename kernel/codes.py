"""Why a command was rejected or parked, where the platform says so and not the domain. Stored in the inbox, for ever."""

BUG = "bug"
"""Parked: its decider raised, or the log could not store what it made."""

MALFORMED = "malformed"
"""Parked: what was accepted cannot be read by this code."""

NOT_KNOWN = "not-known"
"""Never stored: this code does not know the command, or a field of it, and leaves it to code that does."""

KEY_REUSED = "key-reused"
"""Parked: its idempotency key came with another body in the same instant. The inbox holds the outcome of the first body; this
one never had an effect, and has no outcome of its own."""

KILLED = "killed"
"""Parked: deciding it killed the process, or came to no end, again and again."""

STREAM_MOVED = "stream-moved"
"""Rejected: the stream was not at the version that the client expected."""
