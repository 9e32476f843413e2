"""Which partial prompts are asked ahead, which answers to them are used, and when they are dropped."""

from __future__ import annotations

from dataclasses import replace

import pytest

from relay.events import DropSpeculation, Speculate
from relay.items import AssistantItem, Item, NoteItem, ToolItem, UserItem
from relay.models.base import ModelRequest, ToolSpec
from relay.speculation import PATIENCE, looks_complete, same_turn, wording
from relay.toolbox import EndCall
from tests.relay.driver import Driver, answered, call, done, started

WORDS = "What time do you open?"

# -- what looks complete


@pytest.mark.parametrize(
    "text",
    [
        "What time do you open?",
        "Yes.",
        "No!",
        'She said "come in."',
        "你们几点开门？",
        "我想订一张桌子。",
        "متى تفتحون؟",
        "آپ کب کھولتے ہیں۔",
        "आप कब खोलते हैं।",
        "Τι ώρα ανοίγετε\u037e",
        "¿A qué hora abren? ",
        "ស្អែកបើកម៉ោងប៉ុន្មាន។",
    ],
)
def test_a_sentence_that_ends_looks_complete(text: str) -> None:
    """In any script, at its first mention, and with one word only."""
    assert looks_complete(text, settled=False)


@pytest.mark.parametrize("text", ["what time do you open", "tell me more", "เปิดกี่โมง", "a qué hora abren"])
def test_a_few_words_without_a_mark_look_complete(text: str) -> None:
    """Many recognisers put no marks into what they are still listening to."""
    assert looks_complete(text, settled=False)


@pytest.mark.parametrize("text", ["你好", "yes please", "sí gracias"])
def test_fewer_words_look_complete_when_they_settle(text: str) -> None:
    """They are told again without a change."""
    assert not looks_complete(text, settled=False)
    assert looks_complete(text, settled=True)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "  ",
        "?",
        "...",
        "I was thinking...",
        "I was thinking…",
        "我在想……",
        "I would like soup,",
        "我要汤，",
        "three things:",
        "well -",
        "so",
        "I would like soup and",
        "quiero una mesa para dos y",
        "I want the",
    ],
)
def test_words_that_want_more_never_look_complete(text: str) -> None:
    """Trailing off, a comma, a conjunction, one word alone; however often they are told."""
    assert not looks_complete(text, settled=True)


# -- what is the same turn


@pytest.mark.parametrize(
    ("partial", "final"),
    [
        ("what time do you open", "What time do you open?"),
        ("Yes, please.", "yes please"),
        ("What  time\tdo you open ?", "What time do you open?"),
        ("a twenty-five minute walk", "A twenty five minute walk."),
        ("I'm here", "I’m here."),
        ("He said “stop” (twice)", 'he said "stop", twice.'),
        ("你好 吗", "你好吗？"),
        ("我要汤，和鱼", "我要汤和鱼。"),
        ("เปิด กี่โมง", "เปิดกี่โมง"),
        ("ＡＢＣ １２", "abc 12"),
        ("cafe\u0301 noir", "Café noir"),
        ("STRASSE", "Straße"),
        ("متى تفتحون", "متى تفتحون؟"),
        ("room 3,", "Room 3."),
        ("", " ."),
    ],
)
def test_spelling_does_not_make_another_turn(partial: str, final: str) -> None:
    """Case, marks of sentences, quotes, brackets, hyphens, spacing, forms of a character."""
    assert wording(partial) == wording(final)


@pytest.mark.parametrize(
    ("partial", "final"),
    [
        ("What time do you open?", "What time do you open tomorrow?"),
        ("I do not want it", "I do want it"),
        ("a table for two", "a table for too"),
        ("Can I", "I can"),
        ("a part of it", "apart of it"),
        ("we'll go", "well go"),
        ("I want 3.5", "I want 35"),
        ("at 10:30", "at 1030"),
        ("minus: -5", "minus: 5"),
        ("20% off", "20 off"),
        ("$20", "€20"),
        ("C++", "C"),
        ("1,5", "15"),
        ("R&B", "RB"),
        ("कि", "की"),
        ("दिन", "दान"),
        ("ไม่", "ไม้"),
        ("汤", "汤面"),
        ("아버지가 방에", "아버지 가방에"),
        ("résumé", "resume"),
    ],
)
def test_other_words_make_another_turn(partial: str, final: str) -> None:
    """A word more, less or other; and what marks mean inside a word, in digits and in scripts that write vowels so."""
    assert wording(partial) != wording(final)


HISTORY: tuple[Item, ...] = (
    AssistantItem("Hello.", "open", 0, 5, "greeting"),
    UserItem("Soup, please", "en-US"),
    ToolItem("c1", "order", "{}", "{}"),
    AssistantItem("Soup it is."),
)
AHEAD = ModelRequest("Be brief.", (*HISTORY, UserItem("and fish", "en-US")), (ToolSpec("order", "Orders.", {}),))


def final(*items: Item, **changes: object) -> ModelRequest:
    return replace(AHEAD, items=list(items), on_sent=lambda: None, **changes)  # type: ignore[arg-type]


def test_the_same_request_is_the_same_turn() -> None:
    """The words may be spelled otherwise, and more may be known of how far the agent was heard."""
    heard = AssistantItem("Hello.", "done", 1, 5, "greeting")
    assert same_turn(AHEAD, final(heard, *HISTORY[1:], UserItem("And fish!", "en-US")))


SAID = UserItem("and fish", "en-US")


@pytest.mark.parametrize(
    "request_",
    [
        final(*HISTORY, UserItem("and fish", "es-US")),
        final(*HISTORY, UserItem("and a fish", "en-US")),
        final(AssistantItem("Hell"), *HISTORY[1:], SAID),
        final(*HISTORY[1:], SAID),
        final(*HISTORY, NoteItem("The caller pressed 1."), SAID),
        final(*HISTORY[:2], replace(HISTORY[2], output="1"), HISTORY[3], SAID),
        final(HISTORY[0], UserItem("soup, please", "en-US"), *HISTORY[2:], SAID),
        final(*HISTORY, NoteItem("and fish")),
        final(),
        final(*HISTORY, SAID, instructions="Be long."),
        final(*HISTORY, SAID, tool_choice="none"),
        final(*HISTORY, SAID, carry=(b"{}",)),
        final(*HISTORY, SAID, tools=()),
    ],
)
def test_any_other_request_is_another_turn(request_: ModelRequest) -> None:
    """Language, words, history, instructions, tools: one that differs is enough."""
    assert not same_turn(AHEAD, request_)


# -- when a call asks ahead


def speculating(limit: int = 3, **options: object) -> Driver:
    return started(speculation=True, speculation_limit=limit, **options)


def hears(driver: Driver, *partials: str, lang: str = "") -> None:
    for text in partials:
        driver.prompt(text, lang, last=False)


def test_nothing_is_asked_ahead_unless_it_is_switched_on() -> None:
    """And a limit of none is the same as off."""
    for driver in (started(), started(speculation=True, speculation_limit=0)):
        hears(driver, WORDS, WORDS)
        assert driver.guesses == []


def test_a_complete_partial_is_asked_once() -> None:
    """The same words again, spelled anew, change nothing; the final prompt begins a turn as ever."""
    driver = speculating()
    hears(driver, "What", "What time", WORDS, "what time do you open")
    assert driver.guesses == [WORDS]
    assert driver.story == [], "no entry in the history"
    assert driver.frames == []
    driver.prompt("What time do you open")
    assert [turn.turn for turn in driver.rounds] == [1]
    assert driver.story == ["user: What time do you open"], "the words of the final prompt are kept"
    assert "speculation" not in driver.timers


def test_what_settles_is_asked() -> None:
    """Words without a mark, told twice; the final prompt before ends what was told before it."""
    driver = speculating()
    driver.prompt("yes please", last=False)
    driver.prompt("Hi")
    driver.say("Hello.")
    hears(driver, "yes please")
    assert driver.guesses == []
    hears(driver, "yes please")
    assert driver.guesses == ["yes please"]


def test_the_caller_goes_on() -> None:
    """What was asked is dropped at the first word that was not in it, and the longer utterance is asked instead."""
    driver = speculating()
    hears(driver, "I would like soup.")
    assert DropSpeculation() in driver.prompt("I would like soup and", last=False)
    assert driver.ahead is None
    hears(driver, "I would like soup and fish.")
    assert driver.guesses == ["I would like soup.", "I would like soup and fish."]


def test_another_language_is_another_utterance() -> None:
    driver = speculating()
    hears(driver, "No.", lang="en-US")
    hears(driver, "No.", lang="es-US")
    assert driver.ahead == UserItem("No.", "es-US")
    assert len(driver.guesses) == 2


def test_the_limit_is_for_a_turn() -> None:
    """A blank final prompt gives no new tries; a turn does."""
    driver = speculating(limit=2)
    hears(driver, "One.", "One. Two.", "One. Two. Three.")
    driver.prompt("")
    hears(driver, "Four.")
    assert driver.guesses == ["One.", "One. Two."]
    driver.prompt("Four.")
    driver.say("All right.")
    hears(driver, "Five.")
    assert driver.guesses == ["Five."]


def test_nothing_follows() -> None:
    """Without a final prompt what was asked does not stay."""
    driver = speculating()
    hears(driver, WORDS)
    driver.wait(PATIENCE - 0.1)
    assert driver.ahead is not None
    driver.wait(0.2)
    assert driver.ahead is None


def test_a_blank_final_prompt_drops() -> None:
    driver = speculating()
    hears(driver, WORDS)
    assert DropSpeculation() in driver.prompt(" ")


def test_not_before_the_history_is_there() -> None:
    driver = Driver({"speculation": True})
    driver.setup()
    hears(driver, WORDS)
    driver.prepared(UserItem("Before"), AssistantItem("Then"))
    assert driver.guesses == []
    hears(driver, WORDS + " Or tomorrow?")
    assert len(driver.guesses) == 1


def test_not_while_a_turn_is_in_progress() -> None:
    """Waiting for the model, being spoken, or with its tools running: the history to come is not known."""
    driver = speculating()
    driver.prompt("Hi")
    hears(driver, "One.")
    driver.delta("Hello")
    hears(driver, "Two.")
    driver.say(" there.", call("look_up"))
    assert driver.tools
    hears(driver, "Three.")
    driver.finish("look_up")
    hears(driver, "Four.")
    assert driver.guesses == []


def test_not_while_a_side_effect_of_an_earlier_turn_runs() -> None:
    driver = speculating()
    driver.prompt("Book it")
    driver.say("", call("book"))
    driver.reader()
    key = driver.tool("book")
    driver.prompt("And?")
    driver.wait(0.5)
    driver.say("It is being booked.")
    assert driver.call.turn is None
    hears(driver, "One.")
    assert driver.guesses == []
    driver.finish(key, done('"booked"'))
    driver.say("Booked.")
    hears(driver, "Two.")
    assert driver.guesses == ["Two."]


def test_not_while_the_call_ends() -> None:
    driver = speculating()
    driver.prompt("Bye")
    driver.say("Goodbye.", call("end_call"))
    driver.reader()
    driver.finish("end_call", done("{}", EndCall()))
    assert "goodbye" in driver.timers
    hears(driver, "Wait!")
    assert driver.guesses == []
    driver.prompt("Wait!")
    assert driver.rounds


def test_while_the_agent_is_still_heard() -> None:
    """A reply that was sent whole is history; that it is still being spoken is no reason to wait."""
    driver = answered("One two three four.", speculation=True)
    hears(driver, WORDS)
    assert driver.ahead is not None
    driver.played("One two")
    driver.interrupt("One two three four.")
    assert driver.ahead is not None, "all of it was heard: nothing has changed"


def test_an_interrupt_changes_the_history() -> None:
    """What was asked before it is dropped, and the next partial is asked with the words that were heard."""
    driver = answered("One two three four.", speculation=True)
    hears(driver, WORDS)
    assert DropSpeculation() in driver.interrupt("One two")
    assert driver.ahead is None
    actions = driver.prompt(WORDS, last=False)
    assert [action.words.text for action in actions if isinstance(action, Speculate)] == [WORDS]


def test_a_key_drops() -> None:
    """The caller has done something else; what the key does may be a tool."""
    driver = speculating()
    hears(driver, WORDS)
    assert DropSpeculation() in driver.press("5")


def test_a_turn_that_begins_by_itself_takes_its_place() -> None:
    """No deadline is left of it, and the partial prompts of the next utterance are asked as ever."""
    driver = answered("One two three four.", speculation=True)
    driver.interrupt("One two")
    hears(driver, WORDS)
    assert driver.ahead is not None
    driver.wait(PATIENCE + 1)
    assert driver.rounds
    driver.say("Where was I?")
    hears(driver, WORDS)
    assert len(driver.guesses) == 2


def test_it_ends_with_the_call() -> None:
    driver = speculating()
    hears(driver, WORDS)
    driver.hang_up()
    assert not isinstance(driver.prompt(WORDS + " Or", last=False), Speculate)
    assert driver.guesses == [WORDS]
