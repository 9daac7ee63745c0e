"""Which builds of a view's rows there are in Redis, and making the next one (see readmodels/stores/sql/generations.py)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from twofold.kernel.builds import RETIRED_SECONDS_MIN, Build
from twofold.kernel.errors import Neighbour, Unavailable
from twofold.kernel.rows import Generation, GenerationState, Row
from twofold.kernel.view import AnyView
from twofold.kernel.zones import utc_decoder
from twofold.readmodels.schema.columns import Columns
from twofold.readmodels.schema.shape import Reading, shape_of
from twofold.readmodels.stores.redis.orders import held_paths, members_of, paths_of
from twofold.readmodels.stores.redis.scripts import script

RACES_MAX = 5
"""Makers of different shapes may win against each other; more often than this they do not meet by chance."""

RETIRED = ""
"""Stands for a member among the users of a generation: until when it was live."""

Stored = tuple[int, str, list[str]]
"""Position, the row as JSON, its members (see orders.py). Redis's MessagePack knows text, not bytes."""

_STORED = msgspec.msgpack.Decoder(tuple[int, str, Any])

Record = tuple[int, str, int]
"""Slices, shape, and how many orders there are."""


class Keyspace:
    """Where one generation of a view stands in Redis: the names of its keys, all in one hash slot. On disk for ever."""

    def __init__(self, prefix: str, view: AnyView, generation: Generation, reading: Reading | None = None) -> None:
        """`reading`: how rows that another version of the view made are read."""
        self.reading = reading
        self.view = view = reading.stored if reading else view
        self.generation = generation
        self.columns = Columns(view)
        self._decode = utc_decoder(view.row)
        self.paths = held_paths(paths_of(reading.declared if reading else view), self.columns)
        self.record = record_of(view, generation.slices)
        self.generations = generations_key(prefix, view.name)
        names = generation_keys(prefix, view.name, generation.number, len(self.paths))
        self.checkpoints, self.rows, self.parked, self.lines, *self.orders = names
        self.firsts, self.asked = index_keys(self.parked)
        self.keys = (self.generations, *names)
        """As the commit and the drain script want them."""

    def packed(self, rows: Mapping[str, Row | None], blobs: list[bytes]) -> list[tuple[str, int, list[str]]]:
        """Key, number of its blob from 1, members; 0 and none for a row that goes. Adds to the blobs."""
        packed: list[tuple[str, int, list[str]]] = []
        for key, row in rows.items():
            if row is None:
                packed.append((key, 0, []))
                continue
            self.columns.encode(key, row.value)
            members = members_of(self.paths, key, row.value)
            stored: Stored = (row.position, msgspec.json.encode(row.value).decode(), members)
            blobs.append(msgspec.msgpack.encode(stored))
            packed.append((key, len(blobs), members))
        return packed

    def row(self, key: str | None, stored: bytes) -> Row:
        position, data, _ = _STORED.decode(stored)
        value = self._decode(data)
        return Row(getattr(value, self.view.key) if key is None else key, value, position)


def generations_key(prefix: str, view: str) -> str:
    return f"{{{prefix}:{view}}}:generations"


def states_key(prefix: str, view: str) -> str:
    return f"{{{prefix}:{view}}}:states"


def users_key(prefix: str, view: str) -> str:
    return f"{{{prefix}:{view}}}:users"


def generation_keys(prefix: str, view: str, number: int, orders_count: int) -> list[str]:
    parts = ["checkpoints", "rows", "parked", "lines", *(f"by:{order}" for order in range(orders_count))]
    return [f"{{{prefix}:{view}}}:g{number}:{part}" for part in parts]


def index_keys(parked: str) -> tuple[str, str]:
    """Of the parked keys: where their lines begin, and what was asked for. The scripts name them so, too."""
    return f"{parked}:firsts", f"{parked}:asked"


def record_of(view: AnyView, slices: int) -> bytes:
    record: Record = (slices, shape_of(view), len(paths_of(view)))
    return msgspec.msgpack.encode(record)


def make(client: Any, prefix: str, view: AnyView, slices: int) -> Generation:
    """The generation of the view's shape, made if there is none (see readmodels/stores/sql/generations.py)."""
    for _ in range(RACES_MAX):
        there = known(client, prefix, view.name)
        _drop_unneeded(client, prefix, there)
        live = next((one for one, _ in there if one.state == "live"), None)
        own = _best([one for one, record in there if record[1] == shape_of(view)])
        if own is not None and own.state != "retired":
            return own
        state: GenerationState = "building" if live else "live"
        number = own.number if own else max((one.number for one, _ in there), default=0) + 1
        generation = Generation(view.name, number, own.slices if own else slices, state)
        if enter(client, prefix, generation, record_of(view, generation.slices), [one for one, _ in there]):
            for one, record in there:
                if live and one.number != live.number and (live, record) in there:  # of a rebuild of the shape that is left
                    client.hset(states_key(prefix, view.name), one.number, "dropped")
                    if one.state == "building":
                        drop(client, prefix, one, record)
            return generation
    raise Unavailable(Neighbour.REDIS, "others keep giving a view another shape", detail=view.name)


def of_shape(client: Any, prefix: str, view: AnyView) -> Generation | None:
    """The generation of the view's shape to work on. Makes nothing."""
    return _best([one for one, record in known(client, prefix, view.name) if record[1] == shape_of(view)])


def builds(client: Any, prefix: str, view: str) -> list[Build]:
    """By number, with the lowest checkpoint of each."""
    found = []
    for generation, record in known(client, prefix, view):
        if generation.state != "dropped":
            stored = client.hgetall(generation_keys(prefix, view, generation.number, 0)[0])
            position = min(int(stored.get(b"%d" % slice, 0)) for slice in range(generation.slices))
            found.append(Build(generation, record[1], position))
    return found


def swap(client: Any, prefix: str, generation: Generation, position: int) -> bool:
    """Let it answer, and retire the one that did."""
    standing = {one.number: one for one, _ in known(client, prefix, generation.view)}
    mine = standing.get(generation.number)
    at = generation_keys(prefix, generation.view, generation.number, 0)[0]
    stored = client.hgetall(at)
    if mine is None or mine.state != "building":
        return False
    if min(int(stored.get(b"%d" % slice, 0)) for slice in range(generation.slices)) < position:
        return False
    live = msgspec.structs.replace(mine, state="live")
    return enter(client, prefix, live, None, list(standing.values()))


def use(client: Any, prefix: str, member: str, needed: Sequence[Generation], term_seconds: float) -> None:
    """Note it, by the server's clock."""
    until = client.time()[0] + term_seconds
    for generation in needed:
        client.hset(users_key(prefix, generation.view), f"{generation.number}\0{member}", until)


def is_lost(client: Any, prefix: str, view: AnyView) -> bool:
    """Whether the server knows nothing at all of the view: it was flushed, or this is its first time."""
    return not known(client, prefix, view.name)


def _best(own: Sequence[Generation]) -> Generation | None:
    ranked = [one for state in ("retired", "building", "live") for one in own if one.state == state]
    return ranked[-1] if ranked else None


def enter(client: Any, prefix: str, generation: Generation, record: bytes | None, known: Sequence[Generation]) -> bool:
    """Give a generation its state, retire the one that was in it, and note every other's. False when what is known has changed;
    `record`: of one that may have to be made."""
    gone = [one for one in known if one.state == generation.state and generation.state != "dropped"]
    states: dict[int, str] = {one.number: "retired" if one in gone else one.state for one in known}
    states[generation.number] = generation.state
    keys = (generations_key(prefix, generation.view), states_key(prefix, generation.view))
    pairs = [part for pair in states.items() for part in pair]
    before = [part for one in known for part in (one.number, one.state)]
    args = (generation.number, record or b"", len(before), *before, *pairs)
    if not client.eval(script("make"), 2, *keys, *args):
        return False
    use(client, prefix, RETIRED, gone, 0.0)
    return True


def _drop_unneeded(client: Any, prefix: str, known: Sequence[tuple[Generation, Record]]) -> None:
    """Drop the retired ones that were retired, and last used, long enough ago."""
    for generation, record in known:
        if generation.state == "dropped":
            drop(client, prefix, generation, record)  # somebody may still have folded it for a moment
        if generation.state != "retired":
            continue
        users = client.hgetall(users_key(prefix, generation.view)).items()
        mine = {name: float(until) for name, until in users if name.startswith(b"%d\0" % generation.number)}
        if not mine:  # retired by a version that did not say when
            use(client, prefix, RETIRED, [generation], 0.0)
        elif max(mine.values()) < client.time()[0] - RETIRED_SECONDS_MIN:
            client.hset(states_key(prefix, generation.view), generation.number, "dropped")
            drop(client, prefix, generation, record)
            client.hdel(users_key(prefix, generation.view), *mine)


def drop(client: Any, prefix: str, generation: Generation, record: Record) -> None:
    """What it holds."""
    names = generation_keys(prefix, generation.view, generation.number, record[2])
    client.unlink(*names, *index_keys(names[2]))


def known(client: Any, prefix: str, view: str) -> list[tuple[Generation, Record]]:
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
