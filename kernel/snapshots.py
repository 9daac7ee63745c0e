"""Between a decider's states and what is kept of them beside the log, so that a long stream is not folded from its beginning.

    state ── encode ──> JSON, only if exactly the same state comes back ──> a snapshot, which names its shape and its event
    a snapshot of this shape ── decode ──> the state; of any other shape, or not to be decoded: as if there were none

The *shape* is what has to stay the same for a snapshot to be what folding would give: the type of the state with all that is in
it, the state that a stream begins with, the versions of the events, the decider's `revision`, and the code of its `evolve`, with
the functions of its module that are called there. What else `evolve` may call is not seen: that is what `revision` is for.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from hashlib import blake2b
from types import CodeType, FunctionType
from typing import Any, get_type_hints

import msgspec
from msgspec import inspect

from twofold.kernel.decider import AnyDecider
from twofold.kernel.errors import BUGS
from twofold.kernel.messages import tag_of

EVERY_EVENTS = 50
"""Unless the decider says how often: after so many events, and not before they are as many bytes as the state was. What is read
of a stream is so hardly more than twice its state, and what is written of snapshots hardly more than its events."""
SNAPSHOT_BYTES_MAX = 1024 * 1024
"""A larger state is not stored."""
_FORMAT = "1"
_ADDRESS = re.compile(r" at 0x[0-9a-fA-F]+")
_ENCODER = msgspec.json.Encoder()
_SCALARS = {str, int, float, bool, bytes, type(None)}


class StateCodec:
    """Encodes and decodes the states of one decider. `shape` is "" where none is to be stored; `why_not` says why they cannot be,
    and is "" where they can. Thread-safe."""

    def __init__(self, decider: AnyDecider) -> None:
        self.shape, self.why_not = "", ""
        self.every = decider.snapshot_every or EVERY_EVENTS
        """After fewer events none is due."""
        self._is_rarer_for_large = not decider.snapshot_every
        try:
            state_type = _type_of(decider)
            described = repr(inspect.type_info(state_type))
            if "CustomType(" in described:
                raise TypeError(f"{state_type} holds what is no JSON")
            self._decode = msgspec.json.Decoder(state_type).decode
            first = _ENCODER.encode(decider.initial)
        except BUGS as error:
            self.why_not = f"{type(error).__name__}: {error}".replace("\n", " ")
            return
        if decider.snapshot_every == 0:
            return
        versions = sorted(f"{tag_of(event)}@{event.schema_version}" for event in decider.events if event.schema_version != 1)
        about = (_FORMAT, decider.name, described, first.decode(), *versions, decider.revision, *_code_of(decider.evolve, []))
        text = "\n".join(_ADDRESS.sub("", str(part)) for part in about)
        self.shape = blake2b(text.encode(), digest_size=16).hexdigest()

    def is_due(self, events_bytes: int, state_bytes: int) -> bool:
        """After `every` events, of so many bytes, since the last one, when the state was `state_bytes`."""
        return not self.why_not and (not self._is_rarer_for_large or events_bytes >= state_bytes)

    def encode(self, state: Any) -> bytes:
        """Raises ValueError when something else would come back, and whatever the state's own classes do."""
        data = _ENCODER.encode(state)
        if not is_same(state, self._decode(data)):
            raise ValueError("what is decoded is not the state that was encoded")
        return data

    def decode(self, data: bytes) -> Any:
        """Raises anything at all for what is no state of this shape."""
        return self._decode(data)


def is_same(one: Any, other: Any) -> bool:
    """Whether no decider could tell these two apart: values, types all the way down, order. (1, 1.0 and True are equal, and so is
    an enum's member to its value; what is decided on them is not the same.)"""
    kind = type(one)
    if kind is not type(other):
        return False
    if kind in _SCALARS:
        return bool(one == other)
    if isinstance(one, dict):
        return len(one) == len(other) and _are_same(list(one), list(other)) and _are_same([*one.values()], [*other.values()])
    if isinstance(one, set | frozenset):
        return bool(one == other) and sorted(map(repr, one)) == sorted(map(repr, other))
    if isinstance(one, list | tuple):
        return _are_same(one, other)
    names = getattr(kind, "__struct_fields__", None) or tuple(getattr(kind, "__dataclass_fields__", ()))
    if names:
        return all(is_same(getattr(one, name), getattr(other, name)) for name in names)
    return bool(one == other) and repr(one) == repr(other)


def _are_same(many: Any, others: Any) -> bool:
    """Of what is neither a container nor a value of ours, a comparison in one go says all."""
    if len(many) != len(others) or (kinds := set(map(type, many))) != set(map(type, others)):
        return False
    if len(kinds) == 1 and kinds <= _SCALARS:
        return bool(many == others)
    return all(map(is_same, many, others))


def _type_of(decider: AnyDecider) -> Any:
    """What `evolve` says that it returns, or else the type of the first state. Raises TypeError when that says nothing."""
    try:
        said = get_type_hints(decider.evolve).get("return")
    except Exception:  # of what is no function, or names that only a type checker knows
        said = None
    if said is None and decider.initial is None:
        raise TypeError("evolve does not say what it returns")
    return type(decider.initial) if said is None else said


def _code_of(function: Any, seen: list[Any]) -> Iterator[str]:
    """What a function does, and those of its module that it calls by name."""
    if not isinstance(function, FunctionType) or function in seen:
        return
    seen.append(function)
    for code in _codes(function.__code__):
        yield code.co_code.hex()
        yield from (_stable(value) for value in code.co_consts if not isinstance(value, CodeType))
        yield " ".join(code.co_names)
        for name in code.co_names:
            called = function.__globals__.get(name)
            if getattr(called, "__module__", None) == function.__module__:
                yield from _code_of(called, seen)


def _codes(code: CodeType) -> Iterator[CodeType]:
    """The code and, in order, what is defined inside of it."""
    yield code
    for value in code.co_consts:
        if isinstance(value, CodeType):
            yield from _codes(value)


def _stable(value: Any) -> str:
    """The same text in every process: the order of a set is not."""
    if isinstance(value, frozenset):
        return repr(sorted(map(repr, value)))
    return repr(value)
