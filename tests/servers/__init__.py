"""Real PostgreSQL, RabbitMQ, Redis and OpenSearch for the tests: named by TWOFOLD_TEST_*_URL, or private ones in
a temporary folder.

`Servers` is what `tests/conftest.py` and `bench` use; `python -m tests.servers install` sees to it that the binaries exist.
"""

from tests.servers.pool import Servers
from tests.servers.server import Server, ServerFailed

__all__ = ["Server", "ServerFailed", "Servers"]
