"""`python -m tests.servers install`: see to it that the programs the tests start are on this machine.

Nothing to do when they are. Otherwise root on a Debian-like machine gets them from apt-get, with no server started by it;
everybody else gets one line that says what to install, and exit status 1.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.servers.binaries import missing_packages

POLICY = Path("/usr/sbin/policy-rc.d")
INSTALL_SECONDS_MAX = 900
LOG_TAIL_LINES = 15


def main(arguments: list[str]) -> int:
    if arguments != ["install"]:
        print("usage: python -m tests.servers install", file=sys.stderr)
        return 2
    packages = missing_packages()
    if not packages:
        return 0
    if shutil.which("apt-get") is None or os.geteuid() != 0:
        print(f"the tests need servers that are not installed: install {' '.join(packages)} (Debian's names)", file=sys.stderr)
        return 1
    print(f"installing {' '.join(packages)}", flush=True)
    with daemons_kept_still():
        if not apt_get("update") or not apt_get("install", "--yes", "--no-install-recommends", *packages):
            return 1
    still_missing = missing_packages()
    if still_missing:
        print(f"installed, yet not found: {' '.join(still_missing)}", file=sys.stderr)
    return 1 if still_missing else 0


def apt_get(*arguments: str) -> bool:
    """Whether it worked; when not, the end of what it said is printed."""
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    command = ["apt-get", "-qq", *arguments]
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=INSTALL_SECONDS_MAX, check=False)
    if ended.returncode != 0:
        print(*(ended.stdout + ended.stderr).splitlines()[-LOG_TAIL_LINES:], sep="\n", file=sys.stderr)
        print(f"`{' '.join(command)}` failed with status {ended.returncode}", file=sys.stderr)
    return ended.returncode == 0


@contextmanager
def daemons_kept_still() -> Iterator[None]:
    """Debian starts a server when it installs one, unless this file forbids it: the tests start their own."""
    if POLICY.exists():
        yield
        return
    POLICY.write_text("#!/bin/sh\nexit 101\n")
    POLICY.chmod(0o755)
    try:
        yield
    finally:
        POLICY.unlink(missing_ok=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
