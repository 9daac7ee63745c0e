"""The newest rows of a view in memory: what is asked of the store is what is not there, and what is there is bounded."""

from __future__ import annotations

import msgspec
import pytest

import twofold.readmodels.projection.state
from twofold.kernel.rows import Row
from twofold.readmodels.projection.state import RowCache


class Counted(msgspec.Struct, frozen=True):
    name: str
    text: str = ""


def row(name: str, text: str = "") -> Row:
    return Row(name, Counted(name, text), 1)


def test_what_is_known_is_not_asked_for_again() -> None:
    """A busy row would be loaded with every page; and one known to be absent, too."""
    cache = RowCache()
    assert cache.missing(["a", "b"]) == ["a", "b"]
    cache.put({"a": row("a"), "b": None})
    assert cache.missing(["a", "c", "b"]) == ["c"]
    assert (cache.take("a"), cache.take("b")) == (row("a"), None)
    cache.forget()
    assert cache.missing(["a"]) == ["a"]


def test_what_was_used_longest_ago_goes_first(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever goes is loaded again with the next page that touches it."""
    monkeypatch.setattr(twofold.readmodels.projection.state, "CACHED_ROWS_MAX", 3)
    cache = RowCache()
    cache.put({name: row(name) for name in "abc"})
    cache.trim()
    assert cache.missing("abc") == []
    cache.take("a")
    cache.put({"d": row("d")})
    cache.trim()
    assert cache.missing("abcd") == ["b"]


def test_heavy_rows_are_fewer(monkeypatch: pytest.MonkeyPatch) -> None:
    """Twenty thousand rows of half a megabyte are more than a machine has."""
    monkeypatch.setattr(twofold.readmodels.projection.state, "CACHED_BYTES_MAX", 10_000)
    cache = RowCache()
    assert cache.rows_within(10_000) > 100
    for number in range(30):
        cache.put({str(number): row(str(number), "x" * 1_000)})
    cache.trim()
    kept = 30 - len(cache.missing(str(number) for number in range(30)))
    assert 5 <= kept <= 10 and cache.rows_within(1) == 1


def test_rows_that_grow_heavy_are_taken_for_heavy_at_once_and_for_light_again_slowly() -> None:
    """A page that is planned for rows of last week's weight takes memory for this week's."""
    cache = RowCache()
    cache.put({"light": row("light")})
    light = cache.rows_within(100_000)
    cache.put({"heavy": row("heavy", "x" * 10_000)})
    assert cache.rows_within(100_000) == 9
    cache.put({"light": row("light")})
    assert 9 < cache.rows_within(100_000) < 15 < light
