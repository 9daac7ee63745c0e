"""What a word is, and how it is shown: the same wherever rows are kept."""

from __future__ import annotations

import time
from unicodedata import normalize

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.contract.searches import ARTICLES, Article
from twofold.readmodels.schema.highlights import PIECES_MAX, highlights
from twofold.readmodels.schema.words import WORD_BYTES_MAX, WORDS_MAX, Term, searched_words, terms_of, words_of


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("White T-LIGHT holder, 12.50", ["white", "t", "light", "holder", "12", "50"]),
        ("Crème brûlée", ["creme", "brulee"]),
        ("Straße ŁÓDŹ Ǆ ﬁn", ["strasse", "łodz", "dz", "fin"]),
        ("snake_case a'b \u0301 ½", ["snake", "case", "a", "b", "1", "2"]),
        ("हिन्दी", ["हनद"]),
        ("", []),
        ("a" * 100, ["a" * WORD_BYTES_MAX]),
    ],
)
def test_words_are_runs_of_letters_and_digits_without_case_and_accents(text: str, words: list[str]) -> None:
    assert list(words_of(text)) == words


def test_a_question_is_words_and_prefixes_each_once() -> None:
    assert terms_of('Heart* "white" heart* OR -white') == (Term("heart", True), Term("white"), Term("or"))
    assert terms_of('*** ( ) "') == ()


@given(st.text())
def test_what_is_written_is_found_by_itself_however_it_is_spelt(text: str) -> None:
    """Composed or not, in capitals or not; and every word is one that a store can be given in quotes."""
    words = list(words_of(text))
    assert list(words_of(normalize("NFD", text))) == list(words_of(normalize("NFC", text)))
    assert {term.word for term in terms_of(text)} == set(words)
    assert all(word and len(word.encode()) <= WORD_BYTES_MAX and not set(word) & set("'\"\\ \0") for word in words)


@given(st.text(max_size=300), st.text(min_size=1, max_size=3))
def test_highlights_are_the_text_itself_escaped_with_marks(text: str, q: str) -> None:
    """Whatever is in a row: what is shown between the marks is in the text, and no mark-up but ours is shown."""
    terms = terms_of(q)
    [shown] = highlights(ARTICLES, [Article("a", text)], lambda word: any(term.is_met_by(word) for term in terms))
    is_met = any(term.is_met_by(word) for word in words_of(text) for term in terms)
    assert bool(shown) == is_met
    for piece in shown.get("title", []):
        plain = piece.replace("<em>", "").replace("</em>", "")
        assert "<" not in plain and ">" not in plain and piece.count("<em>") == piece.count("</em>") > 0


def test_pieces_are_short_and_few() -> None:
    body = " ".join(f"needle {'hay ' * 200}" for _ in range(20))
    [shown] = highlights(ARTICLES, [Article("a", "x", body)], lambda word: word == "needle")
    assert len(shown["body"]) == PIECES_MAX and all(len(piece) < 200 for piece in shown["body"])
    assert shown["body"][0].startswith("<em>needle</em> hay") and shown["body"][1].startswith("…")


def test_only_so_many_words_of_a_row_are_kept() -> None:
    assert len(searched_words(ARTICLES, Article("a", "one " * 20_000, "two"))) == WORDS_MAX
    assert searched_words(ARTICLES, Article("a", "One, two", None)) == ["one", "two"]


def test_marking_takes_time_by_the_length_of_a_text() -> None:
    started = time.monotonic()
    highlights(ARTICLES, [Article("a", "é a " * 100_000)] * 3, lambda word: word == "a")
    assert time.monotonic() - started < 5.0
