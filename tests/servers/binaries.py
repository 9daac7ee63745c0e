"""Where the programs are that the tests start, and which Debian package brings them. Looked up on the disk when asked."""

from __future__ import annotations

import shutil
from pathlib import Path

PACKAGES = {
    "initdb": "postgresql",
    "postgres": "postgresql",
    "pgbouncer": "pgbouncer",
    "pg_basebackup": "postgresql",
    "pg_dump": "postgresql",
    "pg_restore": "postgresql",
    "rabbitmq-server": "rabbitmq-server",
    "epmd": "rabbitmq-server",
    "redis-server": "redis-server",
    "java": "openjdk-17-jre-headless",
    "mvn": "maven",
    "chromium": "chromium",
    "curl": "curl",
}
FOLDERS = {
    # The start script itself: the wrapper in /usr/sbin insists on a user of its own choice.
    "rabbitmq-server": ("/usr/lib/rabbitmq/bin",),
    "pgbouncer": ("/usr/sbin",),
    "initdb": ("/usr/lib/postgresql/*/bin",),
    "postgres": ("/usr/lib/postgresql/*/bin",),
    "pg_basebackup": ("/usr/lib/postgresql/*/bin",),
    "pg_dump": ("/usr/lib/postgresql/*/bin",),
    "pg_restore": ("/usr/lib/postgresql/*/bin",),
}


def find(binary: str) -> str | None:
    """The path of a program: the newest of Debian's, else the one in PATH, else None."""
    for pattern in FOLDERS.get(binary, ()):
        found = [folder / binary for folder in Path("/").glob(pattern.lstrip("/")) if (folder / binary).exists()]
        if found:
            return str(max(found, key=lambda path: [int(part) for part in path.parts if part.isdigit()]))
    return shutil.which(binary)


def path_of(binary: str) -> str:
    """The path of a program. Raises FileNotFoundError, with what to install."""
    found = find(binary)
    if found is None:
        raise FileNotFoundError(f"{binary} is not installed: run `make servers`, or install {PACKAGES[binary]}")
    return found


def missing_packages() -> list[str]:
    """Debian packages for the programs that are not there, sorted; empty when all are."""
    return sorted({package for binary, package in PACKAGES.items() if find(binary) is None})
