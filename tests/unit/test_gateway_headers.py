"""What requests may ask for, and what is refused before anything else happens."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from twofold.gateway.http.headers import Preferences, Token, expected_version_of, is_seen, preferences_of, printable, token_of
from twofold.gateway.http.request import storable
from twofold.kernel.errors import Malformed
from twofold.kernel.ids import command_id_for, new_command_id


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("wait=5", Preferences(5.0)),
        ("WAIT = 5", Preferences(5.0)),
        ('wait="0"', Preferences(0.0)),
        ("wait=0.25", Preferences(0.25)),
        ("wait=3600", Preferences(30.0)),
        ("respond-async, wait=2; fast, handling=lenient", Preferences(2.0, True)),
        ("handling=strict", Preferences(None, False)),
        ("return=minimal", Preferences()),
    ],
)
def test_preferences_are_read_bounded_and_ignored_when_unknown(text: str, expected: Preferences) -> None:
    assert preferences_of({"Prefer": text}) == expected


@pytest.mark.parametrize("text", ["wait=", "wait=-1", "wait=soon", "wait=nan", "wait=1e9", "wait=٣", "handling=maybe"])
def test_a_preference_that_cannot_be_understood_is_malformed(text: str) -> None:
    with pytest.raises(Malformed):
        preferences_of({"Prefer": text})


def test_a_token_is_a_position_or_a_command_id() -> None:
    minted, keyed = new_command_id(), command_id_for("anonymous", "k")
    assert token_of({}) is None
    assert token_of({"Consistency-Token": "17"}) == Token(17, None)
    assert token_of({"Consistency-Token": minted}) == Token(None, minted)
    assert token_of({"Consistency-Token": keyed}) == Token(None, keyed)


@pytest.mark.parametrize("text", ["", "-1", "1.5", "9223372036854775808", "²", "0b6f6c52-0000-1000-8000-000000000000", "x" * 36])
def test_anything_else_is_no_token(text: str) -> None:
    with pytest.raises(Malformed):
        token_of({"Consistency-Token": text})


@pytest.mark.parametrize("text", ["3", "*", 'W/"3"', '"3", "4"', '"x"', '"9223372036854775808"', '""'])
def test_an_expected_version_is_one_number_in_quotes(text: str) -> None:
    assert expected_version_of({"If-Match": '"3"'}) == 3
    with pytest.raises(Malformed):
        expected_version_of({"If-Match": text})


@given(st.text(max_size=300))
def test_a_key_is_printable_and_short_or_refused(text: str) -> None:
    if 0 < len(text) <= 200 and text.isprintable():
        assert printable("key", text) == text
    else:
        with pytest.raises(Malformed):
            printable("key", text)


@given(st.text(alphabet=st.characters(), max_size=1_100))
def test_whatever_passes_as_storable_can_be_encoded_and_has_no_nul(text: str) -> None:
    try:
        assert "\0" not in storable("key", text)
    except Malformed:
        assert len(text) > 1_000 or "\0" in text or any("\ud800" <= char <= "\udfff" for char in text)
    else:
        text.encode()


def test_entity_tags_are_compared_weakly() -> None:
    assert is_seen('"3"', '"3"')
    assert is_seen('"1", W/"3"', '"3"')
    assert is_seen("*", '"3"')
    assert not is_seen('"33"', '"3"')
    assert not is_seen(None, '"3"')


@pytest.mark.parametrize(
    ("text", "is_storable"),
    [("\ud7ff", True), ("\ud800", False), ("\udbff", False), ("\udfff", False), ("\ue000", True), ("\x01", True), ("a\0", False)],
)
def test_half_a_character_is_refused_from_the_first_to_the_last(text: str, is_storable: bool) -> None:
    if is_storable:
        assert storable("key", text) == text
    else:
        with pytest.raises(Malformed, match="key holds a character that cannot be stored"):
            storable("key", text)


def test_a_text_is_as_long_as_it_may_be() -> None:
    assert storable("key", "x" * 3, chars_max=3) == "xxx"
    with pytest.raises(Malformed, match="key is longer than 3 characters"):
        storable("key", "x" * 4, chars_max=3)
