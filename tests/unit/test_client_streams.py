"""Bulks and event streams of the client, played without any network: what is sent again, and what is taken up again."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as some

from tests.unit.test_client_calls import GONE, MANNER, Count, heard, problem
from twofold.client import BulkResult, Refused, Unavailable, bulks, listening
from twofold.client.said import Manner
from twofold.client.steps import Ask, Give, Hear, Heard, Listen, Pause, Step, Steps

HELLO = Heard(200, {"content-type": "text/event-stream"}, b"")
EVENT = {"stream": "a", "version": 1, "type": "Counted", "data": {}, "meta": {}, "recorded_at": "2010-12-01T00:00:00Z"}


def keys_of(ask: Ask) -> list[str]:
    return [item["idempotency_key"] for item in json.loads(ask.body or b"")]


def taken(*indexes: int, refused: dict[int, int] | None = None) -> Heard:
    """A good answer to an array; `refused` are statuses by index."""
    problems = {index: {"type": "/problems/x", "title": "No", "status": status} for index, status in (refused or {}).items()}
    body = {
        "accepted": [{"index": index, "command_id": f"id-{index}"} for index in indexes],
        "refused": [{"index": index, "problem": problem} for index, problem in problems.items()],
    }
    return heard(202, body)


class Sent:
    """A bulk, played with these answers: what was asked, and what became of the items."""

    def __init__(self, items: Any, *answers: Heard | Unavailable, manner: Manner = MANNER) -> None:
        self.asked: list[Ask] = []
        self.results: list[BulkResult] = []
        self.pauses: list[float] = []
        self.error: Exception | None = None
        left, answer = list(answers), None
        steps = bulks.bulk(manner, items)
        try:
            step: Step = next(steps)
            while True:
                answer = None
                if isinstance(step, Ask):
                    self.asked.append(step)
                    found = left.pop(0)
                    if isinstance(found, Unavailable):
                        step = steps.throw(found)
                        continue
                    answer = found
                elif isinstance(step, Pause):
                    self.pauses.append(step.seconds)
                elif isinstance(step, Give):
                    self.results.append(step.value)
                step = steps.send(answer)
        except StopIteration:
            assert left == []
        except (Unavailable, Refused) as error:
            self.error = error


def items(*keys: str) -> list[Any]:
    return [{"type": "Count", "data": {"tally_id": key}, "idempotency_key": key} for key in keys]


def test_a_bulk_goes_out_in_arrays_of_a_thousand_as_it_is_read() -> None:
    """Any iterable will do, also one that has no end."""
    read: list[int] = []

    def endless() -> Iterator[Count]:
        while True:
            read.append(1)
            yield Count("a", len(read))

    steps = bulks.bulk(MANNER, endless())
    ask = next(steps)
    assert isinstance(ask, Ask) and len(set(keys_of(ask))) == 1_000 and len(read) == 1_001
    assert json.loads(ask.body or b"")[1]["data"] == {"tally_id": "a", "by": 2}
    assert ask.path == "/commands" and ask.headers["Content-Type"] == "application/json"
    assert Sent([]).asked == []


def test_a_bulk_goes_out_in_arrays_that_a_gateway_takes() -> None:
    arrays = list(bulks.arrays([{"type": "T", "data": {"a": "x" * 900_000}}] * 9))
    assert [len(array) for array in arrays] == [4, 4, 1]
    assert all(sum(len(item.text) + 1 for item in array) + 1 <= bulks.BYTES_MAX for array in arrays)
    alone = Sent([{"type": "T", "data": "x" * bulks.BYTES_MAX}, *items("b")], taken(0))
    assert [len(keys_of(ask)) for ask in alone.asked] == [1]
    assert isinstance(alone.results[0].refusal, Refused) and alone.results[0].refusal.status == 413
    assert alone.results[1].command_id == "id-0"


def test_what_is_put_off_is_sent_again_alone_under_its_key_and_all_are_answered_in_order() -> None:
    sent = Sent(items(*"abcd"), taken(0, refused={1: 429, 2: 400, 3: 503}), taken(1, refused={0: 503}), taken(0))
    assert [keys_of(ask) for ask in sent.asked] == [["a", "b", "c", "d"], ["b", "d"], ["b"]]
    assert [(one.index, one.idempotency_key, one.command_id) for one in sent.results] == [
        (0, "a", "id-0"),
        (1, "b", "id-0"),
        (2, "c", None),
        (3, "d", "id-1"),
    ]
    assert [one.refusal for one in sent.results if one.index != 2] == [None] * 3
    assert isinstance(sent.results[2].refusal, Refused) and sent.results[2].refusal.status == 400
    assert all(pause >= bulks.PUT_OFF_SECONDS for pause in sent.pauses)


def test_a_bulk_that_is_cut_is_sent_again_under_the_same_keys() -> None:
    sent = Sent([Count("a"), Count("b")], GONE, taken(0, 1))
    assert keys_of(sent.asked[0]) == keys_of(sent.asked[1])
    assert [one.command_id for one in sent.results] == ["id-0", "id-1"]


def test_whatever_ends_a_bulk_every_item_that_was_sent_is_told_of() -> None:
    hasty = Manner({}, 30.0, 0.0)
    cut = Sent(items("a"), GONE, manner=hasty)
    assert (cut.error, [one.refusal for one in cut.results]) == (GONE, [GONE])
    half = Sent(items("a", "b"), taken(0, refused={1: 429}), manner=hasty)
    assert (half.error, half.results[0].command_id) == (None, "id-0")
    assert isinstance(half.results[1].refusal, Refused) and half.results[1].refusal.status == 429
    refused = Sent(items("a"), problem(401, "unauthenticated"))
    assert isinstance(refused.error, Refused) and refused.results == []


@pytest.mark.parametrize("item", [7, "Count", {"data": {}}, {"type": "Count", "idempotency-key": "k"}])
def test_what_is_no_item_is_a_bug_of_the_caller(item: Any) -> None:
    with pytest.raises(TypeError, match="item 0"):
        next(bulks.bulk(MANNER, [item]))


@given(
    some.lists(some.tuples(some.text(some.characters(codec="utf-8", exclude_characters="\r\n\0")), some.integers(0, 9))),
    some.data(),
)
def test_messages_are_the_same_however_they_are_cut(sent: list[tuple[str, int]], data: some.DataObject) -> None:
    wire = b"retry: 1000\n\n" + b"".join(
        f": beat\n\nid: {number}\r\nevent: row\ndata: {json.dumps(text)}\n\n".encode() for text, number in sent
    )
    cuts = sorted(data.draw(some.lists(some.integers(0, len(wire)), max_size=5)))
    messages = listening.Messages()
    found = [one for start, end in zip([0, *cuts], [*cuts, len(wire)], strict=True) for one in messages.feed(wire[start:end])]
    assert [(json.loads(one.data), one.id, one.event) for one in found] == [(text, str(number), "row") for text, number in sent]
    assert messages.retry_seconds == 1.0
    assert list(messages.feed(b"id: 1\ndata: unfinished\n")) == []


def event(position: int) -> bytes:
    return f"id: {position}\nevent: event\ndata: {json.dumps({**EVENT, 'position': position})}\n\n".encode()


class Followed:
    """An event stream, followed through these answers until they are used up."""

    def __init__(self, steps: Steps[None], *answers: Heard | bytes | Unavailable) -> None:
        self.asked: list[Ask] = []
        self.given: list[Any] = []
        self.pauses: list[float] = []
        self.error: Exception | None = None
        left, answer = list(answers), None
        try:
            step: Step = next(steps)
            while left or not isinstance(step, Listen | Hear):
                answer = None
                if isinstance(step, Give):
                    self.given.append(step.value)
                elif isinstance(step, Pause):
                    self.pauses.append(step.seconds)
                else:
                    if isinstance(step, Listen):
                        self.asked.append(step.ask)
                    answer = left.pop(0)
                step = steps.throw(answer) if isinstance(answer, Unavailable) else steps.send(answer)
        except (Unavailable, Refused) as error:
            self.error = error
        steps.close()


def test_an_event_stream_is_taken_up_behind_the_last_whole_message() -> None:
    """Neither what was half said counts, nor is anything said twice."""
    first: list[Heard | bytes | Unavailable] = [HELLO, event(5) + event(6)[:20], event(6)[20:] + event(7)[:40], GONE]
    again: list[Heard | bytes | Unavailable] = [problem(503, "unavailable"), HELLO, b": still here\n\n", b"", HELLO, event(7)]
    followed = Followed(listening.events(MANNER, 4, ["Counted", "Reset"]), *first, *again)
    assert [one.position for one in followed.given] == [5, 6, 7]
    assert [ask.path for ask in followed.asked] == ["/events?after=4&type=Counted%2CReset"] * 4
    assert [ask.headers.get("Last-Event-ID") for ask in followed.asked] == [None, "6", "6", "6"]
    assert {ask.headers["Accept"] for ask in followed.asked} == {"text/event-stream"}


def test_an_event_stream_that_says_how_soon_to_come_back_is_obeyed() -> None:
    followed = Followed(listening.events(MANNER, 0, ()), HELLO, b"retry: 2500\n\n", b"", HELLO)
    assert followed.pauses == [2.5]
    followed = Followed(listening.events(MANNER, 0, ()), HELLO, b"retry: 999999\n\n", b"", HELLO)
    assert followed.pauses == [5.0]


def test_an_event_stream_that_nobody_answers_any_more_ends() -> None:
    hasty = Manner({}, 30.0, 0.0)
    ended = Followed(listening.events(hasty, 0, ()), HELLO, event(1), GONE)
    assert ([one.position for one in ended.given], ended.error) == ([1], GONE)
    assert isinstance(Followed(listening.events(MANNER, 0, "Nothing"), problem(400, "malformed")).error, Refused)
    assert isinstance(Followed(listening.events(MANNER, 0, ()), heard(200, {"events": []})).error, Refused)
    assert isinstance(Followed(listening.events(MANNER, 0, ()), HELLO, b"data: nonsense\n\n").error, Refused)


def test_a_message_without_end_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listening, "MESSAGE_BYTES_MAX", 100)
    ended = Followed(listening.events(Manner({}, 30.0, 0.0), 0, ()), HELLO, b"data: " + b"x" * 200)
    assert isinstance(ended.error, Unavailable) and ended.error.reason == "a message without end"


def test_a_row_is_watched_from_what_its_token_stands_for() -> None:
    """Later connections go on from what was shown: rows never go back."""
    row = b'id: 1-7\nevent: row\ndata: {"count":1}\n\n'
    gone = b'id: gone\nevent: gone\ndata: {"tally_id":"a"}\n\n'
    followed = Followed(listening.watch(MANNER, "tallies", "a/b", "id-1", 9.0), GONE, HELLO, row, b"", HELLO, gone)
    assert followed.given == [{"count": 1}, None]
    assert [ask.path for ask in followed.asked] == ["/views/tallies/a%2Fb"] * 3
    assert [ask.headers.get("Consistency-Token") for ask in followed.asked] == ["id-1", "id-1", None]
    assert [ask.headers.get("Last-Event-ID") for ask in followed.asked] == [None, None, "1-7"]
    assert followed.asked[0].headers["Prefer"] == "wait=9"
