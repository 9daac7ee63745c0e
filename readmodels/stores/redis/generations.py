"""Which build of a view's rows in Redis is the live one: the one with the highest number (see stores/sql/generations.py)."""

from __future__ import annotations

from typing import Any

import msgspec

from twofold.kernel.errors import Neighbour, Unavailable
from twofold.kernel.rows import Generation
from twofold.kernel.view import AnyView
from twofold.readmodels.schema.columns import Columns, shape_of
from twofold.readmodels.stores.redis.places import Path, paths_of
from twofold.readmodels.stores.redis.scripts import PREPARE

RACES_MAX = 5
"""Makers of different shapes may win against each other; more often than this they do not meet by chance."""

Record = tuple[int, str, int]
"""Slices, shape, and how many orders there are."""


class Shelf:
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


def generations_key(prefix: str, view: str) -> str:
    return f"{{{prefix}:{view}}}:generations"


def generation_keys(prefix: str, view: str, number: int, orders_count: int) -> list[str]:
    parts = ["checkpoints", "rows", "parked", "lines", *(f"by:{place}" for place in range(orders_count))]
    return [f"{{{prefix}:{view}}}:g{number}:{part}" for part in parts]


def record_of(view: AnyView, slices: int) -> bytes:
    record: Record = (slices, shape_of(view), len(paths_of(view, Columns(view))))
    return msgspec.msgpack.encode(record)


def prepare(client: Any, prefix: str, view: AnyView, slices: int) -> Generation:
    """The live generation, made if there is none of the view's shape."""
    key, shape = generations_key(prefix, view.name), shape_of(view)
    for _ in range(RACES_MAX):
        known = {int(number): _decoded(record) for number, record in client.hgetall(key).items()}
        newest = max(known, default=0)
        if newest and known[newest][1] == shape:
            return Generation(view.name, newest, known[newest][0])
        standing = _decoded(client.eval(PREPARE, 1, key, newest + 1, record_of(view, slices)))
        if standing[1] == shape:
            for number in sorted(known)[:-1]:
                client.unlink(*generation_keys(prefix, view.name, number, known[number][2]))
                client.hdel(key, number)
            return Generation(view.name, newest + 1, standing[0])
    raise Unavailable(Neighbour.REDIS, "others keep giving a view another shape", detail=view.name)


def _decoded(record: bytes) -> Record:
    decoded: Record = msgspec.msgpack.decode(record, type=Record)
    return decoded
