"""What may stand in a row, and what is refused before a store sees it."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime
from enum import Enum
from typing import Any, Literal

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from twofold.kernel.errors import Misconfigured
from twofold.kernel.messages import Event
from twofold.kernel.view import AnyView, View
from twofold.readmodels.schema.columns import Columns, queryable_key, refuse_key, slice_for, stream_key
from twofold.readmodels.schema.shape import shape_of


class Happened(Event, frozen=True):
    pass


class Other(Event, frozen=True):
    pass


class HappenedAgain(Event, frozen=True, tag="Happened"):
    schema_version = 2


class Colour(Enum):
    RED = "red"


class Mixed(msgspec.Struct, frozen=True, kw_only=True):
    name: str
    count: int | None = None
    ratio: float = 0.0
    flag: bool = False
    at: datetime | None = None
    day: date | None = None
    colour: Colour = Colour.RED
    state: Literal["open", "shut"] = "open"
    rest: Any = None


def view_of(row: type[msgspec.Struct] = Mixed, **more: Any) -> AnyView:
    return View(name="mixed", key="name", row=row, on=(Happened,), keys=lambda e, a: (), evolve=lambda r, e, a: r, **more)


TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"))


@given(
    st.builds(
        Mixed,
        name=st.just("k"),
        count=st.none() | st.integers(-(2**63), 2**63 - 1),
        ratio=st.floats(allow_nan=False, allow_infinity=False),
        flag=st.booleans(),
        at=st.none() | st.datetimes(timezones=st.just(UTC)),
        day=st.none() | st.dates(),
        state=st.sampled_from(["open", "shut"]),
        rest=st.none()
        | st.lists(st.integers(-10, 10))
        | st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0")),
    )
)
def test_what_is_kept_is_restored(row: Mixed) -> None:
    """A row is folded on from what comes back."""
    columns = Columns(view_of())
    assert columns.decode(columns.encode("k", row)) == row


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"count": 2**63}, "field count: .*64 bits"),
        ({"count": -(2**63) - 1}, "field count: .*64 bits"),
        ({"count": True}, "field count: .*int is expected"),
        ({"ratio": float("nan")}, "field ratio: .*finite"),
        ({"ratio": "1"}, "field ratio: .*float is expected"),
        ({"flag": 1}, "field flag: .*bool is expected"),
        ({"at": datetime(2020, 1, 1)}, "field at: .*time zone"),
        ({"state": "a\0"}, "field state: .*NUL"),
        ({"state": "\ud800" * 2}, "field state: .*surrogates"),
        ({"rest": {"a": ["\0"]}}, "field rest: .*NUL"),
        ({"rest": object()}, "field rest: "),
        ({"rest": "x" * (5 << 20)}, "field rest: .*longer"),
        ({"colour": "red"}, "field colour: .*enumeration"),
        ({"name": "other"}, "calls itself 'other'"),
    ],
)
def test_what_no_store_can_hold_is_refused_by_name(change: dict[str, Any], told: str) -> None:
    """The operator reads it beside the parked key."""
    with pytest.raises(ValueError, match=told):
        Columns(view_of()).encode("k", msgspec.structs.replace(Mixed(name="k"), **change))


@pytest.mark.parametrize("more", [{"indexes": ("rest",)}, {"orders": ("rest",)}])
def test_a_field_without_an_order_cannot_be_declared(more: dict[str, Any]) -> None:
    """Found at start-up, not when somebody asks."""
    with pytest.raises(Misconfigured, match="'rest'"):
        Columns(view_of(**more))


def test_the_key_must_be_a_text() -> None:
    """It comes from a URL, and decides the slice."""

    class Numbered(msgspec.Struct):
        name: int

    with pytest.raises(Misconfigured, match="must be a str"):
        Columns(view_of(Numbered))


def test_a_text_that_is_indexed_has_a_shorter_bound() -> None:
    """PostgreSQL refuses longer index entries, and with them the whole commit."""
    row = Mixed(name="k", state="x" * 1_001)  # type: ignore[arg-type]
    assert Columns(view_of()).encode("k", row)
    with pytest.raises(ValueError, match="1,000"):
        Columns(view_of(indexes=("state",))).encode("k", row)


def test_whatever_changes_the_rows_changes_the_shape() -> None:
    """A generation is used on only while its rows are what a fresh fold would make them."""
    view = view_of(indexes=("state", "day"), orders=("count",))

    class Longer(Mixed, frozen=True, kw_only=True):
        more: int = 0

    changed = [
        replace(view, row=Longer),
        replace(view, indexes=("state",)),
        replace(view, orders=()),
        replace(view, on=(Happened, Other)),
        replace(view, on=(HappenedAgain,)),
        replace(view, sync="inline"),
        replace(view, revision=1),
        replace(view, revision="net of tax"),
        replace(view, sync="inline", revision=1),
        replace(view, compounds=(("state", "count"),)),
        replace(view, compounds=(("count", "state"),)),
        replace(view, compounds=(("count", "state"),), revision=1),
    ]
    assert len({shape_of(each) for each in (view, *changed)}) == 13
    assert shape_of(replace(view, indexes=("day", "state"))) == shape_of(view)
    both = replace(view, compounds=(("state", "count"), ("count", "state")))
    assert shape_of(replace(both, compounds=both.compounds[::-1])) == shape_of(both)


def test_a_view_that_declares_nothing_new_keeps_its_shape() -> None:
    """Word for word what stands beside the rows of every deployment: another would have them all folded anew."""
    view = view_of(indexes=("state", "day"), orders=("count",))
    fields = "name:text,count:integer?,ratio:number,flag:truth,at:time?,day:text?,colour:text,state:text,rest:json"
    assert shape_of(view) == f"name|{fields}|day,state|count|Happened"
    assert shape_of(replace(view, compounds=(("state", "count"),))).endswith("|Happened|compounds state+count")


def test_the_fields_of_a_compound_share_the_room_of_one_entry() -> None:
    row = Mixed(name="k", state="x" * 751)  # type: ignore[arg-type]
    declared: dict[str, Any] = {"indexes": ("state",), "orders": ("count",)}
    assert Columns(view_of(**declared)).encode("k", row)
    with pytest.raises(ValueError, match="750 bytes"):
        Columns(view_of(**declared, compounds=(("state", "count"),))).encode("k", row)


@pytest.mark.parametrize("key", ["a\0", "\ud800", "k" * 1_001, "é" * 501, "!stream/a", 7, None])
def test_a_key_that_is_none_is_refused(key: Any) -> None:
    """A store would refuse it in the middle of a commit."""
    with pytest.raises((ValueError, TypeError)):
        refuse_key(key)


def test_a_stream_always_has_a_key_to_be_parked_under() -> None:
    """Whatever a stream is called, and two long ones that begin alike are two."""
    names = ["order-1", "é" * 500, "é" * 499 + "x", "x" * 5_000, "nul\0"]
    keys = [stream_key(name) for name in names]
    assert len(set(keys)) == len(names)
    assert all(queryable_key(key) == key for key in keys)
    assert keys[0] == "!stream/order-1"


def test_every_key_belongs_to_some_slice() -> None:
    """Whoever asks for it gets the checkpoint of a slice with the answer."""
    assert {slice_for(key, 3) for key in ["\ud800", "a\0", "k" * 5_000]} == {slice_for("!stream/", 3)}
