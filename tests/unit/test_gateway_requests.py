"""What a request may say, word by word: its host, its origin, its media type, its query, its body; and who is told no."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, cast
from unittest.mock import Mock

import pytest
from aiohttp import StreamReader, web
from aiohttp.base_protocol import BaseProtocol
from aiohttp.test_utils import make_mocked_request

from twofold.gateway.http import headers, request
from twofold.gateway.http.headers import Door, Preferences, is_address, media_type_of, name_of, printable, wants_events
from twofold.gateway.http.operation import COUNT, NUMBER_MAX, TEXT, Parameter
from twofold.gateway.http.problem import PROBLEM_TYPES, Problem, problem_of, unavailable
from twofold.gateway.http.request import Bodies, Params, path_text, storable, view_of
from twofold.kernel.domain import load_domain
from twofold.kernel.errors import Conflict, Malformed, Neighbour, Rejected, Unavailable

SHOP = load_domain("twofold.shop")
JSON, NDJSON = "application/json", "application/x-ndjson"
SECONDS_MAX = 10.0


def asked(method: str = "GET", path: str = "/x", **named: str) -> web.Request:
    return make_mocked_request(method, path, headers={name.replace("_", "-"): value for name, value in named.items()})


def refused(ask: Callable[[], Any]) -> str | None:
    """By which problem; None when it is not."""
    try:
        ask()
    except Problem as problem:
        return problem.type.name
    except Malformed as malformed:
        return malformed.detail
    return None


@pytest.mark.parametrize(
    ("host", "name"),
    [("shop.example:8080", "shop.example"), ("SHOP.example.", "shop.example"), ("[::1]:80", "::1"), ("[::1]", "::1"), ("", "")],
)
def test_the_name_in_a_host_header(host: str, name: str) -> None:
    assert name_of(host) == name


def test_addresses_are_told_from_names() -> None:
    assert [is_address(name) for name in ("127.0.0.1", "::1", "1.2.3", "a.b")] == [True, True, False, False]


@pytest.mark.parametrize(
    ("allowed", "host", "is_let_in"),
    [
        ("", "gateway:8080", True),
        ("", "127.0.0.1:8080", True),
        ("", "[::1]:8080", True),
        ("", "a.localhost", True),
        ("", "localhost", True),
        ("", "localhost.example", False),
        ("", "shop.example", False),
        ("", "", False),
        ("other.example, Shop.example ,", "shop.example:80", True),
        ("shop.example", "a.shop.example", False),
        ("*.shop.example", "a.b.shop.example", True),
        ("*.shop.example", "a.shop.example", True),
        ("*.shop.example", "shop.example", False),
        ("*", "any.thing.example", True),
    ],
)
def test_who_is_called_by_a_name_that_is_not_ours_answers_nothing(allowed: str, host: str, is_let_in: bool) -> None:
    """A name of somebody else's may be bound to this address."""
    door = Door(allowed)
    for _ in range(2):
        assert refused(lambda: door.check(asked(Host=host))) == (None if is_let_in else "unknown-host")
    assert (host in door._known) is is_let_in


def test_only_so_many_names_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(headers, "REMEMBERED_MAX", 2)
    door = Door()
    for host in ("a", "b", "c", "c"):
        door.check(asked(Host=host))
    assert door._known == {"a", "b"}
    assert refused(lambda: door.check(make_mocked_request("GET", "/", headers={}))) is None
    with pytest.raises(Problem) as problem:
        door.check(asked(Host="x" * 150 + ".y"))
    assert f"'{'x' * 100}'" in problem.value.detail


@pytest.mark.parametrize(
    ("method", "named", "problem"),
    [
        ("GET", {"Sec_Fetch_Site": "cross-site"}, None),
        ("HEAD", {"Origin": "http://evil"}, None),
        ("POST", {"Sec_Fetch_Site": "cross-site"}, "cross-site"),
        ("POST", {"Sec_Fetch_Site": "same-site", "Origin": "http://shop"}, "cross-site"),
        ("POST", {"Sec_Fetch_Site": "same-origin", "Origin": "http://evil"}, None),
        ("POST", {"Sec_Fetch_Site": "none"}, None),
        ("POST", {"Origin": "http://evil"}, "cross-site"),
        ("POST", {"Origin": "http://shop"}, None),
        ("POST", {"Origin": ""}, None),
        ("POST", {"Content_Type": "text/plain"}, "unsupported-media-type"),
        ("POST", {"Content_Type": NDJSON}, None),
        ("DELETE", {"Content_Type": "text/plain"}, None),
        ("DELETE", {"Origin": "http://evil"}, "cross-site"),
    ],
)
def test_a_page_of_another_site_changes_nothing(method: str, named: dict[str, str], problem: str | None) -> None:
    said = asked(method, **({"Host": "shop", "Content_Type": JSON} | named))
    assert refused(lambda: Door().check(said)) == problem


def test_where_there_is_no_route_that_is_what_is_said() -> None:
    said = asked("POST", Host="shop", Content_Type="text/plain")
    lost = web.HTTPNotFound()

    class Lost:
        http_exception = lost

    said._match_info = Lost()  # type: ignore[assignment]
    assert refused(lambda: Door().check(said)) is None


@pytest.mark.parametrize(
    ("declared", "read"),
    [
        (JSON, JSON),
        ("Application/JSON; charset=UTF-8", JSON),
        ('application/json;charset="utf-8"', JSON),
        (NDJSON, NDJSON),
        ("application/json; charset=latin-1", None),
        ("text/plain", None),
        ("", None),
        ("text/plain; charset=utf-8", None),
    ],
)
def test_a_body_says_what_it_is(declared: str, read: str | None) -> None:
    for encoding in ({}, {"Content-Encoding": "Identity"}):
        said = {"Content-Type": declared} | encoding
        assert refused(lambda said=said: media_type_of(said, JSON, NDJSON)) == (None if read else "unsupported-media-type")  # type: ignore[misc]
        if read:
            assert media_type_of(said, JSON, NDJSON) == read
    assert refused(lambda: media_type_of({"Content-Type": JSON, "Content-Encoding": "gzip"}, JSON)) == "unsupported-media-type"


def test_who_wants_events_says_so_and_reads() -> None:
    accept = {"Accept": "text/html, text/event-stream;q=1"}
    assert [wants_events("GET", accept), wants_events("POST", accept), wants_events("GET", {})] == [True, False, False]


def test_what_was_honoured_is_said() -> None:
    found = [Preferences(), Preferences(2.5), Preferences(None, True), Preferences(3.0, True)]
    assert [one.applied() for one in found] == ["", "wait=2.5", "handling=lenient", "wait=3, handling=lenient"]
    assert [printable("K", text) for text in (None, "a", "x" * 200)] == [None, "a", "x" * 200]
    for text in ("", "x" * 201, "a\n"):
        with pytest.raises(Malformed, match="K must be 1 to 200"):
            printable("K", text)


@pytest.mark.parametrize("char", ["\0", "\ud800", "\udfff", "\udc00"])
def test_half_a_character_is_stored_by_nobody(char: str) -> None:
    with pytest.raises(Malformed, match="K holds a character"):
        storable("K", f"a{char}")
    assert storable("K", "\ud7ff\ue000") == "\ud7ff\ue000" and storable("K", "ab", 2) == "ab"
    with pytest.raises(Malformed, match="longer than 2"):
        storable("K", "abc", 2)


NAME = Parameter("query", "name", "", TEXT)
MANY = Parameter("query", "many", "", TEXT)
NUMBER = Parameter("query", "number", "", COUNT | {"minimum": 1, "maximum": 5})
OPEN = Parameter("query", "open", "", COUNT)
HEADER = Parameter("header", "Prefer", "", TEXT)
KNOWN = (NAME, MANY, NUMBER, OPEN, HEADER)


def params(query: str) -> Params:
    return Params(asked(path=f"/x?{query}"), *KNOWN, repeatable=MANY)


@pytest.mark.parametrize(
    ("query", "detail"),
    [
        ("name=a&number=3", None),
        ("", None),
        ("many=a&many=b", None),
        ("name=a&name=b", "the parameter name is given more than once"),
        ("other=1", "there is no parameter 'other'; those are: name, many, number, open"),
        ("Prefer=1", "there is no parameter 'Prefer'; those are: name, many, number, open"),
    ],
)
def test_a_query_holds_what_there_is_each_once(query: str, detail: str | None) -> None:
    assert refused(lambda: params(query)) == detail


def test_where_no_parameter_is_taken_that_is_said() -> None:
    with pytest.raises(Malformed, match="'a'; those are: none") as no:
        Params(asked(path="/x?a=1"))
    assert no.value.pointer == "/a"
    with pytest.raises(Malformed) as twice:
        Params(asked(path="/x?name=1&name=2"), NAME)
    assert twice.value.pointer == "/name"
    with pytest.raises(Malformed, match="more than once"):
        Params(asked(path="/x?name=1&name=2"), NAME, repeatable=MANY)


def test_parameters_are_read() -> None:
    read = params("name=a&many=a,+b&many=,c&number=5&open=0")
    assert (read.text(NAME), read.texts(MANY), read.number(NUMBER, 2), read.number_or_none(OPEN)) == ("a", ["a", "b", "c"], 5, 0)
    none = params("")
    assert (none.text(NAME), none.texts(MANY), none.number(NUMBER, 2), none.number_or_none(OPEN), none.time(NAME)) == (
        None,
        [],
        2,
        None,
        None,
    )
    assert params("number=1").number(NUMBER, 2) == 1
    assert params(f"open={NUMBER_MAX}").number_or_none(OPEN) == NUMBER_MAX
    for query in ("number=0", "number=6", "number=-1", "number=1.5", "number=x", "number=", f"number={'1' * 20}"):
        with pytest.raises(Malformed, match="number must be a whole number from 1 to 5"):
            params(query).number(NUMBER, 2)
    with pytest.raises(Malformed):
        params(f"open={NUMBER_MAX + 1}").number_or_none(OPEN)


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2026-01-31T12:00:00Z", "2026-01-31T12:00:00+00:00"),
        ("2026-01-31T12:00:00+02:00", "2026-01-31T10:00:00+00:00"),
        ("2026-01-31T12:00:00%2B02:00", "2026-01-31T10:00:00+00:00"),
        ("2026-01-31T12:00:00", "name needs a time zone, like 2026-01-31T12:00:00Z"),
        ("0001-01-01T00:00:00%2B10:00", "name must be a time like 2026-01-31T12:00:00Z"),
        ("today", "name must be a time like 2026-01-31T12:00:00Z"),
    ],
)
def test_a_time_has_a_zone(text: str, moment: str) -> None:
    try:
        read = params(f"name={text}").time(NAME)
    except Malformed as no:
        assert no.detail == moment
        return
    assert read is not None and read.isoformat() == moment


def test_paths_name_what_there_is() -> None:
    there = make_mocked_request("GET", "/x", match_info={"view": "orders", "key": "k" * 11})
    assert view_of(there, SHOP) is SHOP.views["orders"]
    assert path_text(there, Parameter("path", "key", "", TEXT)) == "k" * 11
    with pytest.raises(Malformed, match="longer than 10"):
        path_text(there, Parameter("path", "key", "", TEXT | {"maxLength": 10}))
    with pytest.raises(Problem, match="those there are: .*orders") as no:
        view_of(make_mocked_request("GET", "/x", match_info={"view": "none"}), SHOP)
    assert no.value.type.name == "unknown-view"


async def body_of(*chunks: bytes, bodies: Bodies | None = None, bytes_max: int = 10, declared: int | None = None) -> bytes:
    """What is read of a request whose body comes in these pieces, one after the other."""
    reader = StreamReader(cast(BaseProtocol, Mock(_reading_paused=False)), 2**16)
    named = {} if declared is None else {"Content-Length": str(declared)}
    said = make_mocked_request("POST", "/x", headers=named, payload=reader)

    async def send() -> None:
        for chunk in chunks:
            await asyncio.sleep(0)
            reader.feed_data(chunk)
        reader.feed_eof()

    sending = asyncio.create_task(send())
    try:
        return await (bodies or Bodies()).read(said, bytes_max)
    finally:
        await sending


async def test_a_body_is_read_up_to_its_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    assert await body_of(b"12345", b"67890", declared=10) == b"1234567890"
    for chunks, declared in (((b"12345", b"678901"), None), ((), 11)):
        with pytest.raises(Problem, match="larger than 10 bytes") as large:
            await body_of(*chunks, declared=declared)
        assert (large.value.type.name, large.value.headers) == ("too-large", {"Connection": "close"})
    whole = StreamReader(cast(BaseProtocol, Mock(_reading_paused=False)), 2**16)
    whole.feed_data(b"1234567890")
    whole.feed_eof()
    assert await Bodies().read(make_mocked_request("POST", "/x", payload=whole), 10) == b"1234567890"
    whole = StreamReader(cast(BaseProtocol, Mock(_reading_paused=False)), 2**16)
    whole.feed_data(b"1234567890")
    whole.feed_eof()
    with pytest.raises(Problem, match="larger than 9 bytes"):
        await Bodies().read(make_mocked_request("POST", "/x", payload=whole), 9)
    monkeypatch.setattr(request, "BODY_SECONDS_MAX", 0.01)
    slow = StreamReader(cast(BaseProtocol, Mock(_reading_paused=False)), 2**16)
    with pytest.raises(Problem, match="did not arrive") as late:
        await Bodies().read(make_mocked_request("POST", "/x", payload=slow), 10)
    assert (late.value.type.name, late.value.headers) == ("too-slow", {"Connection": "close"})


async def test_large_bodies_share_what_there_is_and_small_ones_need_none(monkeypatch: pytest.MonkeyPatch) -> None:
    """And what one has taken is given back, however it ends."""
    monkeypatch.setattr(request, "BODY_BYTES_FREE", 4)
    monkeypatch.setattr(request, "BODIES_BYTES_MAX", 6)
    bodies = Bodies()
    assert await body_of(b"12345", b"67890", bodies=bodies) == b"1234567890", "four are free, and six are left"
    assert bodies._bytes_left == 6
    with pytest.raises(Problem) as full:
        await body_of(b"12345", b"678901", bodies=bodies, bytes_max=20)
    assert (full.value.type.name, full.value.headers) == ("overloaded", {"Connection": "close", "Retry-After": "1"})
    assert full.value.cause is not None and full.value.cause.is_overload and full.value.cause.neighbour is Neighbour.GATEWAY
    assert bodies._bytes_left == 6
    bodies._bytes_left = 0
    assert await body_of(b"12", b"34", bodies=bodies) == b"1234"
    with pytest.raises(Problem):
        await body_of(b"12", b"345", bodies=bodies)
    assert request.COMMAND_BYTES_MAX > 64 * 1024 > request.BODY_BYTES_FREE


@pytest.mark.parametrize(
    ("error", "status", "name"),
    [
        (Malformed("d", "/p"), 400, "malformed"),
        (Rejected("no"), 409, "rejected"),
        (Unavailable(Neighbour.LOG, "away"), 503, "unavailable"),
        (Unavailable(Neighbour.LOG, "away", is_overload=True), 429, "overloaded"),
        (Conflict(), None, "conflict"),
        (web.HTTPRequestEntityTooLarge(1, 2), 413, "too-large"),
        (web.HTTPNotFound(), 404, "not-found"),
        (web.HTTPMethodNotAllowed("PUT", ["GET"]), 405, "method-not-allowed"),
        (web.HTTPUnsupportedMediaType(), 415, "unsupported-media-type"),
        (web.HTTPGone(), 410, "http"),
        (web.RequestPayloadError(), 400, "malformed"),
    ],
)
def test_every_error_is_a_problem_with_a_name(error: Exception, status: int | None, name: str) -> None:
    problem = problem_of(error)
    assert problem is not None
    assert (problem.type.name, problem.status) == (name, status or PROBLEM_TYPES[name].status)
    said = problem.response()
    assert (said.status, said.content_type) == (problem.status, "application/problem+json")
    assert bool(said.keep_alive is False) == (problem.headers.get("Connection") == "close")
    assert problem_of(ValueError()) is None and problem_of(problem) is problem


def test_how_soon_to_come_again_is_said_in_whole_seconds() -> None:
    found = [
        unavailable(Unavailable(Neighbour.LOG, "x", retry_after_seconds=one)).headers["Retry-After"] for one in (0.0, 1.0, 1.2)
    ]
    assert found == ["1", "1", "2"]
    allowed = problem_of(web.HTTPMethodNotAllowed("PUT", ["GET"]))
    assert allowed is not None and allowed.headers == {"Allow": "GET"}
