"""Which builds of a view's rows there are in Redis, and making the next one (see readmodels/stores/sql/generations.py)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from twofold.kernel.errors import Neighbour, Unavailable
from twofold.kernel.rows import Generation
from twofold.kernel.view import AnyView
from twofold.readmodels.schema.columns import Columns
from twofold.readmodels.schema.shape import shape_of
from twofold.readmodels.stores.redis.orders import Path, paths_of
from twofold.readmodels.stores.redis.scripts import script

RACES_MAX = 5
"""Makers of different shapes may win against each other; more often than this they do not meet by chance."""

Record = tuple[int, str, int]
"""Slices, shape, and how many orders there are."""


class Keyspace:
    """Where one generation of a view stands in Redis: the names of its keys, all in one hash slot. On disk for ever."""

    def __init__(self, prefix: str, view: AnyView, generation: Generation) -> None:
        self.view = view
        self.generation = generation
        self.columns = Columns(view)
        self.paths: tuple[Path, ...] = paths_of(view, self.columns)
        self.record = record_of(view, generation.slices)
        self.generations = generations_key(prefix, view.name)
        names = generation_keys(prefix, view.name, generation.number, len(self.paths))
        self.checkpoints, self.rows, self.parked, self.lines, *self.orders = names
        self.keys = (self.generations, *names)
        """As the commit and the drain script want them."""


def generations_key(prefix: str, view: str) -> str:
    return f"{{{prefix}:{view}}}:generations"


def states_key(prefix: str, view: str) -> str:
    return f"{{{prefix}:{view}}}:states"


def generation_keys(prefix: str, view: str, number: int, orders_count: int) -> list[str]:
    parts = ["checkpoints", "rows", "parked", "lines", *(f"by:{order}" for order in range(orders_count))]
    return [f"{{{prefix}:{view}}}:g{number}:{part}" for part in parts]


def record_of(view: AnyView, slices: int) -> bytes:
    record: Record = (slices, shape_of(view), len(paths_of(view, Columns(view))))
    return msgspec.msgpack.encode(record)


def make(client: Any, prefix: str, view: AnyView, slices: int) -> Generation:
    """The live generation, made if there is none of the view's shape."""
    keys = (generations_key(prefix, view.name), states_key(prefix, view.name))
    for _ in range(RACES_MAX):
        known = _known(client, prefix, view.name)
        if (live := _live_of_shape(known, view)) is not None:
            return live
        number = max((generation.number for generation, _ in known), default=0) + 1
        standing = _decoded(client.eval(script("make"), 2, *keys, number, record_of(view, slices)))
        if standing[1] == shape_of(view):
            for generation, record in known:
                if generation.state == "retired":
                    client.unlink(*generation_keys(prefix, view.name, generation.number, record[2]))
                    client.hdel(keys[0], generation.number)
                    client.hdel(keys[1], generation.number)
            return Generation(view.name, number, standing[0])
    raise Unavailable(Neighbour.REDIS, "others keep giving a view another shape", detail=view.name)


def of_shape(client: Any, prefix: str, view: AnyView) -> Generation | None:
    """The live generation, if it is of the view's shape, or else the one before it. Makes nothing."""
    known = _known(client, prefix, view.name)
    retired = [one for one, record in known if one.state == "retired" and record[1] == shape_of(view)]
    return _live_of_shape(known, view) or (retired[-1] if retired else None)


def is_lost(client: Any, prefix: str, view: AnyView) -> bool:
    """Whether the server knows nothing at all of the view: it was flushed, or this is its first time."""
    return not _known(client, prefix, view.name)


def _live_of_shape(known: Sequence[tuple[Generation, Record]], view: AnyView) -> Generation | None:
    shape = shape_of(view)
    return next((one for one, record in known if one.state == "live" and record[1] == shape), None)


def _known(client: Any, prefix: str, view: str) -> list[tuple[Generation, Record]]:
    """All builds of a view, by ascending number. Where no state was noted by anybody, the newest is live."""
    records = {int(number): _decoded(record) for number, record in client.hgetall(generations_key(prefix, view)).items()}
    states = {int(number): state.decode() for number, state in client.hgetall(states_key(prefix, view)).items()}
    newest = 0 if "live" in states.values() else max(records, default=0)
    return [
        (Generation(view, number, record[0], states.get(number, "live" if number == newest else "retired")), record)
        for number, record in sorted(records.items())
    ]


def _decoded(record: bytes) -> Record:
    decoded: Record = msgspec.msgpack.decode(record, type=Record)
    return decoded
