"""What a domain module declares, looked at piece by piece: whoever declares nonsense is told so in one line, at start."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, get_args

import msgspec

from twofold.kernel.decider import AnyDecider
from twofold.kernel.errors import Misconfigured
from twofold.kernel.messages import Command, Event, tag_of
from twofold.kernel.process import AnyProcess
from twofold.kernel.view import AnyView, Store, Synchronisation, Through

PROCESS_NAME_CHARS_MAX = 32


def require_classes(where: str, **named: object) -> None:
    for name, classes in named.items():
        if not isinstance(classes, tuple):
            raise Misconfigured(f"{where}: {name} is a tuple of classes, not {classes!r}; one alone is written (Name,)")


def require_functions(where: str, **named: object) -> None:
    for name, function in named.items():
        if not callable(function):
            raise Misconfigured(f"{where}: {name} is a function, not {function!r}")


def require_revision(where: str, revision: object) -> None:
    if not isinstance(revision, int) and not (isinstance(revision, str) and revision.isprintable() and "|" not in revision):
        raise Misconfigured(f"{where}: revision is a number or a text of one line without bars, not {revision!r}")


def require_kind(where: str, message: Any, parent: type[Command] | type[Event], what: str) -> None:
    if not (isinstance(message, type) and issubclass(message, parent)):
        name = getattr(message, "__name__", repr(message))
        raise Misconfigured(f"{where}: {name} is declared as {what} but is not derived from twofold.{parent.__name__}")


def check_view(where: str, view: AnyView, events: Mapping[str, type[Event]]) -> None:
    require_classes(f"{where}: view {view.name}", on=view.on, indexes=view.indexes, orders=view.orders, compounds=view.compounds)
    require_classes(f"{where}: view {view.name}", text=view.text)
    require_functions(f"{where}: view {view.name}", keys=view.keys, evolve=view.evolve)
    if not (isinstance(view.row, type) and issubclass(view.row, msgspec.Struct)):
        raise Misconfigured(f"{where}: view {view.name}: row is a class derived from msgspec.Struct, not {view.row!r}")
    fields = {field.name: field.type for field in msgspec.structs.fields(view.row)}
    for name in (view.key, *view.indexes, *view.orders, *view.text):
        if name not in fields:
            raise Misconfigured(f"{where}: view {view.name}: row {view.row.__name__} has no field {name!r}")
    for compound in view.compounds:
        _check_compound(f"{where}: view {view.name}", view, compound)
    if not view.on:
        raise Misconfigured(f"{where}: view {view.name} listens to no event; name some in on=(…)")
    for event in view.on:
        require_kind(where, event, Event, "event")
        if events.get(tag_of(event)) is not event:
            raise Misconfigured(f"{where}: view {view.name} listens to {tag_of(event)}, which no decider makes")
    for field, chosen, possible in (("sync", view.sync, get_args(Synchronisation)), ("store", view.store, get_args(Store))):
        if chosen not in possible:
            raise Misconfigured(f"{where}: view {view.name}: {field} is one of {', '.join(possible)}, not {chosen!r}")
    require_revision(f"{where}: view {view.name}", view.revision)
    for name in view.text:
        if fields[name] not in (str, str | None):
            raise Misconfigured(f"{where}: view {view.name}: field {name!r} cannot be searched; texts are str")
    if bool(view.text) != (view.store == "search"):
        raise Misconfigured(f"{where}: view {view.name}: store='search' and text=(…), the fields to be searched, go together")
    if view.sync == "inline" and view.store != "sql":
        raise Misconfigured(f"{where}: view {view.name} is inline and so must be in the store 'sql'")


def check_streams(where: str, view: AnyView, views: Mapping[str, AnyView]) -> None:
    """Where the events of a live view's row stand; said of any other view, it is checked all the same: one word makes it live."""
    if view.sync == "live" and view.streams is None and not view.through:
        raise Misconfigured(f"{where} is live and does not say which streams a row is folded from: streams=lambda key: (…,)")
    if view.streams is not None:
        require_functions(where, streams=view.streams)
    if not isinstance(view.through, tuple):
        raise Misconfigured(f"{where}: through is a tuple, not {view.through!r}; one alone is written (Through(…),)")
    for one in view.through:
        if not isinstance(one, Through):
            raise Misconfigured(f"{where}: through holds {one!r}, which is not made by Through(…)")
        require_functions(where, streams=one.streams)
        other = views.get(one.view.name)
        if other is None or not other.is_stored or other.name == view.name:
            raise Misconfigured(f"{where} looks through {one.view.name}, which is no stored view among VIEWS")
        if (other.key, other.sync) != (one.view.key, one.view.sync):
            raise Misconfigured(f"{where} looks through another {other.name} than the one among VIEWS, whose key or sync differs")
        if one.index not in (other.key, *other.indexes):
            raise Misconfigured(f"{where} looks through {one.view.name} by {one.index!r}, which is no index of it")


def _check_compound(where: str, view: AnyView, compound: object) -> None:
    if not isinstance(compound, tuple) or len(set(compound)) < max(2, len(compound)):
        raise Misconfigured(f"{where}: a compound is a tuple of two fields or more, not {compound!r}")
    for name in compound:
        if name == view.key or name not in (*view.indexes, *view.orders):
            raise Misconfigured(f"{where}: {name!r} of compound {compound!r} is no index and no order; the key ends each anyway")


def check_decider(where: str, decider: AnyDecider) -> None:
    if decider.is_timed is None:
        raise Misconfigured(f"{where}: decide takes (state, command), or (state, command, accepted_at), and nothing else")
    require_classes(where, internal=decider.internal)
    for command in decider.internal:
        if command not in decider.commands:
            raise Misconfigured(f"{where}: internal holds {command!r}, which is not among its commands")


def check_process(where: str, process: AnyProcess) -> None:
    """What the view of its instances does not say: that is checked as any view is."""
    if len(process.name) > PROCESS_NAME_CHARS_MAX:
        raise Misconfigured(f"{where}: a name of at most {PROCESS_NAME_CHARS_MAX} characters")
    require_classes(where, on=process.on)
    require_functions(where, key=process.key, evolve=process.evolve, react=process.react, is_done=process.is_done)
    if not (isinstance(process.state, type) and issubclass(process.state, msgspec.Struct)):
        raise Misconfigured(f"{where}: state is a class derived from msgspec.Struct, not {process.state!r}")
    seconds: object = process.limit_seconds
    if not isinstance(seconds, int | float) or not seconds > 0:
        raise Misconfigured(f"{where}: limit_seconds is a number of seconds above 0, not {seconds!r}")
