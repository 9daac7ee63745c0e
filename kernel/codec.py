"""Between JSON and a domain's messages: strict for commands, tolerant for events, all of them brought to the one version here."""

from __future__ import annotations

import re
from typing import Any, TypeVar

import msgspec

from twofold.kernel.decider import AnyDecider
from twofold.kernel.domain import Domain
from twofold.kernel.envelope import Envelope, fingerprint_of
from twofold.kernel.errors import BUGS, Malformed, NotKnown
from twofold.kernel.log import Recorded
from twofold.kernel.members import event_name
from twofold.kernel.messages import Command, Event, tag_of
from twofold.kernel.snapshots import StateCodec
from twofold.kernel.zones import NO_ZONE, made_in, naive_in

T = TypeVar("T")
DEPTH_MAX = 32
TOO_DEEP = f"nested deeper than {DEPTH_MAX}"
UNKNOWN_FIELD = "Object contains unknown field"
"""What msgspec says of one."""
_ENCODER = msgspec.json.Encoder()
_SORTED = msgspec.json.Encoder(order="sorted")
_OBJECT = msgspec.json.Decoder(dict[str, Any])
_TAGS: dict[type[Event], str] = {}
_STRING = re.compile(rb'"(?:[^"\\]|\\.)*"', re.DOTALL)
_PATH = " - at `$"
_STEP = re.compile(r"\.([^.\[\]]+)|\[(\d+|\.\.\.)\]")


class Codec:
    """Encodes and decodes the messages, and the states, of one domain. Thread-safe."""

    def __init__(self, domain: Domain) -> None:
        self._domain = domain
        self._commands = {tag: msgspec.json.Decoder(command) for tag, command in domain.commands.items()}
        self._events = {(tag, event.schema_version): msgspec.json.Decoder(event) for tag, event in domain.events.items()}
        naive = {tag: naive_in(command) for tag, command in domain.commands.items()}
        self._naive = {tag: find for tag, find in naive.items() if find is not None}
        self._defaults = {tag: _defaults_of(command) for tag, command in domain.commands.items()}
        self.states = {decider.name: StateCodec(decider) for decider in domain.deciders}
        """By decider."""
        self.facts = {decider.name: FactCheck(decider) for decider in domain.deciders}
        """By decider."""

    def command(self, command_type: str, data: bytes) -> Command:
        """The command in this JSON. Raises Malformed with a pointer to the first thing that is wrong with it."""
        decoder = self._commands.get(command_type)
        if decoder is None:
            raise Malformed(f"there is no command {command_type!r}", is_unknown=True)
        try:
            command: Command = decoder.decode(data)
        except msgspec.ValidationError as error:
            text = str(error)
            raise Malformed(*_detail_and_pointer(text), is_unknown=UNKNOWN_FIELD in text) from error
        except RecursionError as error:
            raise Malformed(TOO_DEEP) from error
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise Malformed(f"not JSON: {error}") from error
        refuse_unstorable(data)
        if (find := self._naive.get(command_type)) is not None and (pointer := find(command)) is not None:
            raise Malformed(NO_ZONE, pointer)
        return command

    def fingerprint(self, command_type: str, data: bytes) -> str:
        """What tells a known, well-formed command from another: the fields that were sent, whatever their order, without those
        that say what leaving them out says. So it stays what it is when a deployment adds a field that need not be sent."""
        defaults = self._defaults[command_type]
        sent = {name: value for name, value in _OBJECT.decode(data).items() if (type(value), value) != defaults.get(name)}
        return fingerprint_of(command_type, _SORTED.encode(sent))

    def is_same(self, envelope: Envelope, fingerprint: str) -> bool:
        """Whether this is the fingerprint of that very command. Release 0.1.0 took it of every field the command's class then
        had, so one from there is known again unless the class has changed since."""
        if fingerprint == envelope.fingerprint:
            return True
        data = bytes(envelope.data)
        if fingerprint == fingerprint_of(envelope.type, data):
            return True
        try:
            self.command(envelope.type, data)
        except Malformed:
            return False
        return fingerprint == self.fingerprint(envelope.type, data)

    def event(self, recorded: Recorded) -> Event:
        """The fact in a recorded event, up- or downcast to the shape it has here. Raises NotKnown for one that only another
        version of this domain can read; on data that is not of its shape, a bug, with a
        note that says which event it is."""
        tag, written = recorded.type, recorded.meta.schema_version
        decoder = self._events.get((tag, written))
        try:
            if decoder is None:
                return self._recast(recorded)
            event: Event = decoder.decode(recorded.data)
            return event
        except NotKnown:
            raise
        except BUGS as error:
            error.add_note(f"event {recorded.position} ({tag} version {written}, stream {recorded.stream})")
            raise

    def _recast(self, recorded: Recorded) -> Event:
        """An event of another version than the one here, step by step."""
        tag, written = recorded.type, recorded.meta.schema_version
        if written > self._domain.readable.get(tag, 0):
            raise NotKnown([event_name(tag, written)])
        cls = self._domain.events[tag]
        data: dict[str, Any] = msgspec.json.decode(recorded.data)
        for version in range(written, cls.schema_version):
            data = self._domain.upcasters[tag, version].upcast(data)
        for version in range(written, cls.schema_version, -1):
            data = self._domain.downcasters[tag, version].downcast(data)
        return msgspec.convert(data, cls)


class FactCheck:
    """What the new events of one decider have to be to be appended: its own, of the aggregate that was asked, and what comes back
    when they are read. Which of that there is to look at is found out once, by class. Thread-safe."""

    def __init__(self, decider: AnyDecider) -> None:
        self.decider = decider
        self._keyed = {event for event in decider.events if decider.key in event.__struct_fields__}
        timed = {event: made_in(event) for event in decider.events}
        self._timed = {event: made for event, made in timed.items() if made is not None}

    def checked(self, command: Command, event: T) -> T:
        """The event as it is to be folded and appended. Raises TypeError or ValueError where the decider has a bug."""
        decider, cls = self.decider, type(event)
        if not isinstance(event, decider.events):
            raise TypeError(f"decider {decider.name} made a {cls.__name__}, which is not among its events")
        if cls in self._keyed:
            asked, named = getattr(command, decider.key), getattr(event, decider.key)
            if named != asked and named is not None and f"{named}" != f"{asked}":
                told = f"a {cls.__name__} whose {decider.key} is {named!r}, for a command to {asked!r}"
                raise ValueError(f"decider {decider.name} made {told}: an event stands in the stream of its own aggregate")
        if (made := self._timed.get(cls)) is not None:
            event = made(event)
        return event


def _defaults_of(command: type[Command]) -> dict[str, tuple[type, Any]]:
    """What the fields that need not be sent are then, as JSON says it, with its type: to Python, true is 1."""
    defaults = {}
    for field in msgspec.structs.fields(command):
        if not field.required:
            made = field.default if field.default_factory is msgspec.NODEFAULT else field.default_factory()
            plain = msgspec.to_builtins(made)
            plain = list(plain) if isinstance(plain, tuple) else plain
            defaults[field.encode_name] = (type(plain), plain)
    return defaults


def encode(message: Command | Event) -> bytes:
    """Canonical JSON of a message: every field, in the order of the class, no white space."""
    return _ENCODER.encode(message)


def encode_event(event: Event) -> tuple[str, int, bytes]:
    """Wire name, schema version and JSON of an event."""
    cls = type(event)
    return _TAGS.get(cls) or _TAGS.setdefault(cls, tag_of(cls)), cls.schema_version, _ENCODER.encode(event)


def refuse_unstorable(data: bytes) -> None:
    """Refuse JSON that some store or reader could not hold: nested too deeply, or with NUL in a string. Raises Malformed.

    Only for what has been decoded: in what is no JSON, looking for the ends of strings takes time without measure. Lone
    surrogates, NaN and infinities are not JSON to msgspec and are refused by decoding.
    """
    if data.count(b"[") + data.count(b"{") > DEPTH_MAX:
        depth = deepest = 0
        for char in _STRING.sub(b"", data):
            if char in b"[{":
                depth += 1
                deepest = max(deepest, depth)
            elif char in b"]}":
                depth -= 1
        if deepest > DEPTH_MAX:
            raise Malformed(TOO_DEEP)
    if rb"\u0000" in data and any(rb"\u0000" in part.replace(rb"\\", b"") for part in _STRING.findall(data)):
        raise Malformed("a string holds the character NUL")


def _detail_and_pointer(text: str) -> tuple[str, str]:
    """msgspec says "Expected `int` - at `$.lines[0].quantity`"; the contract says pointer "/lines/0/quantity"."""
    detail, at, path = text.rpartition(_PATH)
    if not (at and path.endswith("`")):
        detail, path = text, ""
    steps = [name or index for name, index in _STEP.findall(path[:-1])]
    named = re.search(r"(?:unknown|required) field `([^`]+)`", detail)
    if named:
        steps.append(named.group(1))
    return detail, "".join("/" + step.replace("~", "~0").replace("/", "~1") for step in steps)
