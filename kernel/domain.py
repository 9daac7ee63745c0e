"""A domain is a module that exports tuples: DECIDERS, VIEWS, perhaps PROCESSES, EFFECTS, UP- and DOWNCASTERS. No registry, no
import-time effects."""

from __future__ import annotations

import importlib
import traceback
from collections.abc import Mapping
from dataclasses import dataclass
from types import ModuleType
from typing import Any, TypeVar

from twofold.kernel.decider import AnyDecider, Decider, Downcaster, Upcaster
from twofold.kernel.declared import (
    check_decider,
    check_process,
    check_streams,
    check_view,
    require_classes,
    require_functions,
    require_kind,
    require_revision,
)
from twofold.kernel.effects import AnyEffect, Effect
from twofold.kernel.errors import Misconfigured
from twofold.kernel.instances import VIEW_PREFIX, instances_of
from twofold.kernel.messages import Command, Event, tag_of
from twofold.kernel.process import INSTANCE, AnyProcess, Process
from twofold.kernel.snapshots import StateCodec
from twofold.kernel.view import AnyView, View

NAME_CHARS_MAX = 200

Named = TypeVar("Named", AnyDecider, AnyView, AnyProcess, AnyEffect)


@dataclass(frozen=True, slots=True)
class Domain:
    """The checked content of a domain module, indexed by wire name. `name` is what the log knows it by: the module's name, unless
    the module exports a NAME (because it was called otherwise when its log began). `module` is where it is imported from.
    `internal` are the commands that processes alone send. `readable` is the last version of each event that can be read: its
    own, or one that a later version of the domain writes. The instances of its processes are views, too, and have a decider."""

    name: str
    module: str
    deciders: tuple[AnyDecider, ...]
    views: Mapping[str, AnyView]
    processes: Mapping[str, AnyProcess]
    commands: Mapping[str, type[Command]]
    events: Mapping[str, type[Event]]
    decider_of: Mapping[str, AnyDecider]
    internal: frozenset[str]
    upcasters: Mapping[tuple[str, int], Upcaster]
    downcasters: Mapping[tuple[str, int], Downcaster]
    readable: Mapping[str, int]
    effects: Mapping[str, AnyEffect]

    def decider_of_stream(self, stream: str) -> AnyDecider | None:
        """The decider whose streams are called like this one; None when no decider is."""
        fitting = [decider for decider in self.deciders if stream.startswith(f"{decider.name}-")]
        return max(fitting, key=lambda decider: len(decider.name), default=None)


def load_domain(module_name: str) -> Domain:
    """Import and check a domain. Raises Misconfigured with the first thing that is wrong with it."""
    try:
        if not all(part.isidentifier() for part in module_name.split(".")):
            raise ImportError("a module is named with dots, as in an import, not by its path")
        module = importlib.import_module(module_name)
    except Exception as error:
        said = f"{type(error).__name__}: {error}".replace("\n", " ")
        if (place := _place_of(error)) is not None:
            raise Misconfigured(f"TWOFOLD_DOMAIN={module_name}: importing it fails in {place} ({said})") from error
        raise Misconfigured(f"TWOFOLD_DOMAIN={module_name}: cannot be imported ({error}); name an importable module") from error
    return domain_of(module)


def _place_of(error: Exception) -> str | None:
    """File and line of a module where importing it, or what it imports, failed; None when there is no such module."""
    if isinstance(error, SyntaxError) and error.filename:
        return f"{error.filename}:{error.lineno}"
    frames = [frame for frame in traceback.extract_tb(error.__traceback__)[1:] if not frame.filename.startswith("<frozen ")]
    written = [frame for frame in frames if frame.filename != importlib.__file__]
    return f"{written[-1].filename}:{written[-1].lineno}" if written else None


def domain_of(module: ModuleType) -> Domain:
    """The domain that a module exports. Raises Misconfigured."""
    deciders: tuple[AnyDecider, ...] = _exported(module, "DECIDERS", Decider)
    views: tuple[AnyView, ...] = _exported(module, "VIEWS", View)
    processes: tuple[AnyProcess, ...] = _exported(module, "PROCESSES", Process, ())
    upcasters: tuple[Upcaster, ...] = _exported(module, "UPCASTERS", Upcaster, ())
    downcasters: tuple[Downcaster, ...] = _exported(module, "DOWNCASTERS", Downcaster, ())
    effects: tuple[AnyEffect, ...] = _exported(module, "EFFECTS", Effect, ())
    where = module.__name__
    _refuse_taken(where, deciders, views)
    for process in _unique(where, "process", processes):
        check_process(f"{where}: process {process.name}", process)
    if processes:
        deciders, views = (*deciders, INSTANCE), (*views, *map(instances_of, processes))
    name: object = getattr(module, "NAME", where)
    if not (isinstance(name, str) and name.isprintable() and 0 < len(name) <= NAME_CHARS_MAX):
        raise Misconfigured(
            f"{where}: NAME is what the log knows the domain by: a text of one line, at most {NAME_CHARS_MAX} long"
        )
    commands: dict[str, type[Command]] = {}
    decider_of: dict[str, AnyDecider] = {}
    events: dict[str, type[Event]] = {}
    for decider in _unique(where, "decider", deciders):
        require_classes(f"{where}: decider {decider.name}", commands=decider.commands, events=decider.events)
        require_functions(f"{where}: decider {decider.name}", decide=decider.decide, evolve=decider.evolve)
        require_revision(f"{where}: decider {decider.name}", decider.revision)
        check_decider(f"{where}: decider {decider.name}", decider)
        for command in decider.commands:
            require_kind(where, command, Command, "command")
            if tag_of(command) in commands:
                raise Misconfigured(f"{where}: two commands are called {tag_of(command)}; give one of them another tag")
            if decider.key not in command.__struct_fields__:
                raise Misconfigured(f"{where}: {tag_of(command)} has no field {decider.key!r}, the key of decider {decider.name}")
            commands[tag_of(command)] = command
            decider_of[tag_of(command)] = decider
        for event in decider.events:
            require_kind(where, event, Event, "event")
            version: object = event.schema_version
            if not isinstance(version, int) or version < 1:
                raise Misconfigured(f"{where}: {tag_of(event)} has schema_version {version!r}; it is a number from 1 on")
            if events.setdefault(tag_of(event), event) is not event:
                raise Misconfigured(f"{where}: two events are called {tag_of(event)}; give one of them another tag")
        _check_snapshots(f"{where}: decider {decider.name}", decider)
    for view in _unique(where, "view", views):
        check_view(where, view, events)
        check_streams(f"{where}: view {view.name}", view, {one.name: one for one in views})
    for effect in _unique(where, "effect", effects):
        if effect.why_not:
            raise Misconfigured(f"{where}: effect {effect.name}: {effect.why_not}")
    known = {(upcaster.tag, upcaster.schema_version) for upcaster in upcasters}
    for tag, event in events.items():
        for version in range(1, event.schema_version):
            if (tag, version) not in known:
                raise Misconfigured(
                    f"{where}: {tag} has schema_version {event.schema_version}; UPCASTERS lack Upcaster({tag!r}, {version}, …)"
                )
    return Domain(
        name=name,
        module=where,
        deciders=deciders,
        views={view.name: view for view in views},
        processes={process.name: process for process in processes},
        commands=commands,
        events=events,
        decider_of=decider_of,
        internal=frozenset(tag_of(command) for decider in deciders for command in decider.internal),
        upcasters={(upcaster.tag, upcaster.schema_version): upcaster for upcaster in upcasters},
        downcasters={(downcaster.tag, downcaster.schema_version): downcaster for downcaster in downcasters},
        readable=_readable(where, events, downcasters),
        effects={effect.name: effect for effect in effects},
    )


def _readable(where: str, events: Mapping[str, type[Event]], downcasters: tuple[Downcaster, ...]) -> dict[str, int]:
    """The last version of each event that can be read. Raises Misconfigured for a downcaster that would never be asked."""
    readable = {tag: event.schema_version for tag, event in events.items()}
    for downcaster in sorted(downcasters, key=lambda one: (one.tag, one.schema_version)):
        wanted = readable.get(downcaster.tag, 0) + 1
        if downcaster.tag not in readable or downcaster.schema_version != wanted:
            described = f"Downcaster({downcaster.tag!r}, {downcaster.schema_version}, …)"
            fix = f"the next one is from {wanted}" if downcaster.tag in readable else "no decider makes this event"
            raise Misconfigured(f"{where}: DOWNCASTERS hold {described}, which is never needed; {fix}")
        readable[downcaster.tag] = wanted
    return readable


def _exported(module: ModuleType, name: str, kind: type, default: object = None) -> tuple[Any, ...]:
    value = getattr(module, name, default)
    if not isinstance(value, tuple):
        raise Misconfigured(f"{module.__name__}: exports no tuple {name}; a domain is a module with DECIDERS and VIEWS")
    for thing in value:
        if not isinstance(thing, kind):
            raise Misconfigured(f"{module.__name__}: {name} holds {thing!r}, which is not made by {kind.__name__}(…)")
    return value


def _check_snapshots(where: str, decider: AnyDecider) -> None:
    every: object = decider.snapshot_every
    if every is not None and (not isinstance(every, int) or every < 0):
        raise Misconfigured(f"{where}: snapshot_every is a number of events, 0 for never, not {every!r}")
    if every and (why_not := StateCodec(decider).why_not):
        raise Misconfigured(
            f"{where}: snapshot_every={every}, but its state cannot be stored ({why_not}); say what evolve returns"
        )


def _unique(where: str, what: str, things: tuple[Named, ...]) -> tuple[Named, ...]:
    names = [thing.name for thing in things]
    for name in names:
        if names.count(name) > 1:
            raise Misconfigured(f"{where}: two {what}{'es' if what.endswith('s') else 's'} are called {name!r}")
        if not isinstance(name, str) or not name.replace("_", "").isalnum() or not name.isascii() or len(name) > 40:
            raise Misconfigured(f"{where}: {what} name {name!r} must be at most 40 ASCII letters, digits and underscores")
    return things


def _refuse_taken(where: str, deciders: tuple[AnyDecider, ...], views: tuple[AnyView, ...]) -> None:
    taken = [f"decider {INSTANCE.name}" for decider in deciders if decider.name == INSTANCE.name]
    taken += [f"view {view.name}" for view in views if str(view.name).startswith(VIEW_PREFIX)]
    if taken:
        raise Misconfigured(f"{where}: {taken[0]} has a name that belongs to processes; give it another")
