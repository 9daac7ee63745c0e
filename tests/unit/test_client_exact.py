"""What the client asks and understands, at the edges: bounds of a bulk, pauses, waits, and answers that say little."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.unit.test_client_calls import ACCEPTED, DECIDED, GONE, ID, MANNER, Played, clock, heard, problem, send
from twofold.client import AsyncGateway, Declined, Gateway, Refused, Unavailable, ViewBehind, bulks, calls, listening
from twofold.client.answers import BulkBody, CommandAnswer, understood
from twofold.client.calls import PAUSE_SECONDS_MIN, Patience
from twofold.client.said import QUIET_SECONDS_MAX, Manner
from twofold.client.steps import Ask, Hear, Heard, Pause, lost

__all__ = ["clock"]
ASK = Ask("GET", "/x?y=1", {}, None, 1.0)
Clock = Callable[[float], None]


def of_size(size: int) -> dict[str, Any]:
    """An item whose line is so many bytes."""
    empty = len(bulks.line_of(0, {"type": "T", "data": "", "idempotency_key": "k"}).text)
    return {"type": "T", "data": "x" * (size - empty), "idempotency_key": "k"}


def test_an_array_is_as_large_as_a_gateway_takes_and_not_a_byte_larger(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bulks, "BYTES_MAX", 1_000)

    def sizes(*items: int) -> list[int]:
        found = list(bulks.arrays(of_size(size) for size in items))
        whole = [len(b"[" + b",".join(line.text for line in array) + b"]") for array in found]
        assert all(size <= 1_000 for size in whole)
        return [len(array) for array in found]

    assert sizes(499, 498) == [2], "with brackets and comma it is just as much"
    assert sizes(499, 499) == [1, 1]
    assert sizes(300, 300, 300, 95) == [4] and sizes(300, 300, 300, 96) == [3, 1]
    assert sizes(600, 499, 498) == [1, 2], "what was counted is forgotten"
    monkeypatch.setattr(bulks, "ITEMS_MAX", 2)
    assert [len(array) for array in bulks.arrays([of_size(100)] * 5)] == [2, 2, 1]


def taken(*indexes: int, late: tuple[int, ...] = (), **headers: str) -> Heard:
    accepted = [{"index": index, "command_id": f"c{index}"} for index in indexes]
    refused = [{"index": index, "problem": {"type": "/problems/overloaded", "title": "No", "status": 429}} for index in late]
    return heard(202, {"accepted": accepted, "refused": refused}, **headers)


def items(count: int) -> list[dict[str, Any]]:
    return [{"type": "T", "idempotency_key": f"k{number}"} for number in range(count)]


def test_what_is_put_off_waits_longer_each_time_until_something_is_taken(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    """And patience begins anew then."""
    monkeypatch.setattr(calls, "random", lambda: 1.0)
    answers = (taken(late=(0, 1)), taken(0, late=(1,), Retry_After="3"), taken(late=(0,)), taken(0))
    played = Played(bulks.bulk(MANNER, items(2)), *answers)
    assert played.pauses == [1.0, 3.0, 1.0]
    assert [given.command_id for given in played.given] == ["c0", "c0"]
    steps = bulks.bulk(Manner({}, 30.0, 10.0), items(2))
    step: Any = next(steps)
    for answer, seconds in ((taken(late=(0, 1)), 9.0), (taken(0, late=(1,)), 9.0), (taken(late=(0,)), 0.5)):
        assert isinstance(step, Ask)
        assert isinstance(steps.send(answer), Pause)
        clock(seconds)
        step = next(steps)
    clock(1.0)
    step = steps.send(taken(late=(0,)))
    assert step.value.command_id == "c0", "it is told as it is: nobody waits any more"
    told: Any = next(steps)
    assert told.value.refusal.status == 429


def test_a_pause_is_at_least_half_of_what_it_may_be(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    for dice, part in ((0.0, 0.5), (0.5, 0.75), (1.0, 1.0)):
        monkeypatch.setattr(calls, "random", lambda dice=dice: dice)
        patience = Patience(60.0)
        assert [patience.after(GONE).seconds for _ in range(2)] == [PAUSE_SECONDS_MIN * part, PAUSE_SECONDS_MIN * 2 * part]
        patience.restored()
        assert patience.after(GONE).seconds == PAUSE_SECONDS_MIN * part


def test_patience_lasts_to_its_very_end_and_counts_from_the_first_failure(clock: Clock) -> None:
    late = Unavailable(GONE.neighbour, "no", retry_after_seconds=10.0)
    patience = Patience(10.0)
    clock(100.0)
    assert patience.after(late).seconds == 10.0
    clock(0.5)
    with pytest.raises(Unavailable):
        patience.after(late)
    patience.restored()
    assert patience.after(late).seconds == 10.0


def test_a_call_says_what_it_was_given(clock: Clock) -> None:
    played = Played(calls.call(MANNER, "PUT", "/x", None, None, None, None), heard(200, {"a": 1}))
    assert (played.asked[0].body, played.asked[0].timeout_seconds, played.result) == (None, 30.0, {"a": 1})
    played = Played(calls.call(MANNER, "PUT", "/x", 0, {"A": "b"}, 5.0, None), heard(200, {}))
    assert (played.asked[0].body, played.asked[0].timeout_seconds, played.asked[0].headers["A"]) == (b"0", 5.0, "b")


def test_a_gateway_is_given_as_much_more_time_as_it_is_asked_to_wait(clock: Clock) -> None:
    played = Played(send(wait_seconds=7.0, expected_version=0), heard(200, DECIDED))
    assert played.asked[0].timeout_seconds == 37.0 and played.asked[0].headers["If-Match"] == '"0"'
    played = Played(send(), heard(202, ACCEPTED))
    assert played.asked[0].timeout_seconds == 30.0 and "If-Match" not in played.asked[0].headers
    assert Played(calls.outcome(MANNER, ID), heard(200, DECIDED)).asked[0].timeout_seconds == 30.0
    got = Played(calls.get(MANNER, "v", "k", None, None, False), heard(200, {}))
    assert (got.asked[0].timeout_seconds, got.result.position, got.result.lag_seconds, got.result.etag) == (30.0, 0, 0.0, None)
    got = Played(calls.get(MANNER, "v", "k", None, 4.0, False), heard(200, {}, View_Position="x", View_Lag="1.5"))
    assert (got.asked[0].timeout_seconds, got.result.position, got.result.lag_seconds) == (34.0, 0, 0.0)


def test_a_read_that_waits_asks_again_for_what_is_left(clock: Clock) -> None:
    behind = problem(409, "view-behind", state="behind")
    steps = calls.get(MANNER, "v", "k", 5, 2.0, False)
    assert next(steps).headers["Prefer"] == "wait=2"  # type: ignore[union-attr]
    clock(1.0)
    assert steps.send(behind) == Pause(PAUSE_SECONDS_MIN)
    clock(0.97)
    assert next(steps).headers["Prefer"] == "wait=1"  # type: ignore[union-attr]
    assert steps.send(behind).seconds == pytest.approx(0.03)  # type: ignore[union-attr]
    clock(0.03)
    next(steps)
    with pytest.raises(ViewBehind):
        steps.send(behind)
    steps = calls.get(MANNER, "v", "k", 5, 2.0, False)
    next(steps)
    with pytest.raises(Refused, match="because"):
        steps.send(problem(400, "malformed"))


def test_a_no_of_the_domain_is_the_same_however_it_was_asked_for() -> None:
    rejected = {"command_id": ID, "status": "rejected", "rejection": {"code": "sold-out", "details": {"left": 1}}}
    with pytest.raises(Declined) as no:
        Played(calls.wait(MANNER, ID, 0.0), heard(200, rejected))
    assert (no.value.status, no.value.kind) == (409, "rejected")
    with pytest.raises(Declined) as bare:
        Played(calls.wait(MANNER, ID, 0.0), heard(200, {"command_id": ID, "status": "rejected"}))
    assert bare.value.status == 409


@pytest.mark.parametrize(("status", "is_good"), [(199, False), (200, True), (299, True), (300, False)])
def test_only_a_good_answer_is_understood(status: int, is_good: bool) -> None:
    if is_good:
        assert understood(ASK, heard(status, {"accepted": [], "refused": []}), BulkBody) == BulkBody([], [])
        return
    with pytest.raises(Refused, match=f"GET /x was answered {status}"):
        understood(ASK, heard(status, {"accepted": [], "refused": []}), BulkBody)


def test_a_lost_answer_may_be_tried_again_at_once() -> None:
    why = lost("connection lost", "here")
    assert (why.retry_after_seconds, why.detail) == (0.0, "here")


async def test_a_client_adds_what_it_was_given_and_no_more() -> None:
    for gateway in (Gateway("http://x:1/a"), AsyncGateway("http://x:1/a")):
        assert gateway.url == "http://x:1/a"
        assert gateway._manner == Manner({}, 30.0, 60.0)
    for gateway in (
        Gateway("http://x:1", headers={"A": "b"}, timeout_seconds=1.0, patience_seconds=2.0),
        AsyncGateway("http://x:1", headers={"A": "b"}, timeout_seconds=1.0, patience_seconds=2.0),
    ):
        assert gateway._manner == Manner({"A": "b"}, 1.0, 2.0)


def test_whether_a_command_is_decided_is_its_status() -> None:
    words = ("accepted", "pending", "ignored", "parked")
    found = {status: CommandAnswer(command_id=ID, status=status).is_decided for status in words}
    assert found == {"accepted": False, "pending": False, "ignored": True, "parked": True}


def test_what_a_refusal_says_whoever_wrote_it() -> None:
    bare = Refused({})
    assert (str(bare), bare.status, bare.kind) == ("refused", 0, "")
    errors = [{"pointer": "/a"}, {"detail": "no pointer"}, {"pointer": "/b"}]
    said = {"title": "No", "detail": "x", "errors": errors, "details": {"é": 1}, "status": 400, "type": "/problems/malformed"}
    full = Refused(said)
    assert str(full) == 'No: x at /a, /b {"é": 1}'
    assert (full.status, full.kind) == (400, "malformed")


def test_an_event_stream_waits_at_first_for_what_was_asked_and_then_for_its_next_word(clock: Clock) -> None:
    hello = Heard(200, {"content-type": "text/event-stream"}, b"")
    steps = listening.watch(Manner({}, 40.0, 60.0), "v", "k", 5, 7.0)
    first: Any = next(steps)
    assert (first.ask.timeout_seconds, first.ask.headers["Consistency-Token"]) == (47.0, "5")
    steps.send(hello)
    given: Any = steps.send(b'id: 3\ndata: {"a":\ndata: 1}\nodd: x\n\nid: 4\nevent: gone\ndata:\n\n')
    assert given.value == {"a": 1}
    given = next(steps)
    assert given.value is None
    assert next(steps) == Hear()
    pause: Any = steps.send(b"")
    assert 0.0 < pause.seconds <= PAUSE_SECONDS_MIN
    again: Any = next(steps)
    assert (again.ask.timeout_seconds, again.ask.headers["Last-Event-ID"]) == (40.0, "4")
    assert "Consistency-Token" not in again.ask.headers
    short: Any = next(listening.watch(Manner({}, 1.0, 60.0), "v", "k", None, None))
    assert short.ask.timeout_seconds == QUIET_SECONDS_MAX


def test_a_message_may_be_as_long_as_it_may_be(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listening, "MESSAGE_BYTES_MAX", 8)
    assert list(listening.Messages().feed(b"data: ab")) == []
    with pytest.raises(Unavailable, match="without end"):
        list(listening.Messages().feed(b"data: abc"))
    assert listening.Messages().retry_seconds == 0.0
