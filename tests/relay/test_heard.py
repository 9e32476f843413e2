"""Which words of what was sent count as heard."""

from __future__ import annotations

import random
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.heard import CHARACTERS_PER_SECOND, SPEECH_DELAY, Ledger, Utterance, reduce, whole_words, words

REPLY = "We open at nine. We close at six. On Sundays we are closed all day."


def ledger_of(*texts: str, started: float = 0.0) -> Ledger:
    ledger = Ledger()
    for position, text in enumerate(texts):
        utterance = ledger.open(Utterance(position, started=started))
        utterance.append(text)
        utterance.open = False
    return ledger


def heard(ledger: Ledger) -> list[str]:
    return [utterance.heard() for utterance in ledger.utterances]


def at(characters: int) -> float:
    """The moment at which so many characters have been spoken at the usual rate."""
    return SPEECH_DELAY + characters / CHARACTERS_PER_SECOND


# -- words


def test_words_are_what_stands_between_white_space() -> None:
    """Words are reduced to letters and digits, and know where they end in the text."""
    assert list(words("Well,  it's “9 pm” - OK?\n")) == [("well", 5), ("its", 11), ("9", 14), ("pm", 18), ("ok", 24)]


def test_scripts_without_spaces_are_split_by_character() -> None:
    """Chinese, Japanese, Korean and Thai have a word a character, with its marks and the punctuation after it."""
    assert [end for _, end in words("你好，世界。")] == [1, 3, 4, 6]
    assert [word for word, _ in words("それはOKです")] == ["そ", "れ", "は", "ok", "で", "す"]
    assert [end for _, end in words("안녕")] == [1, 2]
    assert [end for _, end in words("ที่นี่")] == [3, 6]


@given(st.text())
def test_words_end_in_order_inside_the_text(text: str) -> None:
    """Ends rise, stay inside the text, and every letter and digit belongs to one word."""
    found = list(words(text))
    ends = [end for _, end in found]
    assert ends == sorted(set(ends))
    assert all(0 < end <= len(text) for end in ends)
    assert "".join(word for word, _ in found) == reduce(text)


@given(st.lists(st.text(min_size=1, max_size=8)))
def test_words_of_a_growing_text_are_those_of_the_whole(parts: list[str]) -> None:
    """Asking for the words between two deltas changes nothing."""
    utterance = Utterance(0)
    for part in parts:
        utterance.append(part)
        _ = utterance.words
    assert utterance.words == [word for word, _ in words("".join(parts))]


def test_whole_words_of_a_text() -> None:
    """The first words as written, all of the text when it has no more."""
    assert whole_words("One, two. Three!", 2) == "One, two."
    assert whole_words("One, two.  ", 2) == "One, two.  "
    assert whole_words("One", 0) == ""


# -- tokensPlayed


def test_played_words_move_the_cursor() -> None:
    """Every report moves the cursor behind its words."""
    ledger = ledger_of(REPLY)
    assert ledger.played("We open at nine.")
    assert ledger.played("We close")
    assert heard(ledger) == ["We open at nine. We close"]


def test_digits_just_sent_are_no_words() -> None:
    """Their report is theirs, once, though the words behind them begin alike; so is what it leaves of them."""
    ledger = ledger_of("I press it.")
    tones = ledger.open(Utterance(1, origin="sound", seconds=1.0, open=False))
    ledger.tones.append(("12#", tones))
    words_behind = ledger.open(Utterance(2))
    words_behind.append("12# is pressed.")
    assert not ledger.played("12#")
    assert tones not in ledger.utterances
    assert words_behind.heard() == ""
    assert ledger.played("12#")
    assert words_behind.heard() == "12#"


def test_played_words_that_were_never_sent_are_ignored() -> None:
    """Digits, and words nobody sent, leave the cursor where it is."""
    ledger = ledger_of(REPLY)
    assert not ledger.played("1234#")
    assert not ledger.played("Good evening.")
    assert not ledger.played("  ... ")
    assert heard(ledger) == [""]


def test_the_cursor_never_moves_back() -> None:
    """A report of words before the cursor is looked for after it, and there is none."""
    ledger = ledger_of(REPLY)
    ledger.played("We open at nine. We close at six.")
    assert not ledger.played("open at nine")
    assert heard(ledger) == ["We open at nine. We close at six."]


def test_one_cursor_runs_over_all_utterances() -> None:
    """Words of a later utterance prove that those before it were heard."""
    ledger = ledger_of("One moment, please.", "It is nine now.")
    ledger.played("It is")
    assert heard(ledger) == ["One moment, please.", "It is"]


def test_a_played_sentence_that_occurs_twice_is_the_first_not_yet_heard() -> None:
    """Equal sentences are counted one after the other."""
    ledger = ledger_of("Yes. No. Yes. No.")
    ledger.played("Yes.")
    assert heard(ledger) == ["Yes."]
    ledger.played("No.")
    ledger.played("Yes.")
    assert heard(ledger) == ["Yes. No. Yes."]


def test_a_played_word_cut_short_is_believed_only_at_the_cursor() -> None:
    """One letter of a word somewhere ahead is no proof of all words before it."""
    ledger = ledger_of("Ask at the desk for Monday.")
    assert not ledger.played("Mon")
    assert ledger.played("Ask at th")
    assert heard(ledger) == ["Ask at"]


@pytest.mark.parametrize(
    ("sent", "played", "expected"),
    [
        ("It’s “nine” o’clock – sharp.", "It's \"nine\" o'clock - sharp.", "It’s “nine” o’clock – sharp."),
        ("Room 12-B, floor 3.", "Room 12 B", "Room 12-B,"),
        ("It costs 20 euros a day.", "It costs twenty", ""),
        ("HELLO   World", "hello world", "HELLO   World"),
        ("Straße 5", "STRASSE", "Straße"),
        ("你好，世界。再见。", "你好 世界", "你好，世界。"),
        ("สวัสดีครับ", "สวัส", "สวัส"),
    ],
)
def test_spelling_does_not_matter(sent: str, played: str, expected: str) -> None:
    """Quotes, dashes, case and spaces differ; a number written otherwise is not found and moves nothing."""
    ledger = ledger_of(sent)
    ledger.played(played)
    assert heard(ledger) == [expected]


def test_after_words_spoken_otherwise_the_next_report_catches_up() -> None:
    """What could not be found is passed by the next words that can."""
    ledger = ledger_of("It costs 20 euros. That is all.")
    assert not ledger.played("It costs twenty euros.")
    assert ledger.played("That is")
    assert heard(ledger) == ["It costs 20 euros. That is"]


# -- interrupt


@pytest.mark.parametrize("proof", [True, False])
def test_an_interrupt_reporting_the_segment_being_played(proof: bool) -> None:
    """The fragment is found in the sentence that is being played, not only at the start."""
    ledger = ledger_of(REPLY)
    if proof:
        ledger.played("We open at nine.")
    ledger.interrupted("We close", at(25))
    assert heard(ledger) == ["We open at nine. We close"]
    assert ledger.utterances[0].cut


@pytest.mark.parametrize("proof", [True, False])
def test_an_interrupt_reporting_everything_so_far(proof: bool) -> None:
    """The fragment begins where the reply does."""
    ledger = ledger_of(REPLY)
    if proof:
        ledger.played("We open at nine.")
    ledger.interrupted("We open at nine. We clo", at(25))
    assert heard(ledger) == ["We open at nine. We"]


@pytest.mark.parametrize("proof", [True, False])
def test_a_repeated_sentence_is_told_apart(proof: bool) -> None:
    """With proof by the cursor, without by the clock."""
    text = "Press one. Press one. Press one. Press one."
    ledger = ledger_of(text)
    if proof:
        ledger.played("Press one.")
        ledger.played("Press one.")
    ledger.interrupted("Press", at(len("Press one. Press one. Press")))
    assert heard(ledger) == ["Press one. Press one. Press"]


def test_with_proof_a_fragment_that_does_not_reach_the_cursor_leaves_it() -> None:
    """Words elsewhere are not believed against what was proven."""
    ledger = ledger_of(REPLY)
    ledger.played("We open at nine.")
    ledger.interrupted("On Sundays", at(20))
    assert heard(ledger) == ["We open at nine."]


def test_an_empty_fragment_without_proof_means_nothing_of_what_is_being_played() -> None:
    """The utterance before it was heard, of the one being played nothing."""
    ledger = ledger_of("Hello, this is Jo.", "How can I help you today?")
    (over,) = ledger.interrupted("", at(25))
    assert over.text == "Hello, this is Jo."
    assert heard(ledger) == [""]


def test_an_empty_fragment_with_proof_leaves_the_cursor() -> None:
    """What was proven was heard."""
    ledger = ledger_of(REPLY)
    ledger.played("We open")
    ledger.interrupted("", at(30))
    assert heard(ledger) == ["We open"]


def test_a_fragment_that_is_nowhere_is_replaced_by_the_clock() -> None:
    """The last word that ends before the estimate; never words that were not sent."""
    ledger = ledger_of("It costs 20 euros a day.")
    ledger.interrupted("It costs twenty euros", at(len("It costs 20 eu")))
    assert heard(ledger) == ["It costs 20"]


def test_the_whole_reply_reported_cuts_it_without_taking_a_word() -> None:
    """All was heard, and yet it was interrupted."""
    ledger = ledger_of(REPLY)
    ledger.interrupted(REPLY, at(len(REPLY)))
    assert heard(ledger) == [REPLY]
    assert ledger.utterances[0].cut


def test_an_interrupt_cuts_the_utterance_under_the_cursor_and_those_behind_it() -> None:
    """What was heard before is over, and stays as it is."""
    ledger = ledger_of("First line.", "Second line here.", "Third line.")
    (over,) = ledger.interrupted("Second", at(len("First line.Second")))
    assert (over.heard(), over.cut) == ("First line.", False)
    assert heard(ledger) == ["Second", ""]
    assert [u.cut for u in ledger.utterances] == [True, True]


def test_words_reported_late_still_lengthen_what_was_cut() -> None:
    """``tokensPlayed`` after the interrupt."""
    ledger = ledger_of(REPLY)
    ledger.played("We open")
    ledger.interrupted("We open", at(8))
    ledger.played("at nine.")
    assert heard(ledger) == ["We open at nine."]


# -- our own output


def test_new_output_cuts_what_is_being_played() -> None:
    """By the clock where nothing is proven; the new words sound two seconds later."""
    ledger = ledger_of(REPLY)
    (cut,) = ledger.preempt(at(len("We open at nine. We")))
    assert (cut.heard(), cut.cut) == ("We open at nine. We", True)
    assert ledger.utterances == []
    ledger.open(Utterance(1, started=1.5)).append("Yes?")
    assert ledger.expected_end() == pytest.approx(at(len("We open at nine. We")) + 2.0 + 4 / CHARACTERS_PER_SECOND)


def test_words_played_of_preempted_speech_are_its_own() -> None:
    """Only where they go on from the cursor; all others are of the new output, and do not make it heard."""
    ledger = ledger_of(REPLY)
    ledger.played("We open")
    (cut,) = ledger.preempt(9.0)
    answer = ledger.open(Utterance(1, started=9.0))
    answer.append("We are closed now.")
    assert cut.heard() == "We open"
    assert ledger.played("at nine.")
    assert ledger.played("We are")
    assert (cut.heard(), answer.heard()) == ("We open at nine.", "We are")
    ledger.settle_heard()
    assert not ledger.played("We close")
    assert cut.heard() == "We open at nine."


def test_the_greeting_is_not_cut_by_output() -> None:
    """Twilio speaks it; what we send waits behind it."""
    ledger = ledger_of("Welcome to the hotel.")
    ledger.utterances[0].firm = True
    assert ledger.preempt(1.0) == []
    assert len(ledger.preempt(10.0)) == 0, "it was heard to its end"


# -- time


def test_speech_is_one_after_the_other_by_the_clock() -> None:
    """What was sent behind a long utterance begins when that one ends, also after it has left the ledger."""
    ledger = ledger_of("a" * 140, "b " * 70)
    end = SPEECH_DELAY + 10.0
    assert ledger.expected_end() == pytest.approx(end + 10.0)
    (over,) = ledger.settle(end + 2.0, 2.0)
    assert over.text == "a" * 140
    assert ledger.expected_end() == pytest.approx(end + 10.0)
    assert ledger.settle(end + 11.9, 2.0) == []
    ledger.interrupted("", end + 5.0)
    ledger.stopped(end + 5.0)
    assert len(heard(ledger)[0]) == pytest.approx(70, abs=2)


def test_an_open_utterance_is_not_over() -> None:
    """More of it may come, however late."""
    ledger = ledger_of("Well")
    ledger.utterances[0].open = True
    assert ledger.settle(100.0, 2.0) == []
    assert ledger.settle_heard() == []


# -- properties

_words = st.text("abcdeéöAZ09'’-.,!? 你好ที่", min_size=1, max_size=8)
_texts = st.lists(st.lists(_words, min_size=1, max_size=8).map(" ".join), min_size=1, max_size=4)
_reports = st.lists(
    st.one_of(
        st.tuples(st.just("played"), st.integers(0, 40), st.integers(1, 12)),
        st.tuples(st.just("interrupt"), st.integers(0, 40), st.integers(0, 12)),
        st.tuples(st.just("invented"), st.integers(0, 3), st.integers(0, 3)),
    ),
    max_size=8,
)


def is_whole_word_prefix(part: str, text: str) -> bool:
    ends = {0, len(text)} | {end for _, end in words(text)}
    return text.startswith(part) and len(part) in ends


@given(_texts, _reports, st.floats(0, 60))
def test_heard_is_a_whole_word_prefix_whatever_is_reported(
    texts: list[str], reports: list[tuple[str, int, int]], now: float
) -> None:
    """Nothing that is reported makes words heard that were not sent, cuts a word, or takes back what was heard."""
    ledger = ledger_of(*texts)
    utterances = list(ledger.utterances)
    everything = "".join(texts)
    before = [0] * len(texts)
    for kind, start, length in reports:
        text = everything[start : start + length]
        if kind == "played":
            ledger.played(text)
        elif kind == "interrupt":
            ledger.interrupted(text, now)
        else:
            ledger.played("zebra" * start)
            ledger.interrupted("zebra" * length, now)
        after = [utterance.heard_words for utterance in utterances]
        assert all(a >= b for a, b in zip(after, before, strict=True))
        before = after
        for utterance, sent in zip(utterances, texts, strict=True):
            assert is_whole_word_prefix(utterance.heard(), sent)


@given(_texts, st.data())
def test_exact_reports_make_exactly_the_played_words_heard(texts: list[str], data: st.DataObject) -> None:
    """Played in pieces of whole words, with repetitions or without: heard equals played."""
    ledger = ledger_of(*texts)
    for utterance, text in zip(ledger.utterances, texts, strict=True):
        ends = [end for _, end in words(text)]
        done = 0
        while done < len(ends):
            more = data.draw(st.integers(1, len(ends) - done))
            start = ends[done - 1] if done else 0
            done += more
            ledger.played(text[start : ends[done - 1]])
            assert utterance.heard_words == done
            if data.draw(st.booleans()) and data.draw(st.booleans()):
                return


# -- a simulated Twilio

_VOCABULARY = [
    *("we", "open", "at", "nine", "and", "close", "six", "on", "sunday", "the", "table", "for", "two", "is", "free"),
    *("would", "you", "like", "to", "book", "it", "now", "please", "say", "yes", "or", "no", "i", "can", "also"),
    *("send", "a", "message", "room", "twelve", "costs", "eighty", "euros", "breakfast", "included", "thank"),
]


@dataclass
class Reply:
    """A random reply of sentences, some of them said twice."""

    sentences: list[str]

    @classmethod
    def random(cls, rng: random.Random) -> Reply:
        sentences: list[str] = []
        for _ in range(rng.randint(2, 8)):
            if sentences and rng.random() < 0.15:
                sentences.append(rng.choice(sentences))
            else:
                chosen = " ".join(rng.choice(_VOCABULARY) for _ in range(rng.randint(3, 12)))
                sentences.append(chosen.capitalize() + rng.choice(".?!"))
        return cls(sentences)

    @property
    def text(self) -> str:
        return " ".join(self.sentences)


def exact(rng: random.Random, *, info: bool, cumulative: bool) -> bool:
    """One reply, interrupted at a random moment; whether the words heard are those that were played."""
    reply = Reply.random(rng)
    text = reply.text
    ledger = ledger_of(text)
    rate = CHARACTERS_PER_SECOND * rng.uniform(0.95, 1.05)
    now = SPEECH_DELAY + rng.uniform(0.3, len(text) / rate)
    spoken = min(len(text), int((now - SPEECH_DELAY) * rate))
    count = sum(len(text[:end].rstrip(".?!")) <= spoken for _, end in words(text))
    start = 0
    for sentence in reply.sentences:
        if start + len(sentence) + 1 >= spoken:
            break  # the next one has not begun to sound
        if info:
            ledger.played(sentence)
        start += len(sentence) + 1
    fragment = text[start:spoken].strip()
    if info and rng.random() < 0.9:
        ledger.played(fragment)
    ledger.interrupted(text[:spoken].strip() if cumulative else fragment, now)
    return ledger.utterances[0].heard_words == count


@pytest.mark.parametrize(
    ("info", "cumulative", "least"),
    [(True, False, 0.99), (True, True, 0.99), (False, False, 0.98), (False, True, 0.995)],
    ids=["info, segment", "info, cumulative", "no info, segment", "no info, cumulative"],
)
def test_a_simulated_twilio(info: bool, cumulative: bool, least: float) -> None:
    """Of random interrupts this share is exact to the word, as measured when the rules were made."""
    rng = random.Random(20261110)
    rounds = 3000
    hits = sum(exact(rng, info=info, cumulative=cumulative) for _ in range(rounds))
    assert hits / rounds >= least
