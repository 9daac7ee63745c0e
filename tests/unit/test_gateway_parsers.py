"""Whatever reads a client's bytes at the door takes a time in proportion to them: no request can be made to hurt."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from twofold.gateway.commands.bulk import ITEMS_MAX, item_of, split
from twofold.gateway.http.headers import expected_version_of, is_seen, preferences_of, token_of
from twofold.gateway.http.problem import Problem
from twofold.gateway.http.request import BULK_BYTES_MAX, COMMAND_BYTES_MAX
from twofold.gateway.http.server import LINE_BYTES_MAX
from twofold.kernel.codec import Codec, encode
from twofold.kernel.domain import load_domain
from twofold.kernel.errors import Malformed
from twofold.kernel.rows import Query
from twofold.readmodels.schema.columns import Columns
from twofold.readmodels.schema.query import checked_query

SHOP = load_domain("twofold.shop")
CODEC = Codec(SHOP)
ORDERS = SHOP.views["orders"]

PIECES = [
    *(
        b'"',
        b'\\"',
        b"\\",
        b"[",
        b"]",
        b"{",
        b"}",
        b":",
        b",",
        b" ",
        b"\n",
        b"0",
        b"-",
        b"e",
        b"a",
        b"\\u0000",
        b"\\u00",
        b"`",
        b"\xc3",
        b".",
    ),
    *(
        b".",
        b'{"a":',
        b'"a":1,',
        b" - at `$",
        b"unknown field `",
        b".x[...]",
        b"[0]",
        b'{"type":"',
        b'"},',
        b"=",
        b";",
        b"wait",
        b"W/",
    ),
]
"""What the languages spoken at the door are made of, and what their parsers' messages are."""

SECONDS_A_MEGABYTE = 2.0
"""Of processor time. A parser that is in proportion needs some 0.02; one that is not, minutes."""


def text(prefix: list[bytes], unit: list[bytes], suffix: list[bytes], size: int) -> bytes:
    """So large: a beginning, something over and over, an end."""
    begin, middle, end = b"".join(prefix), b"".join(unit), b"".join(suffix)
    return (begin + middle * (size // len(middle)))[: size - len(end)] + end


def decode_command(body: bytes) -> None:
    with suppress(Malformed):
        CODEC.fingerprint("PlaceOrder", encode(CODEC.command("PlaceOrder", body)))


def decode_items(media_type: str) -> Callable[[bytes], None]:
    def decode(body: bytes) -> None:
        with suppress(Malformed):
            for text in split(media_type, body):
                with suppress(Malformed, Problem):
                    decode_command(bytes(item_of(text).data))

    return decode


def read_headers(line: bytes) -> None:
    value = line.decode("latin-1")
    for read in (preferences_of, token_of, expected_version_of):
        with suppress(Malformed):
            read({"Prefer": value, "Consistency-Token": value, "If-Match": value})
    is_seen(value, '"1-1"')


def open_cursor(line: bytes) -> None:
    with suppress(Malformed):
        checked_query(ORDERS, Columns(ORDERS), Query(cursor=line.decode("latin-1")))


PARSERS = {
    "command": (decode_command, COMMAND_BYTES_MAX),
    "array of commands": (decode_items("application/json"), BULK_BYTES_MAX),
    "lines of commands": (decode_items("application/x-ndjson"), BULK_BYTES_MAX),
    "headers": (read_headers, LINE_BYTES_MAX),
    "cursor": (open_cursor, LINE_BYTES_MAX),
}
pieces = st.lists(st.sampled_from(PIECES), max_size=3)


def is_longer(parse: Callable[[bytes], None], body: bytes, seconds: float) -> bool:
    """Than these, of processor time, each of three times: a busy machine makes one slow, a parser that is slow all of them."""
    for _ in range(3):
        began = time.process_time()
        parse(body)
        if time.process_time() - began < seconds:
            return False
    return True


@pytest.mark.parametrize(
    "body",
    [
        b"[" * 33 + b'"' + b'\\"' * 130_000,
        b'{"' + b" - at `$" * 32_000 + b'":1}',
        b"[" * 260_000,
        b'{"a":' * 50_000,
        b'{"order_id":"' + b"\\u0000" * 40_000 + b'"}',
    ],
    ids=["unterminated string", "an unknown field named like a path", "brackets", "objects", "NUL"],
)
def test_no_command_takes_long_to_be_refused(body: bytes) -> None:
    assert not is_longer(decode_command, body, SECONDS_A_MEGABYTE / 4)


@pytest.mark.parametrize(("parse", "bytes_max"), PARSERS.values(), ids=PARSERS)
def test_every_parser_at_the_door_takes_time_in_proportion(parse: Callable[[bytes], None], bytes_max: int) -> None:
    @settings(max_examples=40, deadline=None)
    @given(prefix=st.lists(st.sampled_from(PIECES), max_size=40), unit=pieces.filter(bool), suffix=pieces)
    def prove(prefix: list[bytes], unit: list[bytes], suffix: list[bytes]) -> None:
        body = text(prefix, unit, suffix, bytes_max)
        assert not is_longer(parse, body, 0.1 + SECONDS_A_MEGABYTE * len(body) / 1e6)

    prove()


@pytest.mark.parametrize("media_type", ["application/json", "application/x-ndjson"])
@pytest.mark.parametrize("count", [0, 1, 999, 1_000, 1_001, 5_000])
def test_so_many_commands_fit_into_one_request(media_type: str, count: int) -> None:
    item = b'{"type":"PlaceOrder","data":{}}'
    body = b"[" + b",".join([item] * count) + b"]" if media_type == "application/json" else (item + b"\n\n") * count
    if count <= ITEMS_MAX:
        assert split(media_type, body) == [item] * count
    else:
        with pytest.raises(Malformed, match="at most 1000"):
            split(media_type, body)
