"""The port ViewStore on Redis.

A commit is one script for each view: it moves the checkpoints that still stand where they are expected, and the rows, orders and
parked lines of exactly those slices. What Redis forgets in a crash it forgets together; after a flush the checkpoints stand
at 0, every commit is refused, and the projector begins anew.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import msgspec

from twofold.kernel.rows import Advance, Found, Generation, ParkedKey, Query, Row, RowPage
from twofold.kernel.view import AnyView, SliceId
from twofold.readmodels.schema.keys import askable, slice_for
from twofold.readmodels.schema.query import question_of
from twofold.readmodels.stores.redis import lines
from twofold.readmodels.stores.redis.errors import in_our_words
from twofold.readmodels.stores.redis.generations import Shelf, prepare
from twofold.readmodels.stores.redis.places import members_of, range_of
from twofold.readmodels.stores.redis.scripts import COMMIT, FIND

Stored = tuple[int, str, list[str]]
"""Position, the row as JSON, its members (see places.py). Redis's MessagePack knows text, not bytes."""

_STORED = msgspec.msgpack.Decoder(tuple[int, str, Any])


class RedisViewStore:
    """Rows, checkpoints and parked keys of the views prepared here. Thread-safe. Every call may raise Unavailable."""

    def __init__(self, client: Any, prefix: str) -> None:
        """`client` is a redis.Redis that returns bytes."""
        self._client = client
        self._prefix = prefix
        self._shelves: dict[str, Shelf] = {}
        self._commit = client.register_script(COMMIT)
        self._find = client.register_script(FIND)

    def prepare(self, view: AnyView, slices: int) -> Generation:
        with in_our_words():
            generation = prepare(self._client, self._prefix, view, slices)
        self._shelves[view.name] = Shelf(self._prefix, view, generation)
        return generation

    def positions(self, view: str | None = None) -> dict[SliceId, int]:
        found: dict[SliceId, int] = {}
        with in_our_words():
            for shelf in self._asked(view):
                stored = self._client.hgetall(shelf.checkpoints)
                found |= {slice_id: int(stored.get(b"%d" % slice_id.slice, 0)) for slice_id in shelf.generation.slice_ids()}
        return found

    def load(self, view: str, keys: Collection[str]) -> dict[str, Row]:
        shelf = self._shelves[view]
        if not keys:
            return {}
        with in_our_words():
            stored = self._client.hmget(shelf.rows, list(keys))
        return {key: _row(shelf, key, one) for key, one in zip(keys, stored, strict=True) if one is not None}

    def commit(self, advances: Sequence[Advance]) -> set[SliceId]:
        """One script for each view, all of them packed before the first one runs: what cannot be kept is found out in time."""
        packed = []
        for view in sorted({advance.slice.view for advance in advances} & self._shelves.keys()):
            shelf = self._shelves[view]
            mine = [one for one in advances if (one.slice.view, one.slice.generation) == (view, shelf.generation.number)]
            if mine:
                packed.append((shelf, _packed_together(shelf, mine)))
        return {slice_id for shelf, args in packed for slice_id in self._moved(shelf, args)}

    def get(self, view: str, keys: Sequence[str]) -> list[Found]:
        shelf = self._shelves[view]
        if not keys:
            return []
        slices = [slice_for(key, shelf.generation.slices) for key in keys]
        with in_our_words(), self._client.pipeline(transaction=True) as together:
            together.hmget(shelf.rows, [askable(key) for key in keys])
            together.hmget(shelf.checkpoints, slices)
            rows, positions = together.execute()
        return [
            Found(
                row=None if stored is None else _row(shelf, key, stored),
                slice=SliceId(view, shelf.generation.number, slice),
                position=int(position or 0),
            )
            for key, slice, stored, position in zip(keys, slices, rows, positions, strict=True)
        ]

    def find(self, view: str, query: Query) -> RowPage:
        shelf = self._shelves[view]
        question = question_of(shelf.view, shelf.columns, query)
        path, lowest, highest = range_of(shelf.columns, question)
        bounds = ("ZREVRANGEBYLEX", highest, lowest) if question.descending else ("ZRANGEBYLEX", lowest, highest)
        keys = (shelf.rows, shelf.orders[shelf.paths.index(path)], shelf.checkpoints)
        with in_our_words():
            checkpoints, stored = self._find(keys=keys, args=(*bounds, question.limit + 1))
        positions = dict(zip(checkpoints[::2], checkpoints[1::2], strict=True))
        rows = [_row(shelf, None, one) for one in stored]
        page = rows[: question.limit]
        return RowPage(
            rows=page,
            next=question.cursor(page[-1]) if len(rows) > question.limit else None,
            position=min(int(positions.get(b"%d" % slice, 0)) for slice in range(shelf.generation.slices)),
        )

    def parked(self, view: str | None = None) -> list[ParkedKey]:
        with in_our_words():
            return [parked for shelf in self._asked(view) for parked in lines.parked(self._client, shelf)]

    def waiting(self, slice_id: SliceId, key: str, limit: int) -> list[int]:
        with in_our_words():
            return lines.waiting(self._client, self._shelves[slice_id.view], slice_id.slice, key, limit)

    def request_retry(self, view: str, key: str) -> bool:
        with in_our_words():
            return lines.request(self._client, self._shelves[view], askable(key), "retry")

    def discard(self, view: str, key: str) -> bool:
        with in_our_words():
            return lines.request(self._client, self._shelves[view], askable(key), "discard")

    def close(self) -> None:
        self._client.close()

    def _moved(self, shelf: Shelf, args: Sequence[bytes]) -> set[SliceId]:
        keys = (shelf.generations, shelf.checkpoints, shelf.rows, shelf.parked, shelf.lines, *shelf.orders)
        with in_our_words():
            moved = self._commit(keys=keys, args=(shelf.generation.number, shelf.record, *args))
        return {SliceId(shelf.view.name, shelf.generation.number, int(slice)) for slice in moved}

    def _asked(self, view: str | None) -> list[Shelf]:
        return list(self._shelves.values()) if view is None else [self._shelves[view]]


def _packed_together(shelf: Shelf, advances: Sequence[Advance]) -> list[bytes]:
    blobs: list[bytes] = []
    packed = msgspec.msgpack.encode([_packed(shelf, advance, blobs) for advance in advances])
    return [packed, *blobs]


def _packed(shelf: Shelf, advance: Advance, blobs: list[bytes]) -> tuple[Any, ...]:
    """An advance as the script unpacks it: slice, expected, position, rows, drained, waiting, lines. Adds to the blobs."""
    place = str(advance.slice.slice), str(advance.expected), str(advance.position)
    return (*place, _packed_rows(shelf, advance.rows, blobs), *lines.packed(advance))


def _packed_rows(shelf: Shelf, rows: Mapping[str, Row | None], blobs: list[bytes]) -> list[tuple[str, int, list[str]]]:
    """Key, number of its blob from 1, members; 0 and none for a row that goes."""
    packed: list[tuple[str, int, list[str]]] = []
    for key, row in rows.items():
        if row is None:
            packed.append((key, 0, []))
            continue
        shelf.columns.keep(key, row.value)
        members = members_of(shelf.paths, key, row.value)
        stored: Stored = (row.position, msgspec.json.encode(row.value).decode(), members)
        blobs.append(msgspec.msgpack.encode(stored))
        packed.append((key, len(blobs), members))
    return packed


def _row(shelf: Shelf, key: str | None, stored: bytes) -> Row:
    position, data, _ = _STORED.decode(stored)
    value = msgspec.json.decode(data, type=shelf.view.row)
    return Row(getattr(value, shelf.view.key) if key is None else key, value, position)
