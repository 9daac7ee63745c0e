"""Rows made anew in Redis beside the live ones of the same shape (see readmodels/stores/sql/rebuilds.py)."""

from __future__ import annotations

from typing import Any

import msgspec

from twofold.kernel.builds import Rebuild, rebuild_as_it_stands
from twofold.kernel.rows import Generation
from twofold.kernel.view import AnyView
from twofold.readmodels.schema.shape import shape_of
from twofold.readmodels.stores.redis.generations import builds, drop, enter, known, record_of


def rebuild(client: Any, prefix: str, view: AnyView, throttle: float, begun_at: float, again: int | None) -> Rebuild | None:
    """See kernel/builds.py."""
    there = known(client, prefix, view.name)
    live = next((one for one, record in there if one.state == "live" and record[1] == shape_of(view)), None)
    if live is None or any(one.state == "building" for one, _ in there):
        return None
    number = again if again is not None else max(one.number for one, _ in there) + 1
    begun_from, slices = 0, live.slices
    if again is not None:
        retired = [
            one
            for one in builds(client, prefix, view.name)
            if one.generation.number == again and one.generation.state == "retired" and one.shape == shape_of(view)
        ]
        if not retired:
            return None
        begun_from, slices = retired[0].position, retired[0].generation.slices
    generation = Generation(view.name, number, slices, "building")
    if not enter(client, prefix, generation, record_of(view, slices) if again is None else None, [one for one, _ in there]):
        return None
    begun = Rebuild(view.name, number, live.number, "building", throttle, begun_at, begun_from)
    _write(client, prefix, begun)
    return begun


def rebuilt(client: Any, prefix: str, view: str) -> Rebuild | None:
    record = client.get(_key(prefix, view))
    noted = msgspec.json.decode(record, type=Rebuild) if record else None
    return rebuild_as_it_stands(noted, builds(client, prefix, view))


def note_rebuild(client: Any, prefix: str, rebuild: Rebuild) -> bool:
    """See kernel/builds.py. Two that note at once are told apart by the swap, which happens once."""
    last = rebuilt(client, prefix, rebuild.view)
    if last is None or last.generation != rebuild.generation or (last.is_over and last.state != rebuild.state):
        return False
    if rebuild.state in ("cancelled", "failed") and not last.is_over:
        there = known(client, prefix, rebuild.view)
        [(mine, record)] = [(one, record) for one, record in there if one.number == rebuild.generation]
        ended = msgspec.structs.replace(mine, state="retired" if rebuild.is_going_back else "dropped")
        if not enter(client, prefix, ended, None, [one for one, _ in there]):
            return False
        if not rebuild.is_going_back:
            drop(client, prefix, mine, record)
    _write(client, prefix, rebuild)
    return True


def _write(client: Any, prefix: str, rebuild: Rebuild) -> None:
    client.set(_key(prefix, rebuild.view), msgspec.json.encode(rebuild, enc_hook=str))


def _key(prefix: str, view: str) -> str:
    return f"{{{prefix}:{view}}}:rebuild"
