"""A reply that broke off and the one that takes it up are joined without a repeated, a lost or a halved word."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from phone.model import pieces
from relay.items import AssistantItem, NoteItem, UserItem
from relay.models.base import ModelRequest
from relay.models.seam import Seam, WholeWords, going_on


def joined(said: str, goes_on: str, unfinished: str = "") -> str:
    """What is said in all when an answer, in a model's pieces, follows what was said."""
    words, seam = WholeWords(), Seam(said, unfinished)
    new = [seam.feed(whole) for piece in pieces(goes_on) if (whole := words.feed(piece))]
    rest = words.rest()
    return said + "".join([*new, seam.feed(rest) if rest else "", seam.finish()])


SAID = "Hello, Ann. We open at nine "
WHOLE = "Hello, Ann. We open at nine and close at six."


@pytest.mark.parametrize(
    ("said", "goes_on", "expected"),
    [
        pytest.param(SAID, "and close at six.", WHOLE, id="goes on"),
        pytest.param(SAID, " and close at six.", WHOLE, id="goes on with its space"),
        pytest.param(SAID, WHOLE, WHOLE, id="replays the whole reply"),
        pytest.param(SAID, "We open at nine and close at six.", WHOLE, id="begins the sentence again"),
        pytest.param(SAID, "open at nine and close at six.", WHOLE, id="starts in the middle of the sentence"),
        pytest.param(SAID, "nine and close at six.", WHOLE, id="repeats the last word"),
        pytest.param(SAID, "…at NINE, and close at six.", SAID + "and close at six.", id="other marks and case"),
        pytest.param(SAID, "**Hello**, Ann! We open at nine and close at six.", WHOLE, id="other markup"),
        pytest.param(SAID, "We are closed on Sundays.", SAID + "We are closed on Sundays.", id="only begins alike"),
        pytest.param(SAID, "", SAID, id="writes nothing"),
        pytest.param(SAID, "Hello, Ann. We open", SAID, id="ends within what was said"),
        pytest.param(
            "We open at nine.", "And close at six.", "We open at nine. And close at six.", id="a new sentence"
        ),
        pytest.param("We open at nine.", "We open at nine.", "We open at nine.", id="nothing but a replay"),
        pytest.param("Dial 5 5 ", "5 1 2.", "Dial 5 5 5 1 2.", id="an equal digit follows"),
        pytest.param("no no ", "no no no yes", "no no no yes", id="the longest repetition"),
        pytest.param("", "Hello there.", "Hello there.", id="nothing was said"),
        pytest.param("我们九点", "开门。", "我们九点开门。", id="a script without spaces"),
        pytest.param("我们九点", "我们九点开门。", "我们九点开门。", id="replayed in it"),
        pytest.param("谢", "谢你。", "谢谢你。", id="an equal character follows"),
        pytest.param("你好。", "再见。", "你好。再见。", id="a new sentence in it"),
    ],
)
def test_a_reply_is_taken_up_where_it_broke_off(said: str, goes_on: str, expected: str) -> None:
    assert joined(said, goes_on) == expected


WORDS = st.lists(st.sampled_from(["ab", "cd", "ef", "gh", "ij", "kl"]), min_size=1, max_size=12)


@given(WORDS, st.integers(0, 12))
def test_a_replay_of_the_whole_reply_adds_what_is_missing(words: list[str], cut: int) -> None:
    """However often words come again in it."""
    said = "".join(f"{word} " for word in words[:cut])
    assert joined(said, " ".join(words)).split() == words


@given(
    st.permutations(["one", "two", "three", "four", "five", "six", "seven", "eight"]),
    st.integers(0, 8),
    st.integers(0, 8),
)
def test_from_whatever_word_it_starts_again(words: list[str], cut: int, start: int) -> None:
    said = "".join(f"{word} " for word in words[:cut])
    assert joined(said, " ".join(words[min(start, cut) :])).split() == words


@given(st.text(alphabet="ab .,\n你好", max_size=40), st.data())
def test_words_are_let_go_whole(text: str, data: st.DataObject) -> None:
    """Whatever the pieces, what was let go at any moment ends at a word's end, and nothing is lost."""
    words, gone, position = WholeWords(), "", 0
    while position < len(text):
        size = data.draw(st.integers(1, len(text) - position))
        gone += words.feed(text[position : position + size])
        position += size
        assert not gone or gone[-1].isspace() or gone[-1] in "你好" or text[len(gone) :][:1].isspace()
    assert gone + words.rest() == text


@pytest.mark.parametrize(("held", "kept"), [("nine.", "nine."), ("nine?”", "nine?”"), ("ni", ""), ("$9,", "")])
def test_a_last_word_is_kept_only_if_it_ends_a_sentence(held: str, kept: str) -> None:
    words = WholeWords()
    words.feed(f"at {held}")
    assert words.broken_off() == (kept, "" if kept else held)


@pytest.mark.parametrize(
    ("unfinished", "goes_on", "expected"),
    [
        pytest.param("and", " close at six.", WHOLE, id="goes on behind it"),
        pytest.param("and", "and close at six.", WHOLE, id="says it again"),
        pytest.param("and", " and close at six.", WHOLE, id="says it again with its space"),
        pytest.param("an", " and close at six.", WHOLE, id="it was a part"),
        pytest.param("and", "We open at nine and close at six.", WHOLE, id="begins the sentence again"),
        pytest.param("until", "and close at six.", WHOLE, id="thinks better of it"),
        pytest.param("tomorrow", "", SAID + "tomorrow", id="writes nothing"),
        pytest.param("tomorrow", "We open at nine", SAID + "tomorrow", id="only replays what was said"),
        pytest.param("tomorrow", "We open at", SAID, id="ends within what was said"),
        pytest.param("–", " and close at six.", WHOLE, id="no word"),
    ],
)
def test_a_word_that_may_not_have_been_whole(unfinished: str, goes_on: str, expected: str) -> None:
    """It is said once: by the answer, or before an answer that goes on behind it."""
    assert joined(SAID, goes_on, unfinished) == expected


def test_a_word_without_end_is_let_go() -> None:
    """Not kept for ever."""
    words = WholeWords()
    assert "".join(words.feed("x" * 100) for _ in range(50)) != ""


def test_the_request_carries_what_was_said() -> None:
    """As words of the assistant, with the wish to go on; untouched where nothing was said."""
    request = ModelRequest("Be brief.", [UserItem("When?")])
    user, said, note = going_on(request, "We open ").items
    assert (user, said) == (UserItem("When?"), AssistantItem("We open"))
    assert isinstance(note, NoteItem)
    assert going_on(request, " ") is request
