"""A reply of so many words at the most, as it is shown while it is written."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.word_limit import WordLimit, count_words

PIECES = st.lists(st.text("ab .!?…。 \n\"'語ñ", max_size=12), max_size=60)


def shown(pieces: list[str], most: int = 100) -> tuple[str, WordLimit]:
    limit = WordLimit(most)
    told = "".join([limit.feed(piece) for piece in pieces]) + limit.end()
    assert told == limit.text
    return told, limit


def sentences(count: int, words: int = 10) -> list[str]:
    return [" ".join([f"w{n}"] * words) + ". " for n in range(count)]


def test_a_short_reply_is_shown_as_it_comes() -> None:
    """At once and whole, but for space at its ends."""
    limit = WordLimit(100)
    assert [limit.feed(piece) for piece in ("  ", "Yes", ", b", "ut ", "no.", " \n")] == [
        "",
        "Yes",
        ", b",
        "ut",
        " no.",
        "",
    ]
    assert limit.end() == "" and limit.text == "Yes, but no."


def test_a_long_one_ends_behind_a_sentence() -> None:
    """The last that fits; nothing is shown of the next, however it is cut into pieces."""
    whole = "".join(sentences(30))
    for pieces in (sentences(30), list(whole), [whole]):
        assert shown(pieces)[0] == "".join(sentences(10)).strip()


def test_exactly_as_many_words() -> None:
    """A hundred are a hundred, also without a sentence's end."""
    for words in (99, 100):
        text = " ".join(["word"] * words)
        assert shown([f"{each} " for each in text.split()])[0] == text


def test_what_is_near_the_limit_waits_for_its_sentence() -> None:
    """Once there is room for few words only whole sentences are shown, so none has to be taken back."""
    limit = WordLimit(100)
    told = [limit.feed(piece) for piece in (*sentences(6), "One more ", "sentence", ". ", "And")]
    assert told[6:] == ["", "", " One more sentence.", ""]
    assert limit.end() == " And"


def test_a_sentence_without_end_is_cut_behind_a_word() -> None:
    """Where there is nothing else to end it with; an ellipsis shows it."""
    told, limit = shown([f"word{n} " for n in range(500)])
    assert told.endswith("word99…") and count_words(told) == 100 and limit.full
    assert limit.feed("more") == "" and limit.end() == ""


@pytest.mark.parametrize(
    ("text", "words"), [("", 0), ("Yes, but no.", 3), ("¿Qué tal?", 2), ("日本語です", 3), ("a 日本", 2)]
)
def test_words_are_counted(text: str, words: int) -> None:
    """By spaces; two characters are one where there are none."""
    assert count_words(text) == words


@given(PIECES, st.integers(1, 12))
def test_whatever_is_written(pieces: list[str], most: int) -> None:
    """Never more words than may be, always a beginning of what was written (but for the ellipsis), never space at an
    end; and all of it where it fits."""
    told, _ = shown(pieces, most)
    whole = "".join(pieces).strip()
    assert count_words(told) <= most
    assert told == told.strip()
    assert whole.startswith((told, re.sub("…$", "", told)))
    if count_words(whole) <= most:
        assert told == whole
