"""Strict for commands, tolerant for events, and nothing through the door that a store cannot hold."""

from __future__ import annotations

import traceback
from datetime import UTC, datetime
from types import ModuleType
from typing import Annotated, Any, ClassVar

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.named import id_of
from twofold.kernel.codec import DEPTH_MAX, Codec, encode, encode_event, refuse_unstorable
from twofold.kernel.decider import Decider, Downcaster, Upcaster
from twofold.kernel.domain import Domain, domain_of
from twofold.kernel.envelope import Envelope, decode_batch, encode_batch, fingerprint_of
from twofold.kernel.errors import Malformed, NotKnown
from twofold.kernel.log import Meta, Recorded
from twofold.kernel.messages import Command, Event, tag_of

NOW = datetime(2026, 1, 1, tzinfo=UTC)


class Part(msgspec.Struct, forbid_unknown_fields=True):
    size: int


class Write(Command, frozen=True):
    page: str
    text: str = ""
    parts: tuple[Part, ...] = ()
    weight: Annotated[float, msgspec.Meta(ge=0)] = 0.0
    rest: Any = None


class Written(Event, frozen=True):
    tag: ClassVar[str] = "PageWritten"
    schema_version: ClassVar[int] = 3
    page: str
    letters: int
    language: str = "en"


UPCASTERS = (
    Upcaster("PageWritten", 1, lambda data: {**data, "letters": len(data["text"])}),
    Upcaster("PageWritten", 2, lambda data: {**data, "language": "de"}),
)


def domain(write: type[Write] = Write, downcasters: tuple[Downcaster, ...] = ()) -> Domain:
    module = ModuleType("pages")
    decider = Decider("page", "page", (write,), (Written,), None, lambda state, command: [], lambda state, event: None)
    module.__dict__.update(DECIDERS=(decider,), VIEWS=(), UPCASTERS=UPCASTERS, DOWNCASTERS=downcasters)
    return domain_of(module)


CODEC = Codec(domain())


class WriteLater(Write, frozen=True):
    """The same command after a deploy."""

    tag: ClassVar[str] = "Write"
    note: str | None = None


LATER_CODEC = Codec(domain(WriteLater))


def envelope_of(codec: Codec, body: bytes) -> Envelope:
    data = msgspec.Raw(encode(codec.command("Write", body)))
    return Envelope("c1", "Write", "page-1", data, codec.fingerprint("Write", body), NOW)


def recorded(data: bytes, schema_version: int, type_: str = "PageWritten") -> Recorded:
    return Recorded(1, "page-1", 1, type_, data, Meta("id", "test", schema_version), NOW)


@pytest.mark.parametrize(
    ("data", "pointer"),
    [
        (b"", ""),
        (b"{", ""),
        (b"[]", ""),
        (b"null", ""),
        (b"{}", "/page"),
        (b'{"page":1}', "/page"),
        (b'{"page":"1","colour":2}', "/colour"),
        (b'{"page":"1","parts":[{"size":1},{"size":"x"}]}', "/parts/1/size"),
        (b'{"page":"1","parts":[{"size":1,"a/b~c":2}]}', "/parts/0/a~1b~0c"),
        (b'{"page":"1","weight":-1}', "/weight"),
        (b'{"page":"1","weight":NaN}', ""),
        (b'{"page":"1","weight":Infinity}', ""),
        (b'{"page":"\xff"}', ""),
        (b'{"page":"\\ud800"}', ""),
        (b'{"page":"a\\u0000b"}', ""),
        (b'{"page":"a\\\\\\u0000b"}', ""),
        (b'{"page":"1"} x', ""),
    ],
)
def test_a_command_that_is_not_exactly_one_is_malformed_and_the_pointer_says_where(data: bytes, pointer: str) -> None:
    """The gateway turns this into a 400 with `errors: [{pointer, detail}]`."""
    with pytest.raises(Malformed) as malformed:
        CODEC.command("Write", data)
    assert malformed.value.pointer == pointer
    assert malformed.value.detail


def test_an_unknown_command_is_malformed() -> None:
    with pytest.raises(Malformed, match="Erase"):
        CODEC.command("Erase", b"{}")


@pytest.mark.parametrize("data", [b'{"page":"a\\\\u0000b"}', b'{"page":"\\u0001 \\ud83d\\ude00"}', '{"page":"é\u2028"}'.encode()])
def test_text_that_stores_can_hold_passes(data: bytes) -> None:
    """An escaped backslash before `u0000` is no NUL, and other control characters are the domain's business."""
    assert isinstance(CODEC.command("Write", data), Write)


@pytest.mark.parametrize(("opening", "closing"), [(b"[", b"]"), (b'{"a":', b"}")])
def test_nesting_is_bounded(opening: bytes, closing: bytes) -> None:
    """Readers in other languages recurse. Brackets inside strings do not count."""

    def nested(depth: int) -> bytes:
        return b'{"page":"1","rest":' + opening * (depth - 1) + b"0" + closing * (depth - 1) + b"}"

    assert isinstance(CODEC.command("Write", nested(DEPTH_MAX)), Write)
    for depth in (DEPTH_MAX + 1, 100_000):
        with pytest.raises(Malformed, match="deep"):
            CODEC.command("Write", nested(depth))
    assert isinstance(CODEC.command("Write", b'{"page":"' + b'[{\\"' * 50 + b'"}'), Write)


@given(st.text())
def test_a_string_is_refused_exactly_when_it_holds_nul(text: str) -> None:
    """Whatever stands around it, escapes included."""
    data = msgspec.json.encode([text])
    if "\0" in text:
        with pytest.raises(Malformed):
            refuse_unstorable(data)
    else:
        refuse_unstorable(data)


def test_an_event_of_today_ignores_fields_it_does_not_know() -> None:
    """An older reader survives a newer writer."""
    assert CODEC.event(recorded(b'{"page":"1","letters":2,"colour":"red"}', 3)) == Written("1", 2)


def test_an_older_event_is_brought_up_step_by_step() -> None:
    """Version 1 held the text, version 2 its length, version 3 the language too."""
    assert CODEC.event(recorded(b'{"page":"1","text":"abc"}', 1)) == Written("1", 3, "de")
    assert CODEC.event(recorded(b'{"page":"1","letters":4}', 2)) == Written("1", 4, "de")


@pytest.mark.parametrize(("data", "schema_version"), [(b'{"page":"1"}', 3), (b'{"page":"1"}', 2), (b"{}", 1), (b"no", 3)])
def test_a_fact_that_cannot_be_read_says_which_it_is(data: bytes, schema_version: int) -> None:
    """What is parked because of it is found by that: of a missing field alone nobody knows where to look. The bug stays what it
    was, and what was written is not told."""
    fact = recorded(data, schema_version)
    with pytest.raises(Exception) as bug:
        CODEC.event(fact)
    said = "".join(traceback.format_exception(bug.value)).splitlines()[-1]
    assert said == f"event {fact.position} (PageWritten version {schema_version}, stream {fact.stream})"
    assert type(bug.value) is not Exception and "event" not in str(bug.value)


def test_a_fact_of_a_later_version_is_read_by_who_was_told_what_it_means() -> None:
    """So that a version can be gone back from: what it wrote is brought down, step by step, to the shape of before."""
    told = (
        Downcaster("PageWritten", 5, lambda data: {**data, "signs": data["signs"] // 10}),
        Downcaster("PageWritten", 4, lambda data: {**data, "letters": data["signs"]}),
    )
    codec = Codec(domain(downcasters=told))
    assert codec.event(recorded(b'{"page":"a","signs":70,"ink":"red"}', 5)) == Written("a", 7)
    assert codec.event(recorded(b'{"page":"a","signs":7}', 4)) == codec.event(recorded(b'{"page":"a","letters":7}', 3))
    with pytest.raises(NotKnown, match="PageWritten/6"):
        codec.event(recorded(b"{}", 6))


@pytest.mark.parametrize(("name", "schema_version"), [("Unheard", 1), ("PageWritten", 4)])
def test_a_fact_that_the_domain_does_not_know_is_left_to_who_does(name: str, schema_version: int) -> None:
    """Reading on without it would give wrong rows, and so would taking a later version's data for one's own."""
    with pytest.raises(NotKnown, match=f"{name}/{schema_version}"):
        CODEC.event(recorded(b"{}", schema_version, name))


def test_an_event_is_written_under_its_stable_name() -> None:
    """The class may be renamed, the tag never."""
    assert tag_of(Written) == "PageWritten"
    assert tag_of(Write) == "Write"
    assert encode_event(Written("1", 2)) == ("PageWritten", 3, b'{"page":"1","letters":2,"language":"en"}')


def test_equal_wishes_have_one_fingerprint_however_they_were_written() -> None:
    """White space, field order and defaults do not make another command; a value and the type do."""
    one = CODEC.fingerprint("Write", b'{"page":"1","text":"a"}')
    assert CODEC.fingerprint("Write", b'{ "text": "\\u0061", "parts": [], "page": "1", "weight": 0.0 }') == one
    assert CODEC.fingerprint("Write", b'{"page":"1","text":"a","rest":false}') != one
    assert CODEC.fingerprint("Write", b'{"page":"1","text":"b"}') != one
    assert fingerprint_of("Write", b"1") != fingerprint_of("Wr", b"ite" + b"1")


def test_a_deploy_that_adds_a_field_knows_the_commands_of_before_again() -> None:
    """A client that tries again after it sends the same bytes, and must be told the first outcome, not that they differ."""
    body = b'{"page":"1","text":"a"}'
    assert LATER_CODEC.fingerprint("Write", body) == CODEC.fingerprint("Write", body)
    assert LATER_CODEC.is_same(envelope_of(LATER_CODEC, body), CODEC.fingerprint("Write", body))
    assert not LATER_CODEC.is_same(envelope_of(LATER_CODEC, b'{"page":"1","note":"n"}'), CODEC.fingerprint("Write", body))


def test_a_fingerprint_of_the_first_release_is_known_again() -> None:
    """It was taken of every field, and stands in inboxes and in lanes; a class that has changed since makes another one."""
    body = b'{"page":"1","text":"a"}'
    first = fingerprint_of("Write", encode(CODEC.command("Write", body)))
    assert CODEC.is_same(envelope_of(CODEC, body), first)
    queued = msgspec.structs.replace(envelope_of(CODEC, body), fingerprint=first)
    assert CODEC.is_same(queued, CODEC.fingerprint("Write", body))
    assert not CODEC.is_same(queued, CODEC.fingerprint("Write", b'{"page":"1"}'))
    assert not CODEC.is_same(msgspec.structs.replace(queued, type="Unheard"), "f")


def test_envelopes_survive_the_broker() -> None:
    """And what is no JSON array of envelopes is malformed, so that the bus can bury it."""
    envelope = Envelope(id_of("one"), "Write", "page-1", msgspec.Raw(b'{"page":"1"}'), "f", NOW, expected_version=0)
    (again,) = decode_batch(encode_batch([envelope]))
    assert bytes(again.data) == b'{"page":"1"}'
    assert (again.command_id, again.expected_version, again.attempt, again.principal) == (id_of("one"), 0, 1, "anonymous")
    for body in (b"", b"{}", b"[1]", b'[{"command_id":"x"}]', b"[" * 100_000, b"\xff"):
        with pytest.raises(Malformed):
            decode_batch(body)
    one = envelope.command_id
    for command_id in ("", "one", one.upper(), f"{one}\n", one.replace("-", ""), f"{{{one}}}"):
        with pytest.raises(Malformed, match="is no UUID"):
            decode_batch(encode_batch([envelope, msgspec.structs.replace(envelope, command_id=command_id)]))
