"""Ids and hashes that are on disk for ever, the checks of a domain module, and the kit that tests are written in."""

from __future__ import annotations

import random
import re
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any, ClassVar

import msgspec
import pytest

from twofold.kernel.decider import Decider, Downcaster, Upcaster
from twofold.kernel.domain import domain_of, load_domain
from twofold.kernel.errors import Misconfigured, Rejected
from twofold.kernel.ids import command_id_for, is_possible_command_id, lane_of, new_command_id, slice_of
from twofold.kernel.messages import Command, Event
from twofold.kernel.view import About, Through, View
from twofold.testing import NOON, given, rows

A_RANDOM_ID = "6af5dbeb-8114-44de-bf2d-80a5ab9b4291"


def test_new_command_ids_sort_by_time_and_never_meet() -> None:
    """The inbox index grows at its end."""
    ids = []
    for _ in range(5):
        ids.append(new_command_id())
        time.sleep(0.002)
    assert ids == sorted(ids)
    assert len({new_command_id() for _ in range(1_000)}) == 1_000
    value = uuid.UUID(ids[0])
    assert (value.version, value.variant) == (7, uuid.RFC_4122)


def test_an_idempotency_key_always_stands_for_the_same_id() -> None:
    """This very value: stored inboxes depend on it."""
    assert command_id_for("anonymous", "k") == "7014cd9e-b199-55c7-8992-8bff065f8bb6"
    assert command_id_for("a", "bc") != command_id_for("ab", "c")
    assert uuid.UUID(command_id_for("a", "b")).version == 5


@pytest.mark.parametrize(
    "text", ["", "7", "not-an-id", str(uuid.UUID(int=0)), A_RANDOM_ID, "F" * 36, "{" + A_RANDOM_ID + "}", "\0"]
)
def test_what_no_gateway_can_have_minted_is_no_command_id(text: str) -> None:
    """So a look-up of it is a 404 and not an endless `pending`."""
    assert not is_possible_command_id(text)


def test_minted_ids_are_possible_and_those_of_the_future_are_not() -> None:
    minted = new_command_id()
    assert is_possible_command_id(minted)
    assert not is_possible_command_id(minted.upper())
    assert is_possible_command_id(command_id_for("a", "b"))
    tomorrow = int((time.time() + 86_400) * 1_000) << 80 | uuid.UUID(minted).int & (1 << 80) - 1
    assert not is_possible_command_id(str(uuid.UUID(int=tomorrow)))


def test_lanes_and_slices_are_stable_for_ever() -> None:
    """A stream that changed its lane would be worked on twice at once."""
    assert [lane_of(f"order-{number}", 8) for number in range(6)] == [1, 7, 5, 3, 0, 6]
    assert [slice_of(f"é{number}", 4) for number in range(6)] == [3, 1, 3, 1, 2, 0]
    assert {lane_of(f"order-{number}", 4) for number in range(100)} == {0, 1, 2, 3}


class Open(Command, frozen=True):
    door: str


class Opened(Event, frozen=True):
    door: str


class OpenedToo(Event, frozen=True):
    tag: ClassVar[str] = "Opened"
    door: str


class Door(msgspec.Struct):
    door: str
    times: int = 1


def decide(state: bool, command: Open) -> list[Opened]:
    if command.door == "wall":
        raise Rejected("no-door", door=command.door)
    return [] if state else [Opened(command.door)]


def show(row: Door | None, event: Opened, about: About) -> Door | None:
    if event.door == "trap" and row:
        return None
    return Door(event.door, (row.times if row else 0) + 1)


DOOR = Decider("door", "door", (Open,), (Opened,), False, decide, lambda state, event: True)
DOORS = View("doors", "door", Door, (Opened,), lambda event, about: (event.door,), show)


NOTHING: Any = None


class Loose(msgspec.Struct, frozen=True):
    """Not derived from Event."""


class Renewed(Event, frozen=True):
    schema_version = 3


class Numberless(Event, frozen=True):
    schema_version: ClassVar[Any] = "2"


def module(**exported: Any) -> ModuleType:
    made = ModuleType("made")
    made.__dict__.update({"DECIDERS": (DOOR,), "VIEWS": (DOORS,)} | exported)
    return made


def other(thing: Any, **changes: Any) -> Any:
    fields = {name: getattr(thing, name) for name in thing.__dataclass_fields__}
    return type(thing)(**{**fields, **changes})


@pytest.mark.parametrize(
    ("exported", "said"),
    [
        ({"DECIDERS": [DOOR]}, "no tuple DECIDERS"),
        ({"VIEWS": None}, "no tuple VIEWS"),
        ({"DECIDERS": (DOOR, DOOR)}, "two deciders are called 'door'"),
        ({"DECIDERS": (DOOR, other(DOOR, name="gate"))}, "two commands are called Open"),
        ({"DECIDERS": (DOOR, other(DOOR, name="gate", commands=(), events=(OpenedToo,)))}, "two events are called Opened"),
        ({"DECIDERS": (other(DOOR, key="window"),)}, "no field 'window'"),
        ({"DECIDERS": (other(DOOR, name="the door"),)}, "name 'the door'"),
        ({"VIEWS": (DOORS, DOORS)}, "two views are called 'doors'"),
        ({"VIEWS": (other(DOORS, name="d" * 41),)}, "at most 40"),
        ({"VIEWS": (other(DOORS, key="window"),)}, "no field 'window'"),
        ({"VIEWS": (other(DOORS, indexes=("colour",)),)}, "no field 'colour'"),
        ({"VIEWS": (other(DOORS, orders=("height",)),)}, "no field 'height'"),
        ({"VIEWS": (other(DOORS, compounds=("name",)),)}, "a compound is a tuple of two fields or more, not 'name'"),
        ({"VIEWS": (other(DOORS, compounds=(("name",),)),)}, "a compound is a tuple of two fields or more"),
        ({"VIEWS": (other(DOORS, compounds=(("height", "colour"),)),)}, "'height' of compound ('height', 'colour') is no index"),
        ({"VIEWS": (other(DOORS, compounds=None),)}, "compounds is a tuple"),
        ({"VIEWS": (other(DOORS, on=(OpenedToo,)),)}, "no decider makes"),
        ({"VIEWS": (other(DOORS, sync="inline", store="redis"),)}, "inline"),
        ({"VIEWS": (other(DOORS, sync="inlne"),)}, "sync is one of inline, async, live, not 'inlne'"),
        ({"VIEWS": (other(DOORS, revision=1.5),)}, "revision is a number or a text of one line without bars, not 1.5"),
        ({"VIEWS": (other(DOORS, revision="a\nb"),)}, "revision is a number or a text of one line"),
        ({"VIEWS": (other(DOORS, revision="a|inline"),)}, "revision is a number or a text of one line without bars"),
        ({"VIEWS": (other(DOORS, store="postgres"),)}, "store is one of sql, redis, search, not 'postgres'"),
        ({"VIEWS": (other(DOORS, store="search"),)}, "store='search' and text=(…), the fields to be searched, go together"),
        ({"VIEWS": (other(DOORS, text=("door",)),)}, "store='search' and text=(…), the fields to be searched, go together"),
        ({"VIEWS": (other(DOORS, store="search", text=("colour",)),)}, "no field 'colour'"),
        ({"VIEWS": (other(DOORS, store="search", text="name"),)}, "text is a tuple"),
        ({"DECIDERS": (other(DOOR, events=(Loose,)),), "VIEWS": ()}, "Loose is declared as event but is not derived from"),
        ({"DECIDERS": (other(DOOR, commands=(Opened,)),)}, "Opened is declared as command but is not derived from"),
        ({"DECIDERS": (Decider,)}, "which is not made by Decider(…)"),
        ({"VIEWS": ("doors",)}, "VIEWS holds 'doors', which is not made by View(…)"),
        ({"UPCASTERS": None}, "no tuple UPCASTERS"),
        ({"UPCASTERS": ("x",)}, "which is not made by Upcaster(…)"),
        (
            {"DOWNCASTERS": (Downcaster("Closed", 2, dict),)},
            "Downcaster('Closed', 2, …), which is never needed; no decider makes",
        ),
        (
            {"DOWNCASTERS": (Downcaster("Opened", 3, dict),)},
            "Downcaster('Opened', 3, …), which is never needed; the next one is from 2",
        ),
        ({"DECIDERS": (other(DOOR, commands=Open),)}, "decider door: commands is a tuple of classes"),
        ({"DECIDERS": (other(DOOR, decide=None),)}, "decider door: decide is a function, not None"),
        (
            {"DECIDERS": (other(DOOR, decide=lambda state: []),)},
            "decider door: decide takes (state, command), or (state, command,",
        ),
        ({"DECIDERS": (other(DOOR, decide=lambda state, command, at, why: []),)}, "decider door: decide takes"),
        ({"DECIDERS": (other(DOOR, internal=Open),)}, "decider door: internal is a tuple of classes"),
        ({"DECIDERS": (other(DOOR, internal=(Opened,)),)}, "decider door: internal holds <class"),
        ({"DECIDERS": (other(DOOR, events=(Opened, Numberless)),)}, "Numberless has schema_version '2'; it is a number"),
        ({"VIEWS": (other(DOORS, name=5),)}, "view name 5 must be"),
        ({"VIEWS": (other(DOORS, row=int),)}, "row is a class derived from msgspec.Struct, not <class 'int'>"),
        ({"VIEWS": (other(DOORS, on=Opened),)}, "view doors: on is a tuple of classes"),
        ({"VIEWS": (other(DOORS, on=(int,)),)}, "int is declared as event but is not derived from"),
        ({"VIEWS": (other(DOORS, on=()),)}, "listens to no event"),
        ({"VIEWS": (other(DOORS, keys=None),)}, "view doors: keys is a function, not None"),
        ({"VIEWS": (other(DOORS, sync="live"),)}, "view doors is live and does not say which streams a row is folded from"),
        ({"VIEWS": (other(DOORS, streams=("door-1",)),)}, "streams is a function, not ('door-1',)"),
        ({"VIEWS": (other(DOORS, through=Through(DOORS, "door", tuple)),)}, "through is a tuple, not Through("),
        ({"VIEWS": (other(DOORS, through=("doors",)),)}, "through holds 'doors', which is not made by Through(…)"),
        ({"VIEWS": (other(DOORS, through=(Through(DOORS, "door", tuple),)),)}, "looks through doors, which is no stored view"),
        ({"VIEWS": (DOORS, other(DOORS, name="b", through=(Through(DOORS, "no", tuple),)))}, "by 'no', which is no index of it"),
        (
            {"VIEWS": (DOORS, other(DOORS, name="b", through=(Through(DOORS, "door", NOTHING),)))},
            "streams is a function, not None",
        ),
        (
            {"DECIDERS": (other(DOOR, events=(Opened, Renewed)),), "UPCASTERS": (Upcaster("Renewed", 1, dict),)},
            "UPCASTERS lack Upcaster('Renewed', 2",
        ),
    ],
)
def test_a_domain_that_contradicts_itself_is_refused_at_start_up(exported: dict[str, Any], said: str) -> None:
    """In one line that says what is wrong, before anything is opened."""
    with pytest.raises(Misconfigured) as refused:
        domain_of(module(**exported))
    assert said in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("DECIDERS = (", "SyntaxError"),
        ("1 / 0", "ZeroDivisionError: division by zero"),
        ("import no_such_library", "ModuleNotFoundError: No module named 'no_such_library'"),
        ("from json import no_such_name", "ImportError: cannot import name 'no_such_name'"),
    ],
)
def test_a_domain_that_fails_on_import_says_where_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, said: str
) -> None:
    (tmp_path / "failing_domain.py").write_text(f"\n{text}\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(Misconfigured, match=r"TWOFOLD_DOMAIN=failing_domain: importing it fails") as refused:
        load_domain("failing_domain")
    assert said in str(refused.value) and "\n" not in str(refused.value)
    assert f"{tmp_path / 'failing_domain.py'}:2" in str(refused.value)


def test_a_domain_is_found_by_the_name_of_its_module() -> None:
    assert load_domain("twofold.shop").name == "twofold.shop"
    for name in ("no_such_shop", "./shop.py", "shop/orders", ""):
        with pytest.raises(Misconfigured, match=f"TWOFOLD_DOMAIN={re.escape(name)}: cannot be imported"):
            load_domain(name)


def test_a_stream_belongs_to_the_decider_with_the_longest_fitting_name() -> None:
    """`door-bell-1` is a bell, not the door called `bell-1`."""
    bell = Decider[bool, Open, Opened]("doorbell", "door", (), (), False, decide, lambda state, event: state)
    domain = domain_of(module(DECIDERS=(DOOR, bell)))
    assert domain.decider_of_stream("door-7") is DOOR
    assert domain.decider_of_stream("doorbell-7") is bell
    assert domain.decider_of_stream("window-7") is None
    assert DOOR.stream_of(Open("7")) == "door-7"


def test_the_kit_says_yes_only_to_what_happened() -> None:
    """Each of its words fails when it should."""
    given(DOOR).when(Open("7")).then(Opened("7"))
    given(DOOR, Opened("7")).when(Open("7")).nothing_happened()
    given(DOOR).when(Open("wall")).rejected("no-door", door="wall")
    wrong_words: list[Callable[[], None]] = [
        lambda: given(DOOR).when(Open("7")).nothing_happened(),
        lambda: given(DOOR).when(Open("7")).then(Opened("8")),
        lambda: given(DOOR).when(Open("7")).then(Opened("7"), Opened("7")),
        lambda: given(DOOR).when(Open("7")).rejected("no-door"),
        lambda: given(DOOR).when(Open("wall")).rejected("locked"),
        lambda: given(DOOR).when(Open("wall")).rejected("no-door", door="roof"),
        lambda: given(DOOR).when(Open("wall")).then(),
    ]
    for wrong in wrong_words:
        with pytest.raises(AssertionError):
            wrong()


def test_the_kit_shows_what_was_expected_and_what_was_found() -> None:
    """A bare AssertionError sends its reader into the kit's own lines."""
    wall, seven = given(DOOR).when(Open("wall")), given(DOOR).when(Open("7"))
    told: dict[str, Callable[[], None]] = {
        "rejected: no-door door='wall'\nis not\nrejected: no-door door='roof'": lambda: wall.rejected("no-door", door="roof"),
        "rejected: no-door door='wall'\nis not\nrejected: no-door roof=7": lambda: wall.rejected("no-door", roof=7),
        "rejected: no-door door='wall'\nis not\nrejected: locked": lambda: wall.rejected("locked"),
        "rejected: no-door door='wall'\nis not\n[Opened(door='7')]": lambda: wall.then(Opened("7")),
        "[Opened(door='7')]\nis not\nrejected: locked door='7'": lambda: seven.rejected("locked", door="7"),
        "[Opened(door='7')]\nis not\n[]": seven.nothing_happened,
    }
    for text, wrong in told.items():
        with pytest.raises(AssertionError, match=re.escape(text)):
            wrong()


def test_the_kit_refuses_in_one_line_what_its_decider_or_view_never_gets() -> None:
    """It was folded, or decided, by code that does not know it, or passed over: the test said something else, or nothing."""
    foreign: Any = OpenedToo("7")
    with pytest.raises(TypeError, match="^OpenedToo is no event of decider door$"):
        given(DOOR, foreign)
    foreign = Opened("7")
    with pytest.raises(TypeError, match="^Opened is no command of decider door$"):
        given(DOOR).when(foreign)
    with pytest.raises(TypeError, match="^decider door made a OpenedToo, which is not among its events$"):
        given(other(DOOR, decide=lambda state, command: [OpenedToo("7")])).when(Open("7"))
    foreign = Open("7")
    with pytest.raises(TypeError, match="^Open is no event$"):
        rows(DOORS, foreign)


def test_the_kit_folds_rows_as_a_projector_does() -> None:
    """From nothing or from rows that are there; a row that becomes None is gone; other events are passed over."""
    assert rows(DOORS, Opened("7"), Opened("8"), Opened("7")) == {"7": Door("7", 2), "8": Door("8", 1)}
    assert rows(DOORS, Opened("trap"), Opened("trap")) == {}
    assert rows(DOORS, OpenedToo("7")) == {}
    assert rows(DOORS, Opened("7"), start={"7": Door("7", 5)}, after=9) == {"7": Door("7", 6)}
    positions: list[int] = []

    def watch(event: Opened, about: About) -> tuple[str, ...]:
        positions.append(about.position)
        return ()

    rows(other(DOORS, keys=watch), Opened("7"), OpenedToo("7"), Opened("8"), after=5)
    assert positions == [6, 8]


def test_a_view_may_hand_each_row_its_part_of_the_event() -> None:
    """So an event with many keys is walked once; keys without parts are named once each."""
    about = About(1, "s", 1, NOON)
    assert DOORS.parts(Opened("7"), about) == {"7": None}
    doubled = other(DOORS, keys=lambda event, about: ["b", "a", "b"])
    assert list(doubled.parts(Opened("7"), about)) == ["b", "a"]
    split = other(DOORS, keys=lambda event, about: {"a": 1, "b": 2})
    assert split.parts(Opened("7"), about) == {"a": 1, "b": 2}


def test_ids_stay_apart_whatever_a_domain_does_to_the_dice() -> None:
    """`random.seed` in a domain, or in a library it uses, must not make two commands one."""
    minted = []
    for _ in range(2):
        random.seed(1)
        minted.append([new_command_id() for _ in range(1_000)])
    assert len({text[13:] for ids in minted for text in ids}) == 2_000


def test_messages_are_facts_and_wishes_which_nobody_changes() -> None:
    """Whatever a domain's own class says; and what is asked for has no field that nobody reads."""

    class Ask(Command):  # type: ignore[misc]
        text: str = ""

    class Asked(Event):  # type: ignore[misc]
        text: str = ""

    for message in (Ask("a"), Asked("a")):
        with pytest.raises(AttributeError):
            message.text = "b"
    with pytest.raises(msgspec.ValidationError, match="unknown field"):
        msgspec.json.decode(b'{"text": "a", "more": 1}', type=Ask)
    assert msgspec.json.decode(b'{"text": "a", "more": 1}', type=Asked) == Asked("a")
