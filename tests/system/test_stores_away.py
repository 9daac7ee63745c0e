"""A store of rows that is away touches its own views, and nothing else. Whole processes, real servers."""

from __future__ import annotations

import http.client
import json
import os
import signal
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import redis

from tests.chaos.rooms import Room, wait_until
from tests.environment import environment_of
from tests.servers import Servers
from tests.servers.namespace import clean
from tests.servers.redis import Redis
from tests.servers.server import free_port
from twofold.followed import of_readmodels
from twofold.kernel.errors import Misconfigured
from twofold.rooms import run_readmodels
from twofold.settings import Settings
from twofold.wiring import migrate, open_deployment

SECONDS_MAX = 30.0
ROOMS = ("gateway", "workers", "readmodels")
ORDER = {
    "customer_id": "alice",
    "lines": [{"sku": "A", "description": "a", "quantity": 1, "unit_price": 5}],
    "shipping_address": {"name": "", "line1": "", "city": "", "postcode": "", "country": "UK"},
    "fulfilment": "none",
}


class Shop:
    """The shop, one of whose views is in a Redis of its own."""

    def __init__(self, settings: Settings, store: Redis, folder: Path) -> None:
        self.settings, self.store = settings, store
        environment = environment_of(settings)
        self.rooms = {
            name: Room(name, [name], environment, folder, settings.port if name == "gateway" else None) for name in ROOMS
        }

    def start(self) -> None:
        for room in self.rooms.values():
            room.start()
        self.rooms["gateway"].wait_ready()

    def call(self, method: str, path: str, body: object = None, **headers: str) -> tuple[int, Any]:
        connection = http.client.HTTPConnection("127.0.0.1", self.settings.port, timeout=SECONDS_MAX)
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        connection.request(method, path, json.dumps(body) if body else None, {"Content-Type": "application/json", **named})
        answer = connection.getresponse()
        status, text = answer.status, answer.read()
        connection.close()
        return status, json.loads(text)

    def post(self, command: str, **fields: object) -> str:
        """The token."""
        status, body = self.call("POST", f"/commands/{command}", fields)
        assert status == 202, body
        return str(body["command_id"])

    def read(self, path: str, token: str) -> tuple[int, Any]:
        return self.call("GET", path, Consistency_Token=token, Prefer="wait=5")

    def assert_all_but_redis_works(self) -> None:
        token = self.post("AdjustStock", sku="A", quantity=1, reason="found")
        assert self.read("/views/inventory/A", token)[0] == 200
        assert self.read("/views/inventory?order=sku", token)[0] == 200
        assert self.call("GET", "/readyz")[0] == 200
        status, lag = self.call("GET", "/lag")
        assert (status, lag["views"]["recent_orders"]["state"]) == (200, "away")
        assert {view["state"] for name, view in lag["views"].items() if name != "recent_orders"} <= {"live", "behind"}
        assert self.call("GET", "/views")[0] == 200

    def assert_redis_works(self) -> None:
        token = self.post("PlaceOrder", order_id=f"o{time.monotonic_ns()}", **ORDER)
        path = "/views/recent_orders/alice"
        wait_until("its views answer again", lambda: self.read(path, token)[0] == 200, SECONDS_MAX, self.rooms["readmodels"].tail)

    def tail(self) -> str:
        return "\n".join(room.tail() for room in self.rooms.values())


@pytest.fixture
def shop(servers: Servers, postgres_url: str, broker_url: str, unique: str, tmp_path: Path) -> Iterator[Shop]:
    with servers.private_redis() as store, ExitStack() as stack:
        settings = Settings(
            database_url=postgres_url,
            broker_url=broker_url,
            redis_url=store.url,
            namespace=unique,
            port=free_port(),
            metrics_port=free_port(),
        )
        stack.callback(clean, broker_url, "", unique)
        shop = Shop(settings, store, tmp_path)
        for room in shop.rooms.values():
            stack.callback(room.stop)
        yield shop


def test_every_room_starts_and_works_while_one_store_is_away(shop: Shop) -> None:
    """A cache that is down must not keep a shop from opening; what it held comes back by itself when it does."""
    migrate(shop.settings)
    shop.store.kill()
    shop.start()
    shop.assert_all_but_redis_works()
    status, problem = shop.call("GET", "/views/recent_orders/alice")
    assert (status, problem["view"]) == (503, "recent_orders"), problem
    shop.store.start()
    shop.assert_redis_works()
    shop.store.kill()
    wait_until("it is missed", lambda: shop.call("GET", "/views/recent_orders/alice")[0] == 503, SECONDS_MAX, shop.tail)
    wait_until("and told", lambda: "away" in str(shop.call("GET", "/lag")), SECONDS_MAX, shop.tail)
    shop.assert_all_but_redis_works()


def test_a_store_that_hangs_holds_up_nobody_elses_reads(shop: Shop) -> None:
    """It neither answers nor refuses: every question to it waits, and those to others must not wait behind them."""
    migrate(shop.settings)
    shop.start()
    shop.assert_redis_works()
    os.kill(shop.store.pid, signal.SIGSTOP)
    try:
        with ThreadPoolExecutor(20) as pool:
            asked = [pool.submit(shop.call, "GET", f"/views/recent_orders?limit={number}") for number in range(1, 21)]
            wait_until("it is missed", lambda: "away" in str(shop.call("GET", "/lag")), SECONDS_MAX, shop.tail)
            shop.assert_all_but_redis_works()
            assert {future.result()[0] for future in asked} == {503}
    finally:
        os.kill(shop.store.pid, signal.SIGCONT)
    shop.assert_redis_works()


def test_migrate_says_which_rows_it_could_not_make(shop: Shop) -> None:
    """What is there is made; whoever deploys reads one line, and runs it again."""
    shop.store.kill()
    with pytest.raises(Misconfigured, match=r"^redis: no connection.*rows of recent_orders were not made: run `twofold migrate`"):
        migrate(shop.settings)
    with open_deployment(shop.settings) as deployment:
        found = of_readmodels(deployment)
        wanted = {view.name for view in found.views} - {"recent_orders"}
        assert {generation.view for generation in found.foldable()} == wanted
    shop.store.start()
    migrate(shop.settings)


def test_a_projector_refuses_a_redis_that_evicts(shop: Shop) -> None:
    """Rows would vanish one by one, and nobody would notice before a customer does."""
    migrate(shop.settings)
    with redis.Redis.from_url(shop.store.url) as client:
        client.config_set("maxmemory-policy", "allkeys-lru")
    with pytest.raises(Misconfigured, match="^TWOFOLD_REDIS_URL: maxmemory-policy is allkeys-lru: rows would vanish; set it to"):
        run_readmodels(shop.settings)
