"""The port ViewStore on Redis.

A commit is one script for each view: it moves the checkpoints that still stand where they are expected, and the rows, orders and
parked lines of exactly those slices. What Redis forgets in a crash it forgets together; after a flush the checkpoints stand
at 0, every commit is refused, and the projector begins anew.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import msgspec

from twofold.kernel.builds import Build, Rebuild
from twofold.kernel.counting import counted_by_pages
from twofold.kernel.errors import Misconfigured
from twofold.kernel.rows import Advance, Drain, Found, Generation, ParkedKey, ParkedLine, Promises, Query, Row, RowPage
from twofold.kernel.view import AnyView, SliceId
from twofold.readmodels.schema.columns import queryable_key, slice_for
from twofold.readmodels.schema.query import checked_query
from twofold.readmodels.schema.shape import reading_of
from twofold.readmodels.stores.redis import lines, rebuilds
from twofold.readmodels.stores.redis.errors import in_our_words
from twofold.readmodels.stores.redis.generations import Keyspace, builds, is_lost, make, of_shape, swap, use
from twofold.readmodels.stores.redis.orders import stretches_of
from twofold.readmodels.stores.redis.scripts import script

SLICES_DEFAULT = 4
TOUCHED_MEMBERS_MAX = 2_000
"""So many members are looked at for one page, while the server does nothing else: then the page ends, the next goes on."""


class RedisViewStore:
    """Rows, checkpoints and parked keys of the views made or attached here. Thread-safe. Every call may raise Unavailable."""

    promises = Promises(is_atomic=True, commits_views_together=False, needs_making=False)

    def __init__(self, client: Any, prefix: str, slices: int = SLICES_DEFAULT) -> None:
        """`client` is a redis.Redis that returns bytes. `slices`: into how many a view is cut that the server has lost."""
        self._slices = slices
        self._client = client
        self._prefix = prefix
        self._keyspaces: dict[str, Keyspace] = {}
        self._commit = client.register_script(script("commit"))
        self._drain = client.register_script(script("drain"))
        self._find = client.register_script(script("find"))
        self._standing = client.register_script(script("standing"))

    def make(self, view: AnyView, slices: int) -> Generation:
        with in_our_words():
            generation = make(self._client, self._prefix, view, slices)
        self._keyspaces[view.name] = Keyspace(self._prefix, view, generation)
        return generation

    def attach(self, view: AnyView, build: Build | None = None) -> Generation:
        with in_our_words():
            generation = build.generation if build else of_shape(self._client, self._prefix, view)
            if generation is None and is_lost(self._client, self._prefix, view):
                generation = make(self._client, self._prefix, view, self._slices)
        if generation is None:
            raise Misconfigured(f"view {view.name}: rows of its shape have not been made; run `twofold migrate`")
        reading = reading_of(view, build.shape) if build else None
        self._keyspaces[view.name] = Keyspace(self._prefix, view, generation, reading)
        return generation

    def beside(self) -> RedisViewStore:
        return RedisViewStore(self._client, self._prefix, self._slices)

    def builds(self, views: Collection[str]) -> list[Build]:
        with in_our_words():
            return [build for view in sorted(views) for build in builds(self._client, self._prefix, view)]

    def swap(self, generation: Generation, position: int) -> bool:
        with in_our_words():
            return swap(self._client, self._prefix, generation, position)

    def use(self, member: str, generations: Sequence[Generation], term_seconds: float) -> None:
        with in_our_words():
            use(self._client, self._prefix, member, generations, term_seconds)

    def rebuild(self, view: AnyView, throttle: float, begun_at: float, again: int | None = None) -> Rebuild | None:
        with in_our_words():
            return rebuilds.rebuild(self._client, self._prefix, view, throttle, begun_at, again)

    def rebuilt(self, views: Collection[str]) -> list[Rebuild]:
        with in_our_words():
            return [one for view in sorted(views) if (one := rebuilds.rebuilt(self._client, self._prefix, view))]

    def note_rebuild(self, rebuild: Rebuild) -> bool:
        with in_our_words():
            return rebuilds.note_rebuild(self._client, self._prefix, rebuild)

    def positions(self, *views: str) -> dict[SliceId, int]:
        found: dict[SliceId, int] = {}
        with in_our_words():
            for keyspace in [self._keyspaces[view] for view in views or list(self._keyspaces)]:
                flat = self._standing(keys=keyspace.keys)
                stored = dict(zip(flat[::2], flat[1::2], strict=True))
                found |= {slice_id: int(stored.get(b"%d" % slice_id.slice, 0)) for slice_id in keyspace.generation.slice_ids()}
        return found

    def marks(self, view: str | None = None) -> dict[SliceId, str]:
        found: dict[SliceId, str] = {}
        with in_our_words():
            for keyspace in self._asked(view):
                slices = keyspace.generation.slice_ids()
                stored = self._client.hmget(keyspace.checkpoints, [f"mark:{slice_id.slice}" for slice_id in slices])
                found |= {slice_id: (mark or b"").decode() for slice_id, mark in zip(slices, stored, strict=True)}
        return found

    def load(self, view: str, keys: Collection[str]) -> dict[str, Row]:
        return self.load_together({view: keys})[view] if keys else {}

    def load_together(self, wanted: Mapping[str, Collection[str]]) -> dict[str, dict[str, Row]]:
        keyspaces = {view: self._keyspaces[view] for view in wanted}
        with in_our_words(), self._client.pipeline(transaction=False) as together:
            for view, keys in wanted.items():
                together.hmget(keyspaces[view].rows, list(keys))
            answers = together.execute()
        return {
            view: {key: keyspaces[view].row(key, one) for key, one in zip(keys, stored, strict=True) if one is not None}
            for (view, keys), stored in zip(wanted.items(), answers, strict=True)
        }

    def commit(self, advances: Sequence[Advance]) -> set[SliceId]:
        """One script for each view, all of them packed before the first one runs: what cannot be kept is found out in time."""
        packed = []
        for view in sorted({advance.slice.view for advance in advances} & self._keyspaces.keys()):
            keyspace = self._keyspaces[view]
            mine = [one for one in advances if (one.slice.view, one.slice.generation) == (view, keyspace.generation.number)]
            if mine:
                packed.append((keyspace, _packed_together(keyspace, mine)))
        return {slice_id for keyspace, args in packed for slice_id in self._moved(keyspace, args)}

    def drain(self, drain: Drain) -> bool:
        keyspace = self._keyspaces.get(drain.slice.view)
        if keyspace is None or keyspace.generation.number != drain.slice.generation:
            return False
        blobs: list[bytes] = []
        packed = (*lines.packed_drain(drain), keyspace.packed(drain.rows, blobs))
        args = (keyspace.generation.number, keyspace.record, msgspec.msgpack.encode(packed), *blobs)
        with in_our_words():
            return bool(self._drain(keys=keyspace.keys, args=args))

    def get(self, view: str, keys: Sequence[str]) -> list[Found]:
        keyspace = self._keyspaces[view]
        if not keys:
            return []
        slices = [slice_for(key, keyspace.generation.slices) for key in keys]
        with in_our_words(), self._client.pipeline(transaction=True) as together:
            together.exists(keyspace.rows)
            together.hmget(keyspace.rows, [queryable_key(key) for key in keys])
            together.hmget(keyspace.checkpoints, slices)
            together.hmget(keyspace.parked, [f"{slice}\0{queryable_key(key)}" for key, slice in zip(keys, slices, strict=True)])
            for slice in (distinct := sorted(set(slices))):
                together.zrangebylex(keyspace.lines, *lines.streams_of(slice), start=0, num=1)
            has_rows, rows, positions, parked, *streams = together.execute()
        with_streams = {slice for slice, members in zip(distinct, streams, strict=True) if members}
        found = [
            Found(
                row=None if stored is None else keyspace.row(key, stored),
                slice=SliceId(view, keyspace.generation.number, slice),
                position=int(position or 0) if has_rows else 0,
                parked=None if record is None else lines.position_of(record),
                has_parked_streams=slice in with_streams,
            )
            for key, slice, stored, position, record in zip(keys, slices, rows, positions, parked, strict=True)
        ]
        return [keyspace.reading.found(one) for one in found] if keyspace.reading else found

    def find(self, view: str, query: Query) -> RowPage:
        keyspace = self._keyspaces[view]
        reading, columns = keyspace.reading, keyspace.columns
        asked = reading.checked(columns, query) if reading else checked_query(keyspace.view, columns, query)
        stretches = stretches_of(keyspace.paths, columns.key, asked)
        orders = [keyspace.orders[stretch.number] for stretch in stretches]
        keys = (keyspace.rows, keyspace.checkpoints, keyspace.parked, keyspace.firsts, *orders)
        command = "ZREVRANGEBYLEX" if asked.descending else "ZRANGEBYLEX"
        packed = msgspec.msgpack.encode([stretch[1:] for stretch in stretches])
        with in_our_words():
            checkpoints, stored, parked_count, first, last = self._find(
                keys=keys, args=(command, asked.limit + 1, TOUCHED_MEMBERS_MAX, packed)
            )
        positions = dict(zip(checkpoints[::2], checkpoints[1::2], strict=True))
        rows = [keyspace.row(None, one) for one in stored]
        page, more = rows[: asked.limit], len(rows) > asked.limit or last
        answer = RowPage(
            rows=page,
            next=asked.cursor(page[-1] if len(rows) > asked.limit else keyspace.row(None, last)) if more else None,
            position=min(int(positions.get(b"%d" % slice, 0)) for slice in range(keyspace.generation.slices)),
            has_parked=parked_count > 0,
            parked=int(first) if first else None,
        )
        return reading.page(answer) if reading else answer

    def count(self, view: str, query: Query, most: int) -> int:
        return counted_by_pages(self.find, view, query, most)

    def parked(self, view: str | None = None, key: str | None = None, limit: int | None = None) -> list[ParkedKey]:
        asked = key and queryable_key(key)
        with in_our_words():
            return [found for keyspace in self._asked(view) for found in lines.parked(self._client, keyspace, asked, limit)]

    def parked_lines(self, view: str, only_requested: bool = False) -> list[ParkedLine]:
        with in_our_words():
            return lines.lines(self._client, self._keyspaces[view], only_requested)

    def parked_counts(self) -> dict[str, int]:
        with in_our_words():
            return {keyspace.view.name: lines.count(self._client, keyspace) for keyspace in self._asked(None)}

    def rekeyed(self, view: str) -> int | None:
        with in_our_words():
            return lines.rekeyed(self._client, self._keyspaces[view])

    def waiting(self, slice_id: SliceId, key: str, limit: int) -> list[int]:
        with in_our_words():
            return lines.waiting(self._client, self._keyspaces[slice_id.view], slice_id.slice, key, limit)

    def request_retry(self, view: str, key: str) -> bool:
        with in_our_words():
            return lines.request(self._client, self._keyspaces[view], queryable_key(key), "retry")

    def discard(self, view: str, key: str) -> bool:
        with in_our_words():
            return lines.request(self._client, self._keyspaces[view], queryable_key(key), "discard")

    def close(self) -> None:
        self._client.close()

    def _moved(self, keyspace: Keyspace, args: Sequence[bytes]) -> set[SliceId]:
        with in_our_words():
            moved = self._commit(keys=keyspace.keys, args=(keyspace.generation.number, keyspace.record, *args))
        return {SliceId(keyspace.view.name, keyspace.generation.number, int(slice)) for slice in moved}

    def _asked(self, view: str | None) -> list[Keyspace]:
        return list(self._keyspaces.values()) if view is None else [self._keyspaces[view]]


def _packed_together(keyspace: Keyspace, advances: Sequence[Advance]) -> list[bytes]:
    blobs: list[bytes] = []
    packed = msgspec.msgpack.encode([_packed(keyspace, advance, blobs) for advance in advances])
    return [packed, *blobs]


def _packed(keyspace: Keyspace, advance: Advance, blobs: list[bytes]) -> tuple[Any, ...]:
    """An advance as the script unpacks it: slice, expected, position, rows, waiting, lines, mark. Adds to the blobs."""
    named = str(advance.slice.slice), str(advance.expected), str(advance.position)
    return (*named, keyspace.packed(advance.rows, blobs), *lines.packed(advance), advance.mark)
