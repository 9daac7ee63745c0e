"""The stores that rows are in, each opened when a view of it is first asked for.

inline ──> beside the log      live ──> nowhere: folded when asked for
sql ──> SQL      redis, search ──> Redis, a search server; SQL, too, where no URL names one
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from functools import cached_property
from typing import Literal

import twofold.readmodels.stores.redis
import twofold.readmodels.stores.search.connect
import twofold.readmodels.stores.sql
from twofold.kernel.ports import ViewStore
from twofold.kernel.view import AnyView
from twofold.places import log_url, rows_url
from twofold.readmodels.inline.store import InlineViewStore
from twofold.readmodels.stores.sql import SqlViewStore
from twofold.settings import Settings

DATABASE_CONNECTIONS = 8

Where = Literal["log", "sql", "redis", "search", "nowhere"]


class Stores:
    """Of one process. To be asked by one thread while a room starts."""

    def __init__(
        self, settings: Settings, closing: ExitStack, open_log: Callable[[], object], new_live: Callable[[], ViewStore]
    ) -> None:
        self._settings = settings
        self._closing = closing
        self._open_log = open_log
        self._new_live = new_live

    def where(self, view: AnyView) -> Where:
        if view.sync == "inline":
            return "log"
        if view.sync == "live":
            return "nowhere"
        if view.store == "redis" and self._settings.redis_url:
            return "redis"
        return "search" if view.store == "search" and self._settings.search_url else "sql"

    def of(self, view: AnyView) -> ViewStore:
        match self.where(view):
            case "log":
                return self._beside_the_log
            case "nowhere":
                return self._live
            case "redis":
                return self._redis
            case "search":
                return self._search
            case _:
                return self._sql

    @cached_property
    def _live(self) -> ViewStore:
        return self._new_live()

    @cached_property
    def _sql(self) -> SqlViewStore:
        store = SqlViewStore(twofold.readmodels.stores.sql.connect(rows_url(self._settings), DATABASE_CONNECTIONS))
        self._closing.callback(store.close)
        return store

    @cached_property
    def _redis(self) -> ViewStore:
        settings = self._settings
        store = twofold.readmodels.stores.redis.connect(settings.redis_url, settings.namespace, settings.slices)
        self._closing.callback(store.close)
        return store

    @cached_property
    def _search(self) -> ViewStore:
        store = twofold.readmodels.stores.search.connect.connect(self._settings.search_url, self._settings.namespace, self._sql)
        self._closing.callback(store.close)
        return store

    @cached_property
    def _beside_the_log(self) -> ViewStore:
        self._open_log()  # first, so closed last: an SQLite file is left by its writer after its readers
        engine = twofold.readmodels.stores.sql.connect(log_url(self._settings), DATABASE_CONNECTIONS)
        self._closing.callback(engine.dispose)
        return InlineViewStore(engine)
