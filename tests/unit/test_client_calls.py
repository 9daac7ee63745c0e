"""What the client says, asks again, and understands: its calls, played without any network."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime
from inspect import signature
from typing import Any

import msgspec
import pytest

from twofold.client import (
    AsyncGateway,
    CommandAnswer,
    Declined,
    Gateway,
    Malformed,
    Misconfigured,
    PageAnswer,
    Refused,
    Rejected,
    StreamMoved,
    Unavailable,
    ViewBehind,
)
from twofold.client import calls as client_calls
from twofold.client.endpoint import endpoint_of
from twofold.client.said import Manner, query_of
from twofold.client.steps import Ask, Give, Heard, Pause, Step, Steps, lost
from twofold.kernel.messages import Command

MANNER = Manner({}, 30.0, 60.0)
ID = "019a0000-0000-7000-8000-000000000000"
ACCEPTED = {"command_id": ID, "type": "Count", "stream": "tally-a", "status": "accepted"}
DECIDED = {"command_id": ID, "type": "Count", "stream": "tally-a", "status": "succeeded", "version": 1, "position": 7}
GONE = lost("connection lost", "here")


class Count(Command, frozen=True):
    tally_id: str
    by: int = 1


class Played:
    """A call, played to its end with what was to be heard: what it asked, how long it paused, what it gave and came to."""

    def __init__(self, steps: Steps[Any], *heard: Heard | Unavailable) -> None:
        self.asked: list[Ask] = []
        self.pauses: list[float] = []
        self.given: list[Any] = []
        self.result: Any = None
        left = list(heard)
        answer: Any = None
        try:
            step: Step = next(steps)
            while True:
                match step:
                    case Ask():
                        self.asked.append(step)
                        answer = left.pop(0)
                    case Pause():
                        self.pauses.append(step.seconds)
                        answer = None
                    case Give():
                        self.given.append(step.value)
                        answer = None
                step = steps.throw(answer) if isinstance(answer, Unavailable) else steps.send(answer)
        except StopIteration as end:
            self.result = end.value
        assert left == []


def heard(status: int, body: object = None, **headers: str) -> Heard:
    named = {name.replace("_", "-").lower(): value for name, value in headers.items()}
    return Heard(status, named, json.dumps(body).encode() if body is not None else b"<html>")


def problem(status: int, kind: str, **members: Any) -> Heard:
    retry = members.pop("Retry_After", None)
    body = {"type": f"/problems/{kind}", "title": "No", "status": status, "detail": "because", **members}
    return heard(status, body, **({"Retry_After": retry} if retry else {}))


def send(manner: Manner = MANNER, **named: Any) -> Steps[CommandAnswer]:
    given = {
        "command": "Count",
        "data": {"tally_id": "a"},
        "idempotency_key": None,
        "expected_version": None,
        "wait_seconds": None,
    }
    return client_calls.send(manner, **(given | named))


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[float], None]]:
    now = [100.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])

    def go_on(seconds: float) -> None:
        now[0] += seconds

    yield go_on


@pytest.mark.parametrize(
    ("url", "read"),
    [
        ("http://127.0.0.1:8080", "http://127.0.0.1:8080"),
        ("http://shop.example/api/", "http://shop.example:80/api"),
        ("https://shop.example", "https://shop.example:443"),
        ("http://[::1]:8080/a b", None),
        ("http://[::1]:8080/ä", "http://[::1]:8080/%C3%A4"),
        ("localhost:8080", None),
        ("", None),
        ("ftp://x", None),
        ("http://", None),
        ("http://x:http", None),
        ("http://x:99999", None),
        ("http://x?a=b", None),
        ("http://ann:secret@x:8080", None),
        ("http://ann:secret@x:port", None),
    ],
)
def test_an_address_is_read_or_refused_in_one_line_without_its_password(url: str, read: str | None) -> None:
    if read is not None:
        assert endpoint_of(url).url == read
        return
    with pytest.raises(Misconfigured) as refused:
        endpoint_of(url)
    assert "\n" not in str(refused.value) and "secret" not in str(refused.value)
    assert str(refused.value).startswith(url if "@" not in url else "…@x:")


def test_a_missing_scheme_is_named() -> None:
    with pytest.raises(Misconfigured, match="^localhost:8080: .*http:// or https:// is missing"):
        Gateway("localhost:8080")
    with pytest.raises(Misconfigured, match="^localhost:8080: .*http:// or https:// is missing"):
        AsyncGateway("localhost:8080")


def test_a_command_is_sent_under_one_key_however_often_it_is_sent() -> None:
    """The first try may have arrived: a second key would be a second wish."""
    played = Played(send(), GONE, problem(503, "unavailable"), heard(502), heard(202, ACCEPTED))
    assert played.result == CommandAnswer(command_id=ID, type="Count", stream="tally-a", status="accepted")
    keys = {ask.headers["Idempotency-Key"] for ask in played.asked}
    assert len(played.asked) == 4 and len(keys) == 1 and "" not in keys
    assert {(ask.method, ask.path, ask.body) for ask in played.asked} == {("POST", "/commands/Count", b'{"tally_id":"a"}')}
    assert len({Played(send(), heard(202, ACCEPTED)).asked[0].headers["Idempotency-Key"] for _ in range(100)}) == 100
    assert Played(send(idempotency_key="mine"), heard(202, ACCEPTED)).asked[0].headers["Idempotency-Key"] == "mine"


def test_a_command_of_the_domain_brings_its_name_and_its_fields() -> None:
    played = Played(send(command=Count("a", 2), data=None), heard(202, ACCEPTED))
    assert (played.asked[0].path, played.asked[0].body) == ("/commands/Count", b'{"tally_id":"a","by":2}')
    with pytest.raises(TypeError):
        Played(send(command=Count("a"), data={"by": 3}))


def test_pauses_are_as_long_as_asked_for_and_grow_else() -> None:
    later: list[Heard | Unavailable] = [problem(429, "overloaded", Retry_After="7"), *[GONE] * 9]
    played = Played(send(Manner({}, 30.0, 1_000.0)), *later, heard(202, ACCEPTED))
    assert played.pauses[0] == 7.0
    assert all(pause <= client_calls.PAUSE_SECONDS_MAX for pause in played.pauses[1:])
    assert played.pauses[-1] > played.pauses[1]


def test_trying_again_ends(clock: Callable[[float], None]) -> None:
    steps = send()
    next(steps)
    pause = steps.throw(GONE)
    for _ in range(1_000):
        assert isinstance(pause, Pause)
        clock(pause.seconds)
        next(steps)
        try:
            pause = steps.throw(GONE)
        except Unavailable as error:
            assert error is GONE
            return
    raise AssertionError("for ever")


def test_what_would_take_longer_than_patience_is_told_at_once() -> None:
    with pytest.raises(Unavailable) as told:
        Played(send(), problem(429, "overloaded", Retry_After="61"))
    assert (told.value.is_overload, told.value.retry_after_seconds) == (True, 61.0)
    with pytest.raises(Unavailable):
        Played(send(Manner({}, 30.0, 0.0)), GONE)


def test_only_what_may_be_asked_twice_is_asked_again() -> None:
    def call(method: str, is_repeatable: bool | None = None) -> Steps[Any]:
        return client_calls.call(MANNER, method, "/lanes", {"count": 2}, None, None, is_repeatable)

    assert Played(call("GET"), GONE, heard(200, [1])).result == [1]
    assert Played(call("PUT", True), GONE, heard(200, [1])).result == [1]
    for method in ("POST", "PUT", "DELETE"):
        with pytest.raises(Unavailable):
            Played(call(method), GONE)
        with pytest.raises(Unavailable):
            Played(call(method), problem(503, "unavailable"))


def test_who_waits_is_told_no_by_an_exception_that_is_the_domains() -> None:
    no = problem(409, "rejected", detail="too-many", code="too-many", details={"limit": 9}, command_id=ID)
    with pytest.raises(Rejected) as declined:
        Played(send(wait_seconds=5.0), no)
    assert isinstance(declined.value, Declined)
    assert (declined.value.code, declined.value.details, declined.value.command_id) == ("too-many", {"limit": 9}, ID)
    assert str(declined.value) == 'No: too-many {"limit": 9}'
    status = {**DECIDED, "status": "rejected", "rejection": {"code": "too-many", "details": {"limit": 9}}}
    with pytest.raises(Declined) as later:
        Played(client_calls.wait(MANNER, ID, 5.0), heard(200, status))
    assert (later.value.code, later.value.details, later.value.command_id) == ("too-many", {"limit": 9}, ID)
    assert Played(client_calls.outcome(MANNER, ID), heard(200, status)).result.status == "rejected"


def test_a_wait_goes_on_where_a_gateway_ended_it(clock: Callable[[float], None]) -> None:
    """One that is told to stop answers 202 at once; and none waits longer than 30 s."""
    steps = send(wait_seconds=50.0)
    ask = next(steps)
    assert isinstance(ask, Ask) and (ask.headers["Prefer"], ask.timeout_seconds) == ("wait=30", 80.0)
    clock(20.0)
    ask = steps.send(heard(202, ACCEPTED))
    assert isinstance(ask, Ask) and (ask.method, ask.path, ask.headers["Prefer"]) == ("GET", f"/commands/{ID}", "wait=30")
    clock(29.5)
    assert isinstance(steps.send(heard(200, {**DECIDED, "status": "pending"})), Pause)
    ask = next(steps)
    assert isinstance(ask, Ask) and ask.headers["Prefer"] == "wait=0.5"
    with pytest.raises(StopIteration) as end:
        steps.send(heard(200, DECIDED))
    assert end.value.value.status == "succeeded"


def test_a_wait_that_is_over_says_what_is_known(clock: Callable[[float], None]) -> None:
    steps = send(wait_seconds=2.0)
    next(steps)
    clock(2.0)
    with pytest.raises(StopIteration) as end:
        steps.send(heard(202, ACCEPTED))
    assert (end.value.value.status, end.value.value.is_decided) == ("accepted", False)


def test_problems_are_told_by_what_to_do_next() -> None:
    def refused(answer: Heard) -> Refused:
        with pytest.raises(Refused) as caught:
            Played(send(expected_version=3), answer)
        return caught.value

    assert isinstance(refused(problem(412, "stream-moved")), StreamMoved)
    malformed = refused(problem(400, "malformed", errors=[{"pointer": "/by", "detail": "no"}]))
    assert (malformed.kind, malformed.status, str(malformed)) == ("malformed", 400, "No: because at /by")
    bodies: list[Any] = [None, {}, [], {"detail": 1}, {"type": "/problems/x"}]
    for status, body in zip((404, 200, 301, 500, 404), bodies, strict=True):
        elsewhere = refused(heard(status, body))
        assert (elsewhere.kind, str(elsewhere)) == ("", f"POST /commands/Count was answered {status}")


def test_a_row_that_is_not_there_is_none_and_one_that_is_late_is_an_error() -> None:
    def get(**named: Any) -> Steps[Any]:
        given = {"view": "tallies", "key": "a/b", "after": None, "wait_seconds": None, "lenient": False}
        return client_calls.get(MANNER, **(given | named))

    row = heard(200, {"count": 1}, View_Position="7", View_Lag="0.5", ETag='"1-7"')
    found = Played(get(after=ID, wait_seconds=3, lenient=True), row)
    assert (found.result.row, found.result.position, found.result.lag_seconds, found.result.etag) == (
        {"count": 1},
        7,
        0.5,
        '"1-7"',
    )
    assert found.asked[0].path == "/views/tallies/a%2Fb"
    assert found.asked[0].headers["Consistency-Token"] == ID
    assert found.asked[0].headers["Prefer"] == "wait=3, handling=lenient"
    assert Played(get(after=7), heard(200, {})).asked[0].headers["Consistency-Token"] == "7"
    assert Played(get(), problem(404, "no-such-row")).result.row is None
    for answer in (problem(404, "unknown-view"), heard(404)):
        with pytest.raises(Refused):
            Played(get(), answer)
    with pytest.raises(Refused, match="GET /views/tallies/a%2Fb was answered 200"):
        Played(get(), heard(200, [1]))
    with pytest.raises(ViewBehind) as late:
        Played(get(after=ID), problem(503, "view-behind", state="parked"))
    assert late.value.state == "parked"


def test_pages_are_followed_by_their_cursors() -> None:
    steps = client_calls.pages(MANNER, "tallies", {"colour": "red"}, "-count", 2, None, None, False)
    played = Played(steps, heard(200, {"items": [{"a": 1}], "next": "c+/="}), GONE, heard(200, {"items": [], "next": None}))
    assert [type(page) for page in played.given] == [PageAnswer, PageAnswer]
    assert [ask.path for ask in played.asked] == [
        "/views/tallies?colour=red&order=-count&limit=2",
        *["/views/tallies?colour=red&order=-count&limit=2&cursor=c%2B%2F%3D"] * 2,
    ]


def test_a_query_says_values_as_json_does_and_ranges_half_open() -> None:
    where = {
        "status": "a&b ü",
        "is_open": True,
        "lines": (1, 9),
        "total": (None, 2.5),
        "at": (datetime(2010, 12, 1, tzinfo=UTC), None),
        "day": date(2010, 12, 1),
    }
    assert query_of(where) == (
        "?status=a%26b%20%C3%BC&is_open=true&lines.from=1&lines.to=9&total.to=2.5&at.from=2010-12-01T00%3A00%3A00Z&day=2010-12-01"
    )
    assert query_of({}) == query_of(None, order=None) == ""


def test_what_no_header_can_hold_is_refused_before_it_is_sent() -> None:
    with pytest.raises(Malformed):
        Played(send(idempotency_key="a\r\nEvil: 1"))
    assert Played(send(idempotency_key="ключ"), heard(202, ACCEPTED)).asked[0].headers["Idempotency-Key"] == "ключ"


def test_both_clients_offer_the_same_calls() -> None:
    public = {name for name in dir(Gateway) if not name.startswith("_")}
    assert public == {name for name in dir(AsyncGateway) if not name.startswith("_")}
    for name in {"__init__", *public}:
        blocking, awaited = signature(getattr(Gateway, name)), signature(getattr(AsyncGateway, name))
        assert blocking.parameters == awaited.parameters, name
        given = blocking.return_annotation.replace(", None, None]", ", None]")  # of an asynchronous generator nothing is returned
        assert str(awaited.return_annotation).removeprefix("Async") == given, name


def test_answers_may_grow() -> None:
    grown = {**DECIDED, "events": [{"position": 7, "version": 1, "type": "Counted", "new": 1}], "new": 1}
    answer = Played(send(), heard(200, grown)).result
    assert answer.events[0].type == "Counted"
    assert msgspec.to_builtins(answer)["events"] == [{"position": 7, "version": 1, "type": "Counted"}]
