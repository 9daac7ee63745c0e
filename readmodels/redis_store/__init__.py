"""Views in Redis: rows, what one may ask about them, checkpoints and parked keys of a view, moved together by one script."""

from readmodels.redis_store.connect import connect, eviction_policy
from readmodels.redis_store.store import RedisViewStore

__all__ = ["RedisViewStore", "connect", "eviction_policy"]
