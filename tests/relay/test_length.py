"""Where a reply that grows too long ends."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.length import ROOM, Length


def ended(limit: int, *pieces: str) -> tuple[str, bool]:
    """What is said of these pieces, and whether the reply was ended."""
    length = Length(limit)
    said, total = "", 0
    for piece in pieces:
        total += len(piece)
        fits = length.fit(said, piece, total) if total > length.free else None
        if fits is not None:
            return said + piece[:fits], True
        said += piece
    return said, False


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a" * 60 + " b. c d e. " + "f" * 60, "a" * 60 + " b."),
        ("a" * 60 + ' he said "no!" and ' + "f" * 60, "a" * 60 + ' he said "no!"'),
        ("a" * 60 + " about 3.5 of " + "f" * 60, "a" * 60 + " about 3.5 of"),
        ("你好" * 35 + "。再见" * 40, "你好" * 35 + "。"),
        ("word " * 30, ("word " * 20).strip()),
        ("w" * 300, "w" * 100),
        (" " + "w" * 300, " " + "w" * 99),
    ],
    ids=["sentence", "quoted", "no sentence", "Chinese", "word", "one word", "one word after a space"],
)
def test_a_long_text_in_one_piece(text: str, said: str) -> None:
    """At the first sentence that ends in the room before the limit, else at a word, else anywhere."""
    assert ended(100, text) == (said, True)


def test_a_sentence_before_the_room_is_no_end() -> None:
    """The reply may be nearly as long as allowed."""
    text = "One. " * 9 + "and on " * 30
    said, over = ended(100, text)
    assert over and 90 < len(said) <= 100


def test_a_text_that_fits_is_left_alone() -> None:
    """To the last character."""
    assert ended(100, "a" * 95 + " end.") == ("a" * 95 + " end.", False)
    assert ended(100, "a" * 60, " end.", " More.") == ("a" * 60 + " end.", True)


def test_a_word_that_is_too_long_for_what_is_left() -> None:
    """It is not said; what was said stands."""
    assert ended(100, "a b " * 10, " " + "w" * 300) == ("a b " * 10, True)


def test_nothing_is_looked_at_until_the_end_is_near() -> None:
    """The path of a token costs one comparison."""
    assert Length(4000).free == 4000 - ROOM
    assert Length(1).free == 1


@given(
    st.lists(st.sampled_from(["a", " word", " end.", ". ", "。", "\n", " " * 30, "w" * 70, " x" * 200]), max_size=60),
    st.integers(1, 300),
)
def test_no_reply_is_longer_than_its_limit(pieces: list[str], limit: int) -> None:
    """Nor is one ended that is short enough to go on; what is said is what was written, up to there."""
    text = "".join(pieces)
    said, over = ended(limit, *pieces)
    assert text.startswith(said)
    assert len(said) <= limit
    assert over or said == text
    if len(text) <= limit // 2:
        assert not over
