"""A private Redis that never evicts and keeps its data over a kill."""

from __future__ import annotations

from tests.servers.binaries import path_of
from tests.servers.server import Server, answers


class Redis(Server):
    name = "redis"
    user = "redis"

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def command(self) -> list[str]:
        where = ["--bind", "127.0.0.1", "--port", str(self.port), "--dir", str(self.folder)]
        return [path_of("redis-server"), *where, "--appendonly", "yes", "--maxmemory-policy", "noeviction", "--save", ""]

    def is_ready(self) -> bool:
        return answers(self.port, b"PING\r\n", b"+PONG")
