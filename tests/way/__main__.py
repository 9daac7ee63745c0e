"""`python -m tests.way [--print]`: walk, and write the page (or print it)."""

from __future__ import annotations

import secrets
import sys
import tempfile
from pathlib import Path

from tests.guards.house import ROOT
from tests.servers import Servers
from tests.way.page import page
from tests.way.walk import files_of, walk

PAGE = ROOT / "docs" / "the-way-of-a-command.md"


def main() -> None:
    servers = Servers()
    name = "way" + secrets.token_hex(4)
    try:
        with servers.database(name) as url, tempfile.TemporaryDirectory() as folder:
            legs = walk(url, servers.broker_url, name, Path(folder))
    finally:
        servers.close()
    if "--print" in sys.argv:
        print(page(legs))
    else:
        PAGE.write_text(page(legs))
    files = files_of(legs)
    print(f"{len(files)} files", file=sys.stderr)
    for file, rooms in sorted(files.items()):
        if len(rooms) > 1:
            print(f"{file} is called from {', '.join(sorted(rooms))}", file=sys.stderr)


if __name__ == "__main__":
    main()
