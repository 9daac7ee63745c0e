"""Asked once, when a room starts: does everybody whom it needs let it in? A password that is wrong then is a mistake of whoever
set it, and is told at once; who is away is left to the room, which waits for him or goes without."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import twofold.bus.rabbitmq.epochs
import twofold.readmodels.stores.redis
import twofold.readmodels.stores.sql
from twofold.kernel.domain import load_domain
from twofold.kernel.errors import Unavailable, WrongPassword
from twofold.settings import Settings

WITHOUT_ROWS = ("workers",)
WITHOUT_REDIS = ("processes",)


def refuse_wrong_passwords(settings: Settings, room: str) -> None:
    """Raises WrongPassword; Misconfigured for what is no address. The log is asked by every room itself, first of all."""
    with ThreadPoolExecutor(3, thread_name_prefix="passwords") as threads:
        for asked in [threads.submit(ask) for ask in _asks(settings, room)]:
            try:
                asked.result()
            except WrongPassword:
                raise
            except Unavailable:
                continue


def _asks(settings: Settings, room: str) -> Iterator[Callable[[], None]]:
    yield lambda: _ask_broker(settings.broker_url)
    if room in WITHOUT_ROWS:
        return
    views = load_domain(settings.domain_module).views.values()
    if settings.redis_url and room not in WITHOUT_REDIS and any(view.store == "redis" and view.sync == "async" for view in views):
        yield lambda: twofold.readmodels.stores.redis.ask(settings.redis_url)
    if settings.read_database_url:
        yield lambda: twofold.readmodels.stores.sql.ask(settings.read_database_url)


def _ask_broker(url: str) -> None:
    with twofold.bus.rabbitmq.epochs.connected(url, "password"):
        return
