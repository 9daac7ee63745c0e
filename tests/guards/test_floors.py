"""Law 1: a room imports only from floors below it; rooms on one floor are strangers; nobody imports the roof."""

from __future__ import annotations

from collections.abc import Iterable

from tests.guards.house import FLOOR_OF, ROOT, Source, imports, room_of, room_sources

PRESCRIBED = ("workers", "bus", "readmodels", "gateway", "monitoring", "tests", "docker-compose.yml", "README.md")
OURS = (
    "kernel",
    "database",
    "eventstore",
    "subscriptions",
    "processes",
    "shop",
    "client",
    "twofold",
    "src",
    "bench",
    "docs",
    "examples",
)
OUTSIDE = ("tests", "bench", "examples")


def violations(sources: Iterable[Source]) -> list[str]:
    found = []
    for source in sources:
        for line, module in imports(source):
            room, top = room_of(module), module.split(".", 1)[0]
            if top in OUTSIDE or (top in FLOOR_OF and top != "twofold"):
                found.append(f"{source.path}:{line} imports {module}, which is not part of the house")
            elif room is not None and room != source.room and FLOOR_OF[room] >= FLOOR_OF[source.room]:
                found.append(f"{source.path}:{line} imports {module}, which is not below it")
    return found


def test_a_room_imports_only_from_floors_below_it() -> None:
    assert violations(room_sources()) == []


def test_every_folder_of_the_house_exists_and_every_room_is_a_package() -> None:
    assert [name for name in (*PRESCRIBED, *OURS) if not (ROOT / name).exists()] == []
    assert [room for room in FLOOR_OF if not (ROOT / room / "__init__.py").exists()] == []


def test_every_room_is_linked_in_below_the_one_package_that_is_installed() -> None:
    linked = {path.name: path.readlink().as_posix() for path in (ROOT / "twofold").iterdir() if path.is_symlink()}
    assert linked == {room: f"../{room}" for room in FLOOR_OF if room != "twofold"}
    assert {path.name: path.readlink().as_posix() for path in (ROOT / "src").iterdir() if path.is_symlink()} == {
        "twofold": "../twofold"
    }


def test_the_guard_sees_a_stranger_a_climber_and_a_late_import() -> None:
    planted = [
        Source("bus/a.py", "import twofold.eventstore.postgres\n"),
        Source("kernel/b.py", "def late() -> None:\n    from twofold.workers import execute\n"),
        Source("gateway/c.py", "import importlib\nroof = importlib.import_module('twofold.settings')\n"),
        Source("shop/d.py", "from tests.servers import Servers\n"),
        Source("workers/e.py", "from twofold.kernel.ids import lane_of\nfrom . import deciding\nimport twofold.bus\n"),
        Source("bus/f.py", "from kernel.ids import lane_of\n"),
    ]
    assert [line.split(" imports ")[0] for line in violations(planted)] == [
        "bus/a.py:1",
        "kernel/b.py:2",
        "gateway/c.py:2",
        "shop/d.py:1",
        "bus/f.py:1",
    ]
