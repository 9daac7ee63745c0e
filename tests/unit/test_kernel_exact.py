"""What the words of the kernel say of themselves, to the letter: much of it stands on disk, or is read by other processes."""

from __future__ import annotations

import time
import uuid
from dataclasses import replace
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Any

import msgspec
import pytest

from tests.unit import test_kernel_codec as pages
from twofold.kernel import errors
from twofold.kernel.builds import Build, Rebuild, rebuild_as_it_stands
from twofold.kernel.codec import DEPTH_MAX, TOO_DEEP, Codec, refuse_unstorable
from twofold.kernel.decider import AnyDecider, Decider
from twofold.kernel.envelope import Envelope, decode_batch, encode_batch, fingerprint_of
from twofold.kernel.errors import Detached, Malformed, Neighbour, NotKnown, Tracebacks, other_inline_views
from twofold.kernel.ids import (
    FUTURE_SECONDS_MAX,
    is_made_of_key,
    is_possible_command_id,
    mark_of,
    marked_position,
    new_command_id,
)
from twofold.kernel.lanes import Epoch, LaneState, place_of
from twofold.kernel.letters import letter_id
from twofold.kernel.log import Meta
from twofold.kernel.members import Member, event_names_of, inline_views_name, is_inline_views_name, name_of
from twofold.kernel.portion import PATIENCE, Portion
from twofold.kernel.rows import Generation, set_number
from twofold.kernel.snapshots import StateCodec, is_same
from twofold.kernel.zones import as_read_in, naive_in

NOON = datetime(2026, 1, 2, 12, 0, 0, 123456, UTC)


def test_what_stands_on_disk_is_these_very_values() -> None:
    """Marks stand with checkpoints, fingerprints in inboxes, numbers of sets in the log's head, ids of letters in commands."""
    assert mark_of(7, "order-1", 3, "c", NOON) == "7-1532d5763fe9bbd1"
    assert fingerprint_of("PlaceOrder", b"{}") == "9aaacef13e204082c1c59cb0384a601e"
    assert letter_id(b"body") == "ec2edbeabbed4a40"
    assert set_number([Generation("b", 2, 1), Generation("a", 1, 1)]) == 24462832554216420
    assert set_number([Generation("a", 1, 4), Generation("b", 2, 4)]) == set_number(
        [Generation("b", 2, 1), Generation("a", 1, 1)]
    )
    assert set_number([]) == 0
    assert set_number([Generation("a", 1, 1)]) < 2**63
    assert (marked_position("12-0f"), marked_position("")) == (12, 0)


def test_a_minted_id_tells_when_and_what_kind_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    """RFC 9562: the milliseconds, version 7, one of four variants, and the rest by the dice alone."""
    monkeypatch.setattr(time, "time_ns", lambda: 1_767_355_200_123_999_999)
    many = [uuid.UUID(new_command_id()) for _ in range(200)]
    assert {(one.int >> 80, one.version, one.variant) for one in many} == {(1_767_355_200_123, 7, uuid.RFC_4122)}
    assert {str(one)[19] for one in many} == set("89ab")
    assert {str(one)[35] for one in many} == set("0123456789abcdef")
    assert len({str(one)[20:23] for one in many}) > 100
    assert (is_made_of_key(str(many[0])), is_made_of_key(str(uuid.uuid5(uuid.NAMESPACE_DNS, "a")))) == (False, True)


@pytest.mark.parametrize(("ahead", "is_possible"), [(FUTURE_SECONDS_MAX - 1, True), (FUTURE_SECONDS_MAX + 1, False)])
def test_clocks_of_two_gateways_differ_by_so_much_and_not_more(
    monkeypatch: pytest.MonkeyPatch, ahead: float, is_possible: bool
) -> None:
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now)
    monkeypatch.setattr(time, "time_ns", lambda: int((now + ahead) * 1_000_000_000))
    assert is_possible_command_id(new_command_id()) is is_possible


def test_lanes_are_numbered_by_epoch() -> None:
    """What is on the broker under these numbers is found by them."""
    assert (list(Epoch(0, 3).lanes), list(Epoch(2, 2).lanes)) == ([0, 1, 2], [512, 513])
    assert [place_of(lane) for lane in (0, 255, 256, 513)] == [(0, 0), (0, 255), (1, 0), (2, 1)]


@pytest.mark.parametrize(
    ("state", "is_taking_back", "working"),
    [
        (LaneState(Epoch(1, 4)), False, 1),
        (LaneState(Epoch(1, 4), Epoch(0, 2)), False, 0),
        (LaneState(Epoch(1, 4), Epoch(0, 2), is_over=True), False, 1),
        (LaneState(Epoch(1, 4), Epoch(2, 2)), True, 2),
        (LaneState(Epoch(1, 4), Epoch(1, 4)), False, 1),
    ],
)
def test_workers_finish_the_old_lanes_before_they_begin_the_new(state: LaneState, is_taking_back: bool, working: int) -> None:
    assert (state.is_taking_back, state.working.number) == (is_taking_back, working)


@pytest.mark.parametrize(
    ("name", "host", "pid"),
    [
        ("web-1-4711-a0b1", "web-1", 4711),
        ("web-4711-a0", "web", 4711),
        ("web-x-a0", "web", 0),
        ("web", "web", 0),
        ("w-7", "w", 7),
    ],
)
def test_a_member_is_found_by_its_name(name: str, host: str, pid: int) -> None:
    """An operator looks for the process on its host."""
    assert (Member("workers", name).host, Member("workers", name).pid) == (host, pid)


def test_what_a_member_knows_has_names() -> None:
    assert event_names_of({"Opened": 1, "Closed": 3}) == {"Opened/1", "Closed/1", "Closed/2", "Closed/3"}
    assert is_inline_views_name(inline_views_name(5)) and not is_inline_views_name("PlaceOrder")
    assert name_of("PlaceOrder", "/lines/0/sku/...") == "PlaceOrder.lines.sku"


def test_errors_say_what_their_catcher_needs() -> None:
    again = Detached(7).again()
    assert (again.through, again.detail) == (7, Detached(7).detail) and "positions 1 to 7;" in str(again.detail)
    unknown = other_inline_views(5)
    assert (unknown.names, unknown.neighbour) == (frozenset([inline_views_name(5)]), Neighbour.WORKERS)
    with pytest.raises(NotKnown) as known_elsewhere:
        pages.CODEC.event(pages.recorded(b"{}", 9))
    assert not hasattr(known_elsewhere.value, "__notes__"), "it is no bug of this event"


def traceback_of(*lines: int, error: str = "ValueError: secret") -> str:
    frames = [f'  File "/a.py", line {line}, in decide\n    secret({line})' for line in lines]
    return "\n".join(["Traceback (most recent call last):", *frames, error])


def test_where_a_bug_is_told_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """A bug that parks thousands says so in one line each, and where it is in one; what it said may be a payload."""
    told = Tracebacks()
    first, second, third = (f'File "/a.py", line {line}, in decide' for line in (1, 2, 3))
    assert told.untold(traceback_of(1, 2)) == (first, second, "ValueError")
    assert told.untold(traceback_of(1, 2)) == ()
    assert told.untold(traceback_of(3, 2)) == (), "it is at the same place, whoever came there"
    assert told.untold(traceback_of(3, 2, error="KeyError: 1")) == (third, second, "KeyError")
    assert told.untold(traceback_of(3)) == (third, "ValueError")
    assert told.untold("no traceback") == ()
    assert told.untold(traceback_of(7, error="  more of the line")) == ('File "/a.py", line 7, in decide', "")
    monkeypatch.setattr(errors, "TRACEBACKS_MAX", 2)
    assert told.untold(traceback_of(8)) != (), "there were too many to remember, and all are forgotten"
    assert (told.untold(traceback_of(8)), told.untold(traceback_of(3))) == ((), (third, "ValueError"))
    assert told.untold(traceback_of(8)) != ()


def test_what_caused_an_event_is_its_command_unless_something_else_is_said() -> None:
    """And who spells it out says the same thing."""
    plain, caused = Meta("c", "ann"), Meta("c", "ann", 1, "corr", "cause")
    assert (plain.correlation_id, plain.causation_id) == ("c", "c")
    assert (caused.correlation_id, caused.causation_id) == ("corr", "cause")
    spelt = Meta("c", "ann", 1, "c", "c")
    assert plain == spelt and hash(plain) == hash(spelt) and plain.spelt_out().correlated == "c"
    assert plain != caused and plain != Meta("c", "ben") and plain != "c" and len({plain, spelt, caused}) == 2


def test_a_portion_is_halved_when_it_fails_and_grows_again_up_to_the_last_that_failed() -> None:
    portion = Portion(100)
    portion.failed(100)
    assert portion.now == 50
    portion.failed(20)  # fewer were tried than might have been
    assert portion.now == 10
    portion.succeeded()
    assert portion.now == 10, "twice as many is what failed"
    for _ in range(PATIENCE - 2):
        portion.succeeded()
    assert portion.now == 10
    portion.succeeded()
    assert portion.now == 20, "after so much patience it is tried again"
    portion.failed(1_000)
    assert portion.now == 10, "no more was tried than there was"
    for _ in range(PATIENCE - 1):
        portion.succeeded()
    assert portion.now == 10, "and patience begins anew"
    portion.failed(3)
    portion.succeeded()
    assert portion.now == 2
    portion.succeeded()
    assert portion.now == 2
    portion.failed(1)
    assert portion.now == 1
    grown = []
    for _ in range(8):
        portion.succeeded()
        grown.append(portion.now)
    assert grown == [2, 4, 8, 16, 32, 64, 100, 100], "what fails alone was not too much: it grows freely"


def test_what_a_rebuild_builds_may_have_answered_before() -> None:
    """Then it is kept when the rebuild is cancelled."""
    rebuild = Rebuild("orders", 3, 2)
    assert [
        rebuild.is_going_back,
        Rebuild("orders", 1, 2).is_going_back,
        Rebuild("orders", 3, 2, begun_from=1).is_going_back,
    ] == [
        False,
        True,
        True,
    ]
    assert not Rebuild("orders", 2, 2).is_going_back
    assert [Rebuild("orders", 3, 2, state).is_over for state in ("building", "verifying", "swapped", "cancelled", "failed")] == [
        False,
        False,
        True,
        True,
        True,
    ]
    assert rebuild_as_it_stands(rebuild, [Build(Generation("orders", 3, 1, "live"), "s", 1)]) == Rebuild(
        "orders", 3, 2, "swapped"
    )


BRACKETS = b"[" * DEPTH_MAX + b"]" * DEPTH_MAX


@pytest.mark.parametrize("data", [BRACKETS, b"[{}," * (DEPTH_MAX - 1) + b"0" + b"]" * (DEPTH_MAX - 1), b"[]," * 40])
def test_depth_is_how_deep_it_is_and_not_how_many_there_are(data: bytes) -> None:
    refuse_unstorable(data)


@pytest.mark.parametrize("data", [b"[" + BRACKETS + b"]", b"[[],[],[],[]," + BRACKETS + b"]", b"[[]," + b'{"a":' * DEPTH_MAX])
def test_what_is_deeper_is_refused(data: bytes) -> None:
    with pytest.raises(Malformed, match=TOO_DEEP):
        refuse_unstorable(data)


def test_a_body_that_no_decoder_gets_through_is_too_deep() -> None:
    with pytest.raises(Malformed, match=TOO_DEEP):
        Codec(pages.domain()).command("Write", b'{"page":"1","rest":' + b"[" * 200_000)
    with pytest.raises(Malformed) as unknown:
        pages.CODEC.command("Unheard", b"{}")
    assert unknown.value.is_unknown


def test_the_id_that_is_wrong_is_told_and_not_the_one_that_is_right() -> None:
    right = new_command_id()
    wrong = "x" * 50
    batch = [Envelope(one, "Write", "page-1", msgspec.Raw(b"{}"), "f", NOON) for one in (right, wrong)]
    with pytest.raises(Malformed, match=f"command id '{'x' * 40}' is no UUID"):
        decode_batch(encode_batch(batch))


class Nowhere(tzinfo):
    """A zone that says nothing: its moments are none."""

    def utcoffset(self, at: datetime | None) -> timedelta | None:
        return None

    dst = utcoffset

    def tzname(self, at: datetime | None) -> str | None:
        return None


def test_a_zone_that_says_nothing_is_none() -> None:
    find: Any = naive_in(datetime)
    assert [find(at) for at in (NOON, NOON.replace(tzinfo=None), NOON.replace(tzinfo=Nowhere()))] == [None, "", ""]
    read: Any = as_read_in(dict[str, list[datetime]])
    assert read({"a": [NOON], "b": []}) == {"a": [NOON], "b": []}


@pytest.mark.parametrize(
    ("one", "other"), [({1, 2}, {1, 2.0}), ([1, "a"], [1, "b"]), ([{}, 1], [{}, 2]), ([1, {}], [1, {1: 2}]), (1, 1.0), ({1}, {2})]
)
def test_what_is_not_the_same_is_told_apart(one: Any, other: Any) -> None:
    """A state that would come back as another is not kept."""
    assert is_same(one, one) and not is_same(one, other)


class Strange:
    pass


def evolve_strange(state: dict[str, Strange], event: Any) -> dict[str, Strange]:
    return state


def test_states_that_hold_what_is_no_json_are_not_kept() -> None:
    decider: AnyDecider = Decider("page", "page", (), (), dict[str, Strange](), lambda state, command: [], evolve_strange)
    states = StateCodec(decider)
    assert (states.shape, states.why_not != "") == ("", True)
    assert StateCodec(replace(decider, initial=None, evolve=None)).why_not  # type: ignore[arg-type]
