"""Views in Redis: rows, what one may ask about them, checkpoints and parked keys of a view, moved together by one script."""

from twofold.readmodels.stores.redis.connect import ask, connect, refuse_eviction
from twofold.readmodels.stores.redis.store import RedisViewStore

__all__ = ["RedisViewStore", "ask", "connect", "refuse_eviction"]
