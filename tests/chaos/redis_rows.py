"""The views in Redis as evidence: hashes of rows and checkpoints, read with plain commands."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Any

import msgspec
import redis

from tests.chaos.stores import positions_of
from twofold.kernel.view import AnyView


class RedisRows:
    """Views of one namespace. The names and shapes are those written down in readmodels/stores/redis/scripts.py."""

    def __init__(self, client: redis.Redis, namespace: str) -> None:
        self._client: Any = client
        self._namespace = namespace

    def checkpoints(self, view: str) -> list[int]:
        """[-1] when there is nothing, not even a view: Redis was emptied."""
        number, slices = self._live(view)
        if number == 0:
            return [-1]
        moved = self._client.hgetall(self._key(view, f"g{number}:checkpoints")).items()
        stood = [(view, int(name), int(position)) for name, position in moved if name.isdigit()]
        return positions_of({view: slices}, stood)[view]

    def parked(self, view: str) -> list[str]:
        number, _ = self._live(view)
        return [f"{view} {name!r}" for name in self._client.hkeys(self._key(view, f"g{number}:parked"))]

    def rows(self, view: AnyView, keys: Collection[str] | None) -> dict[str, Any]:
        number, _ = self._live(view.name)
        name = self._key(view.name, f"g{number}:rows")
        found: Iterable[tuple[bytes | str, bytes | None]]
        if keys is None:
            found = self._client.hgetall(name).items()
        else:
            found = zip(keys, self._client.hmget(name, list(keys)), strict=True) if keys else ()
        stored = {key if isinstance(key, str) else key.decode(): record for key, record in found if record is not None}
        stored.pop("\0", None)
        return {key: msgspec.json.decode(msgspec.msgpack.decode(record)[1], type=view.row) for key, record in stored.items()}

    def _live(self, view: str) -> tuple[int, int]:
        """Number and slices of the live generation, the newest where none is said to be; zeros when there is none."""
        generations = {int(number): record for number, record in self._client.hgetall(self._key(view, "generations")).items()}
        if not generations:
            return 0, 0
        states = self._client.hgetall(self._key(view, "states")).items()
        number = next((int(number) for number, state in states if state == b"live"), max(generations))
        return number, msgspec.msgpack.decode(generations[number])[0]

    def _key(self, view: str, part: str) -> str:
        return f"{{{self._namespace}:{view}}}:{part}"
