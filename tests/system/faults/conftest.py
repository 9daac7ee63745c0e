"""One set of servers of their own for all tests of this folder: they are killed and restarted."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.chaos.served import Backends, private_backends
from tests.servers import Servers


@pytest.fixture(scope="session")
def backends(servers: Servers) -> Iterator[Backends]:
    with private_backends(servers) as backends:
        yield backends
