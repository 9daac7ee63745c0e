"""Opens Redis. Every wait has an end, and nothing is repeated behind our back."""

from __future__ import annotations

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from twofold.kernel.errors import Misconfigured
from twofold.readmodels.stores.redis.errors import in_our_words
from twofold.readmodels.stores.redis.store import RedisViewStore

CONNECT_SECONDS = 2.0
ANSWER_SECONDS = 5.0
CONNECTIONS_MAX = 32


def client_of(url: str) -> redis.Redis:
    """Nothing is opened yet. Commands are never repeated by the client: whether one was executed is ours to find out. Raises
    Misconfigured."""
    try:
        return redis.Redis.from_url(
            url,
            socket_connect_timeout=CONNECT_SECONDS,
            socket_timeout=ANSWER_SECONDS,
            socket_keepalive=True,
            max_connections=CONNECTIONS_MAX,
            retry=Retry(NoBackoff(), 0),
        )
    except (ValueError, TypeError) as error:
        raise Misconfigured("TWOFOLD_REDIS_URL: is not a Redis URL; write redis://:password@host:6379/0") from error


def connect(url: str, prefix: str, slices: int) -> RedisViewStore:
    """The view store on this server, all of whose keys begin with `{prefix:`."""
    return RedisViewStore(client_of(url), prefix, slices)


def ask(url: str) -> None:
    """Whether it answers. Raises Unavailable, WrongPassword and Misconfigured."""
    with in_our_words(), client_of(url) as client:
        client.ping()


def refuse_eviction(url: str) -> None:
    """Raises Misconfigured for a server that makes rows vanish when its memory is full; Unavailable."""
    with in_our_words(), client_of(url) as client:
        policy = str(client.info("memory")["maxmemory_policy"])
    if policy != "noeviction":
        raise Misconfigured(f"TWOFOLD_REDIS_URL: maxmemory-policy is {policy}: rows would vanish; set it to noeviction")
