"""What an error of Redis means: poisoned data, or a bug, where it says that it can do nothing with what it was given; anything
else is Unavailable, and waited for."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import redis
from redis.exceptions import BusyLoadingError, MaxConnectionsError

from twofold.kernel.errors import Neighbour, Unavailable, WrongPassword

TRANSIENT_TYPES: dict[type[redis.RedisError], str] = {
    BusyLoadingError: "starting",
    MaxConnectionsError: "no free connection",
    redis.TimeoutError: "no answer",
    redis.ConnectionError: "no connection",
}
"""Reasons by type, the special before the general."""

TRANSIENT_REPLIES = {
    "BUSY": "busy",
    "CLUSTERDOWN": "no primary",
    "MASTERDOWN": "no primary",
    "MISCONF": "cannot save",
    "NOREPLICAS": "no replicas",
    "OOM": "out of resources",
    "READONLY": "read only",
    "TRYAGAIN": "resharding",
}
"""Reasons by a reply's first word: these pass by themselves, or once somebody has given the server what it lacks."""

REFUSED = "refused"
"""The reason of every other word: rights, another's key, a script that is gone. None of it is the rows' fault."""

BLAMES_DATA = "ERR"
"""The first word of a reply to what cannot be done with these arguments, be it their size."""

OVERLOAD_REASONS = ("busy", "no free connection")


def as_ours(error: redis.RedisError) -> Unavailable | None:
    """Unavailable, to be raised from `error`; None when it is to be left as it is."""
    if isinstance(error, redis.AuthenticationError):
        return WrongPassword(Neighbour.REDIS, "TWOFOLD_REDIS_URL")
    reason = next((reason for error_type, reason in TRANSIENT_TYPES.items() if isinstance(error, error_type)), None)
    if reason is None and isinstance(error, redis.ResponseError):
        # The client takes the first word off the replies that it knows, and leaves it on the others.
        word = error.status_code or str(error).partition(" ")[0]
        reason = TRANSIENT_REPLIES.get(word, REFUSED if word.isupper() and word != BLAMES_DATA else None)
    if reason is None:
        return None
    return Unavailable(Neighbour.REDIS, reason, detail=str(error), is_overload=reason in OVERLOAD_REASONS)


@contextmanager
def in_our_words() -> Iterator[None]:
    """Raises Unavailable for a server that did not answer or asks to try again."""
    try:
        yield
    except redis.RedisError as error:
        if ours := as_ours(error):
            raise ours from error
        raise
