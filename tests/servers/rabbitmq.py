"""A private RabbitMQ node with an epmd of its own, so that ending it leaves nothing behind and disturbs no other node."""

from __future__ import annotations

import time
from pathlib import Path

from tests.servers.binaries import path_of
from tests.servers.server import Server, answers, free_port

DIRECTORY_SAVED_SECONDS = 1.0
"""RabbitMQ writes down which quorum queues a node has only every half second. A queue that is declared and confirmed within
the last one comes back empty and without a leader, for ever (seen on 3.10.8): a fault of RabbitMQ's that no client can mend."""
AMQP_GREETING = b"AMQP\x00\x00\x09\x01"


class Epmd(Server):
    """Erlang's port mapper. A node starts one by itself where none answers, and leaves it running for ever."""

    name = "epmd"
    user = "rabbitmq"

    @property
    def url(self) -> str:
        return f"epmd://127.0.0.1:{self.port}"

    def command(self) -> list[str]:
        return [path_of("epmd"), "-port", str(self.port), "-address", "127.0.0.1"]

    def is_ready(self) -> bool:
        return answers(self.port, b"\x00\x01n", self.port.to_bytes(4, "big"))


class RabbitMQ(Server):
    name = "rabbitmq"
    user = "rabbitmq"

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self._distribution_port = free_port()
        self._epmd = Epmd(folder.with_name(folder.name + "-epmd"))

    @property
    def url(self) -> str:
        return f"amqp://guest:guest@127.0.0.1:{self.port}/"

    def start(self) -> None:
        self._epmd.start()
        super().start()

    def stop(self) -> None:
        super().stop()
        self._epmd.stop()

    def kill(self) -> None:
        """SIGKILL, once all queues declared before this call are sure to be found again: see DIRECTORY_SAVED_SECONDS."""
        time.sleep(DIRECTORY_SAVED_SECONDS)
        super().kill()

    def prepare(self) -> None:
        super().prepare()
        (self.folder / "enabled_plugins").write_text("[].\n")
        lines = (
            f"listeners.tcp.local = 127.0.0.1:{self.port}",
            "disk_free_limit.absolute = 50MB",
            "raft.wal_max_size_bytes = 67108864",
            "log.console = false",
            "log.file.level = warning",
        )
        (self.folder / "rabbitmq.conf").write_text("\n".join(lines) + "\n")

    def command(self) -> list[str]:
        return [path_of("rabbitmq-server")]

    def environment(self) -> dict[str, str]:
        folder = str(self.folder)
        return {
            "ERL_EPMD_PORT": str(self._epmd.port),
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODENAME": f"twofold-{self.port}@localhost",
            "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODE_PORT": str(self.port),
            "RABBITMQ_DIST_PORT": str(self._distribution_port),
            "RABBITMQ_MNESIA_BASE": f"{folder}/mnesia",
            "RABBITMQ_LOG_BASE": f"{folder}/log",
            "RABBITMQ_CONFIG_FILE": f"{folder}/rabbitmq.conf",
            "RABBITMQ_CONF_ENV_FILE": f"{folder}/rabbitmq-env.conf",
            "RABBITMQ_ENABLED_PLUGINS_FILE": f"{folder}/enabled_plugins",
            "RABBITMQ_PID_FILE": f"{folder}/rabbitmq.pid",
        }

    def is_ready(self) -> bool:
        """The server greets only when its users and queues are loaded; it listens on the port no earlier."""
        return answers(self.port, AMQP_GREETING, b"RabbitMQ")
