"""What Redis says, in the words of the house: Unavailable where waiting helps; anything else is a bug or poisoned data."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import redis

from twofold.kernel.errors import Neighbour, Unavailable

PASSING = ("LOADING", "BUSY", "READONLY", "MASTERDOWN", "OOM", "TRYAGAIN", "CLUSTERDOWN", "NOREPLICAS", "MISCONF")
"""How errors begin that pass by themselves, or once somebody has given the server what it lacks."""


@contextmanager
def in_our_words() -> Iterator[None]:
    """Raises Unavailable for a server that did not answer or asks to try again."""
    try:
        yield
    except (redis.ConnectionError, redis.TimeoutError) as error:
        raise Unavailable(Neighbour.REDIS) from error
    except redis.ResponseError as error:
        if str(error).startswith(PASSING) or type(error) in (redis.OutOfMemoryError, redis.ReadOnlyError):
            raise Unavailable(Neighbour.REDIS) from error
        raise
