"""Law 1 inside the rooms: their parts stand on floors too, and parts on one floor are strangers.

A room's layers are written from the ground up; a part is a folder or a file. A part may import from itself and from layers below.
"""

from __future__ import annotations

from collections.abc import Iterable

from tests.guards.house import FLOOR_OF, ROOT, Source, imports, room_of, room_sources

Layers = tuple[tuple[str, ...], ...]

WALLS: dict[str, Layers] = {
    "bus": (
        ("lane", "listeners", "publishing"),
        ("outbox", "dispatch"),
        ("rabbitmq", "embedded"),
        ("effects",),
        ("description",),
    ),
    "client": (
        ("endpoint", "steps"),
        ("refusals", "said"),
        ("answers",),
        ("calls",),
        ("bulks", "listening"),
        ("connections", "sessions"),
        ("gateway", "asynchronous"),
    ),
    "database": (("times", "urls"), ("errors",), ("session",), ("postgres", "sqlite"), ("sqlite_file",)),
    "eventstore": (
        ("leases",),
        ("records",),
        ("sqlite", "postgres"),
        ("lane_table", "call_table", "migrations"),
        ("migrate",),
        ("identity", "partitions"),
    ),
    "gateway": (
        ("http",),
        ("commands", "proxy"),
        ("queries",),
        ("log", "operations"),
        ("documents",),
        ("app",),
    ),
    "monitoring": (("metrics", "lag", "instances"), ("observed", "facts")),
    "readmodels": (("schema",), ("stores", "projection"), ("inline", "live")),
    "subscriptions": (("log_cache",), ("subscription",)),
    "workers": (("deciding",), ("keeping", "questions", "trial_process"), ("trial",), ("execute",)),
}
"""`kernel` and `shop` are words, whose order is their own; `processes` has no parts yet, and the roof sees everything."""


def part_of(module: str) -> str:
    """`twofold.bus.rabbitmq.news` is part `rabbitmq` of the bus; "" for the room itself."""
    return (module.split(".") + ["", ""])[2]


def violations(sources: Iterable[Source]) -> list[str]:
    found = []
    for source in sources:
        layers = WALLS.get(source.room)
        mine = part_of(source.module)
        if layers is None or not mine:
            continue
        floor_of = {part: floor for floor, parts in enumerate(layers) for part in parts}
        if mine not in floor_of:
            found.append(f"{source.path} stands on no floor of {source.room}")
            continue
        for line, module in imports(source):
            other = part_of(module)
            if room_of(module) != source.room or other in ("", mine):
                continue
            if floor_of.get(other, len(layers)) >= floor_of[mine]:
                found.append(f"{source.path}:{line} imports {other}, which is not below {mine}")
    return found


def test_parts_of_a_room_import_only_from_those_below_them() -> None:
    assert violations(room_sources()) == []


def test_every_wall_has_a_part_behind_it() -> None:
    parts = [(room, part) for room, layers in WALLS.items() for layer in layers for part in layer]
    assert [part for part in parts if not any((ROOT / part[0] / name).exists() for name in (part[1], f"{part[1]}.py"))] == []
    assert set(WALLS) <= set(FLOOR_OF)


def test_the_guard_sees_a_stranger_a_climber_and_a_part_without_a_floor() -> None:
    planted = [
        Source("bus/rabbitmq/a.py", "from twofold.bus.embedded.bell import LocalBell\n"),
        Source("readmodels/schema/b.py", "import twofold.readmodels.stores.routed\n"),
        Source("gateway/somewhere/c.py", "import json\n"),
        Source("gateway/queries/d.py", "from twofold.gateway.commands.outcomes import OutcomeBoard\nimport twofold.kernel.ids\n"),
        Source("workers/execute.py", "from twofold.workers import states\n"),
    ]
    assert violations(planted) == [
        "bus/rabbitmq/a.py:1 imports embedded, which is not below rabbitmq",
        "readmodels/schema/b.py:1 imports stores, which is not below schema",
        "gateway/somewhere/c.py stands on no floor of gateway",
    ]
