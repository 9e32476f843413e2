from __future__ import annotations

import re
from itertools import pairwise

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from relay.speech import MAX_GAP, MAX_LINK_TEXT, MAX_WORD, Speech


def outputs(pieces: list[str]) -> list[str]:
    speech = Speech()
    return [*(speech.feed(piece) for piece in pieces), speech.finish()]


def spoken(text: str) -> str:
    return "".join(outputs([text]))


def cut(text: str, places: list[int]) -> list[str]:
    edges = [0, *sorted(place % (len(text) + 1) for place in places), len(text)]
    return [text[a:b] for a, b in pairwise(edges)]


WORDS = st.text(alphabet="abcdeXYZéßжאب한", min_size=1, max_size=12)
SPACES = st.sampled_from([" ", " ", " ", "  ", "\n", "\n\n", "\t", " \u00a0"])
PLAIN = st.lists(st.tuples(WORDS, SPACES), min_size=1, max_size=30).map(
    lambda pairs: "".join(word + space for word, space in pairs)
)
MARKS = """* ** _ __ ` ``` ~~ [ ] ( ) ![ ]( | --- :-: . , ! " \\ < > @ + # www. https:// a.b/c x@y.z"""
SIGNS = "😀 👍🏽 ❤\ufe0f \u200d 1\ufe0f\u20e3 🇩🇪 你 。 ก é a Word 5"
STARTS = ["b c", " ", " ", "\n", "\n\n", "# ", "- ", "* ", "1. ", "2) ", "> ", " | "]
FRAGMENTS = st.sampled_from([*MARKS.split(" "), *SIGNS.split(" "), *STARTS])
MARKUP = st.lists(FRAGMENTS, max_size=40).map("".join)
PLACES = st.lists(st.integers(0, 10_000), max_size=40)


@pytest.mark.parametrize(
    ("written", "heard"),
    [
        ("**Bold** and *italic*, __bold__ and _italic_, ***both***.", "Bold and italic, bold and italic, both."),
        ("**bold over words** and (*so* on) *“x y”*, **Step 1:** go", "bold over words and (so on) “x y”, Step 1: go"),
        ("word—**bold text**—x, **Schrit**te, foo**bar**baz", "word—bold text—x, Schritte, foobarbaz"),
        ("~~gone~~ and `code` and ``` code ```", "gone and code and code"),
        ("# Title\nText", "Title\nText"),
        ("> quoted\n> - item", "quoted\nitem"),
        ("We have:\n- eggs\n* milk\n  + oat\n• tea", "We have:\neggs\nmilk\n  oat\ntea"),
        ("1. One\n2. Two\n3) Three", "One\nTwo\nThree"),
        ("Before\n---\nafter\n***\nend", "Before\nafter\nend"),
        ("```python\nx = 1\n```\nThat is it.", "x = 1\nThat is it."),
        ("| Name | Price |\n|---|:-:|\n| Big apple | 2 |\n|Pear|3|", "Name, Price\nBig apple, 2\nPear, 3"),
        ("Name | Price\n--- | ---\nPear | 3", "Name, Price\nPear, 3"),
        (r"1\. not a list, \*stars\*, \[a](b)", "1. not a list, *stars*, [a](b)"),
    ],
)
def test_markdown_is_not_spoken(written: str, heard: str) -> None:
    """Marks of Markdown are left out, the words stay."""
    assert spoken(written) == heard


@pytest.mark.parametrize(
    ("written", "heard"),
    [
        ("See [the *docs* page](https://www.example.com/a?b=(c)).", "See the docs page."),
        ('Our [menu](/menu "Menu of today") is new', "Our menu is new"),
        ("[![a cat](cat.png)](https://example.com) sits", "a cat sits"),
        ("Look: ![a cat](cat.png) and ![](dog.png) there", "Look: a cat and there"),
        ("As [the paper][1] says", "As the paper says"),
        ("a [note] and [x](not an address), arr[0][1]", "a [note] and [x](not an address), arr[0][1]"),
        ("[文档](https://example.com)。", "文档。"),
    ],
)
def test_links_are_spoken_as_their_text(written: str, heard: str) -> None:
    """A link is its text, an image its alternative text; brackets that are neither stay."""
    assert spoken(written) == heard


@pytest.mark.parametrize(
    ("written", "heard"),
    [
        ("Go to https://www.example.com/path?x=1.", "Go to example dot com."),
        ("(www.my-shop.example.com), ok?", "(my dash shop dot example dot com), ok?"),
        ("**https://user@example.com:8080/a_b** or <http://example.org>", "example dot com or example dot org"),
        (
            "Write to anna_b.c@mail.example.com, please",
            "Write to anna underscore b dot c at mail dot example dot com, please",
        ),
        ("_bob+x@example.com_", "bob plus x at example dot com"),
        ("[mail us](mailto:a@example.com) or mailto:b@example.com", "mail us or b at example dot com"),
        ("foo@bar and @name and and/or 24/7", "foo@bar and @name and and/or 24/7"),
    ],
)
def test_addresses_are_spoken_in_words(written: str, heard: str) -> None:
    """A bare URL is its host, an e-mail address is said in words, the sentence's punctuation stays."""
    assert spoken(written) == heard


@pytest.mark.parametrize(
    ("written", "heard"),
    [
        ("Great 😀 thanks", "Great thanks"),
        ("Great!😀Thanks", "Great! Thanks"),
        ("Family 👩‍👩‍👧 hand 👍🏽 heart ❤️ flags 🇩🇪🏴󠁧󠁢󠁥󠁮󠁧󠁿 done ✅.", "Family hand heart flags done."),
        ("1️⃣ Open\n\n2️⃣ Close #️⃣", "Open\n\nClose"),
        ("Yes!\n\n✅ Done", "Yes!\n\nDone"),
        ("😀 Hello 😀", "Hello"),
        ("你好😀世界", "你好世界"),
        ("Twilio™ → 20 °C ♯ ❷", "Twilio™ → 20 °C ♯ ❷"),
    ],
)
def test_emoji_are_not_spoken(written: str, heard: str) -> None:
    """Emoji go with everything that belongs to them, and no space is doubled or lost by it; text signs stay."""
    assert spoken(written) == heard


@pytest.mark.parametrize(
    "text",
    [
        "2 * 3 = 6, 2*3, 2 ** 3, 2**3, 50% * 2",
        "snake_case, a_b_c, #1, C#, F#, -5, +1, x - y -- z",
        'Press * now, or "*", or *67. Then #. Dial *21*555# or **.',
        "42. Anything else?",
        "It is\n7. Right?",
        "a || b, 1 < 2, <b>x</b>, A & B, Hello :)",
        "Press\n#",
        "You owe $5.00.\nMore  than   before.",
        " leading space",
    ],
)
def test_what_is_no_markup_is_left_alone(text: str) -> None:
    """Arithmetic, names with underscores, phone keys, and an answer that is a number are spoken as written."""
    assert spoken(text) == text


@pytest.mark.parametrize(
    ("pieces", "expected"),
    [
        (["Hel", "lo", " wor", "ld", ".", " Bye"], ["", "", "Hello", "", "", " world.", " Bye"]),
        (["Hi ", " there", "\n"], ["Hi", "", "  there", ""]),
        (["**Bold", " text", "**", " and"], ["", "Bold", "", " text", " and"]),
        (
            ["See [the", " docs](", "https://a.b/c", ")", ". Now", " ok"],
            ["See", "", "", " the", " docs.", " Now", " ok"],
        ),
        (["你", "好，wor", "ld世"], ["你", "好，", "world世", ""]),
        (["สวั", "สดี"], ["สวั", "สดี", ""]),
        (["A lone [ br", "acket", " stays"], ["A lone", "", "", " [ bracket stays"]),
        (["😀", " "], ["", "", ""]),
    ],
)
def test_words_come_out_as_soon_as_they_are_whole(pieces: list[str], expected: list[str]) -> None:
    """A word is let go when what follows it is seen, a character of an unspaced script at once."""
    assert outputs(pieces) == expected


def test_a_lone_bracket_holds_no_more_than_a_link_may_have() -> None:
    """An opening bracket that turns out to be no link lets the words after it go."""
    speech = Speech()
    assert speech.feed("Take [ " + "word " * (MAX_LINK_TEXT // 5 + 2)).count("word") >= MAX_LINK_TEXT // 5
    speech = Speech()
    assert speech.feed("Take [this one](whatever it is called ") == "Take [this one](whatever it is called"


def test_a_word_without_end_is_let_go_in_pieces() -> None:
    """A run without white space longer than MAX_WORD is not held back for ever."""
    speech = Speech()
    said = "".join(speech.feed("abcde") for _ in range(MAX_WORD))
    assert len(said) >= 4 * MAX_WORD
    assert said + speech.finish() == "abcde" * MAX_WORD


@pytest.mark.parametrize("piece", ["[", "[[[[", "[a", "![", "[]["])
def test_brackets_without_end_are_not_kept(piece: str) -> None:
    """Any of them may still become a link; what is said does not depend on how they come."""
    speech = Speech()
    said = "".join(speech.feed(piece) for _ in range(4 * MAX_WORD))
    assert 4 * MAX_WORD * len(piece) - len(said) < 2 * MAX_WORD + MAX_LINK_TEXT
    assert said + speech.finish() == spoken(piece * 4 * MAX_WORD)


@given(st.text(" \n\t*[a", max_size=400), st.integers(1, 50), PLACES)
def test_white_space_without_end_is_not_kept(text: str, times: int, places: list[int]) -> None:
    """Of more than a hundred characters of it the first are taken, however they come."""
    text = f"One {text}{' ' * times * 10}\n{text}"
    assert "".join(outputs(cut(text, places))) == "".join(outputs(list(text))) == spoken(text)
    speech = Speech()
    for _ in range(1000):
        assert speech.feed(" \n") == ""
    assert speech.feed("end") == ""
    assert len(speech.finish()) == MAX_GAP + len("end")


@given(PLAIN, PLACES)
def test_plain_words_come_out_unchanged(text: str, places: list[int]) -> None:
    """Words without marks keep every character and their spacing, and no output ends inside a word."""
    said = outputs(cut(text, places))
    assert "".join(said) == text.rstrip()
    for output in filter(None, said[1:]):
        assert output.strip()
    for before, after in pairwise([output for output in said if output]):
        assert not before[-1].isspace() and after[0].isspace()


@given(MARKUP, PLACES)
@example("[a](b[c](d)", [7])
@example("**a** 你**b**", [3, 9])
def test_the_cut_into_pieces_does_not_matter(text: str, places: list[int]) -> None:
    """Any way to cut the text gives the same words."""
    assert "".join(outputs(cut(text, places))) == spoken(text)


@given(MARKUP)
def test_one_character_at_a_time_is_the_same(text: str) -> None:
    """The finest cut gives the same words as none."""
    assert "".join(outputs(list(text))) == spoken(text)


@given(MARKUP, PLACES)
def test_an_output_is_never_white_space_alone(text: str, places: list[int]) -> None:
    """What comes out is empty or has something to say, so that it may open a talk cycle."""
    assert all(not output or output.strip() for output in outputs(cut(text, places)))


@given(MARKUP)
def test_a_new_line_lets_everything_before_it_go(text: str) -> None:
    """No markup run reaches over the end of its line."""
    speech = Speech()
    said = speech.feed(text) + speech.feed("\nend ")
    assert said == spoken(text + "\nend ")


@given(
    st.lists(st.tuples(WORDS, st.sampled_from(["{}", "**{}**", "_{}_", "`{}`", "# {}", "[{}](a/b)", "- {}", "{}😀"])))
)
def test_no_word_is_lost(words: list[tuple[str, str]]) -> None:
    """Whatever marks stand around words, the words are spoken, in order."""
    text = " ".join(form.format(word) for word, form in words)
    assert re.findall(r"\w+", spoken(text)) == [word for word, _ in words]
