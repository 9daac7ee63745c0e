"""The embedded system to be hurt: `twofold up` on a folder, one process, killed and started again."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from tests.chaos.checker import Checker
from tests.chaos.embedded_stores import EmbeddedStores
from tests.chaos.rooms import Room
from tests.servers.server import free_port
from twofold.kernel.domain import load_domain


class Embedded:
    """A context manager; `room` is the process."""

    def __init__(self, folder: Path, domain: str = "shop", environment: Mapping[str, str] | None = None) -> None:
        self.data = folder / "data"
        port = free_port()
        settings = {
            "TWOFOLD_DOMAIN": domain,
            "TWOFOLD_DATA": str(self.data),
            "TWOFOLD_PORT": str(port),
            "TWOFOLD_METRICS_PORT": str(free_port()),
        }
        self.room = Room("up", ["up"], {**settings, **(environment or {})}, folder, port)
        loaded = load_domain(domain)
        self.stores = EmbeddedStores(self.data, loaded)
        self.checker = Checker(loaded, self.stores)

    def __enter__(self) -> Embedded:
        self.room.start()
        try:
            self.room.wait_ready()
        except BaseException:
            self.room.stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.room.stop()
        self.stores.close()

    def tails(self) -> str:
        return self.room.tail()
