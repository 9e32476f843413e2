"""Keys of the phone (rule 13): mapped ones act at once, the others are collected into one input."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.events import Say, StartTool, StartTurn
from relay.frames import Prompt
from relay.items import NoteItem
from relay.keypad import LATE_POUND, MOST_DIGITS, Key, Keypad
from relay.toolbox import Transfer
from tests.relay.driver import CLOSE, Driver, answered, call, done, started

KEYS = {
    "1": Key(say="We open at nine."),
    "2": Key(tool="look_up", arguments='{"what":"hours"}'),
    "3": Key(say="I will book it.", tool="book"),
    "0": Key(say="I will connect you.", tool="transfer"),
}


def pressed(digits: str) -> str:
    return f"note: The caller pressed {' '.join(digits)} on the keypad."


def test_a_line_is_said_in_the_callers_language() -> None:
    """Where the key has one in it; else in the agent's."""
    key = Key(say="We open at nine.", says={"en": "We open at nine.", "es": "Abrimos a las nueve."})
    assert key.line("es-MX") == ("Abrimos a las nueve.", "es-MX")
    assert key.line("fr-FR") == ("We open at nine.", "")


# -- collecting


def test_keys_without_a_meaning_are_one_input_after_a_pause() -> None:
    """The model is asked once, when no key has come for the agent's pause."""
    driver = started()
    driver.press("12")
    driver.wait(1.1)
    driver.press("3")
    driver.nothing_for(1.1)
    driver.wait(0.2)
    assert driver.rounds == [StartTurn(1)]
    assert driver.story == [pressed("123")]


def test_a_pound_ends_the_input_at_once() -> None:
    """It is not part of what was entered."""
    driver = started()
    driver.press("12#")
    assert driver.rounds == [StartTurn(1)]
    assert driver.story == [pressed("12")]
    assert "interdigit" not in driver.timers


def test_a_pound_alone_is_an_input() -> None:
    """Never silence, whatever is pressed."""
    driver = started()
    driver.press("#")
    assert driver.rounds == [StartTurn(1)]
    assert driver.story == [pressed("#")]


def test_a_pound_that_comes_late_is_ignored() -> None:
    """The code was complete by its length; the # by habit starts nothing and changes nothing."""
    driver = started()
    driver.press("1234")
    driver.wait(1.3)
    assert driver.press("#") == []
    assert driver.story == [pressed("1234")]
    driver.wait(LATE_POUND + 1)
    driver.press("#")
    assert driver.story[-1] == pressed("#")


def test_only_one_late_pound_is_ignored() -> None:
    """The second is meant."""
    driver = started()
    driver.press("1234")
    driver.wait(1.3)
    driver.press("##")
    assert driver.story == [pressed("1234"), pressed("#")]


def test_a_pound_after_a_complete_input_is_a_new_one() -> None:
    """Where # had ended the input no second one can belong to it."""
    driver = started()
    driver.press("12#")
    driver.press("#")
    assert driver.story == [pressed("12"), pressed("#")]


def test_endless_keys_are_taken_in_parts() -> None:
    """A key held down fills no memory."""
    driver = started()
    driver.press("7" * (MOST_DIGITS + 1))
    assert driver.story == [pressed("7" * MOST_DIGITS)]


def test_keys_supersede_the_turn_before_when_they_are_complete() -> None:
    """Not before: the answer goes on while keys are collected."""
    driver = started()
    driver.prompt("Hi")
    driver.delta("Please enter")
    driver.press("5")
    driver.delta(" your code.")
    driver.wait(1.2)
    assert driver.frames == ["Please enter", " your code.", CLOSE]
    assert driver.story == ["user: Hi", "agent (superseded): Please enter your code.", pressed("5")]
    assert driver.rounds == [StartTurn(2)]


def test_words_spoken_between_keys_do_not_lose_the_keys() -> None:
    """The prompt has its turn, the keys have theirs."""
    driver = started()
    driver.press("5")
    driver.send(Prompt("Is that right?"))
    driver.wait(1.2)
    assert driver.story == ["user: Is that right?", pressed("5")]
    assert driver.rounds == [StartTurn(2)]


# -- mapped keys


def test_a_mapped_key_says_its_line_at_once() -> None:
    """In a talk cycle of its own, with a note for the model, without asking it."""
    driver = started(keys=KEYS)
    actions = driver.press("1")
    assert Say(0, "We open at nine.") in actions
    assert driver.frames == ["We open at nine.", CLOSE]
    assert driver.story == ["note: The caller pressed 1.", "agent (open): We open at nine."]
    assert driver.rounds == []


def test_a_mapped_key_begins_its_tool_at_once() -> None:
    """Its result is told by the model."""
    driver = started(keys=KEYS)
    driver.press("2")
    (tool,) = driver.tools.values()
    assert (tool.call.name, tool.call.arguments) == ("look_up", '{"what":"hours"}')
    driver.finish("look_up", done('"nine"'))
    assert driver.rounds == [StartTurn(1, 1)]
    assert driver.story == ["note: The caller pressed 2.", "tool (done): look_up"]


def test_a_mapped_key_may_say_and_do() -> None:
    """The line is spoken while the tool runs."""
    driver = started(keys=KEYS)
    driver.press("3")
    assert driver.frames == ["I will book it.", CLOSE]
    driver.reader()
    assert driver.started == ["book"]
    driver.finish("book")
    assert driver.rounds == [StartTurn(1, 1)]


def test_a_mapped_key_waits_for_the_tools_to_be_prepared() -> None:
    """Pressed right after the call began: its line is heard, its tool needs the person (rule 14)."""
    driver = Driver({"keys": KEYS})
    driver.setup()
    actions = driver.press("2")
    assert not any(isinstance(action, StartTool) for action in actions)
    driver.prepared()
    assert driver.started == ["look_up"]


def test_a_mapped_key_without_preparation_acts_after_the_deadline() -> None:
    """It goes on with what is there."""
    driver = Driver({"keys": KEYS})
    driver.setup()
    driver.press("2")
    driver.wait(1.0)
    assert driver.started == ["look_up"]


def test_a_mapped_key_acts_at_once_behind_others() -> None:
    """Keys that had no meaning were pressed just before: they are on record, and answered too."""
    driver = started(keys=KEYS)
    driver.press("51")
    assert driver.story[:2] == [pressed("5"), "note: The caller pressed 1."]
    assert driver.frames
    assert driver.rounds == [StartTurn(1)]


def test_a_mapped_line_leaves_the_answer_in_progress_alone() -> None:
    """The answer's next words follow in a new utterance."""
    driver = started(keys=KEYS)
    driver.prompt("Hi")
    driver.delta("Let me tell you")
    driver.press("1")
    driver.delta(" about us.")
    driver.end_round()
    assert driver.frames == ["Let me tell you", CLOSE, "We open at nine.", CLOSE, " about us.", CLOSE]
    assert driver.turns[-1].outcome == "done"


def test_a_mapped_tool_supersedes_the_turn_before() -> None:
    """It is an input like others."""
    driver = started(keys=KEYS)
    driver.prompt("Hi")
    driver.delta("Let me tell you")
    driver.press("2")
    assert driver.turns[-1].outcome == "superseded"
    assert driver.call.current(2)


def test_a_mapped_line_may_be_the_bridge() -> None:
    """A key that says and transfers: the line is what is heard to its end; there is no second one."""
    driver = started(keys=KEYS)
    driver.press("0")
    driver.reader()
    driver.finish("transfer", done("{}", Transfer("key", "")))
    assert driver.frames == ["I will connect you.", CLOSE]
    driver.wait(20)
    assert driver.ended is not None
    assert driver.ended.reason == "transferred"


def test_a_key_while_a_side_effect_is_held_lets_it_begin() -> None:
    """A key that only says something leaves the turn alone, and the caller has not spoken."""
    driver = started(keys=KEYS)
    driver.prompt("Book it")
    driver.say("I will book.", call("book"))
    driver.interrupt("I will")
    driver.reader()
    assert driver.started == []
    driver.press("1")
    assert driver.started == ["book"]


# -- keys and interrupts, in both orders


@pytest.mark.parametrize("key_first", [False, True], ids=["interrupt, key", "key, interrupt"])
def test_a_mapped_key_that_interrupts(key_first: bool) -> None:
    """What was being said is cut, the key's line is not, and nothing is asked for again."""
    driver = started(keys=KEYS)
    driver.prompt("Tell me all")
    driver.delta("We are a small hotel by the sea.")
    driver.now = 1.0
    if key_first:
        driver.press("1")
        driver.interrupt("We are a")
    else:
        driver.interrupt("We are a")
        driver.press("1")
    assert driver.frames[-2:] == ["We open at nine.", CLOSE]
    assert driver.story == [
        "user: Tell me all",
        "agent (interrupted): We are a",
        "note: The caller pressed 1.",
        "agent (open): We open at nine.",
    ]
    driver.wait(60)
    assert driver.story[-1] == "agent (done): We open at nine."
    assert driver.rounds == []


@pytest.mark.parametrize("key_first", [False, True], ids=["interrupt, key", "key, interrupt"])
def test_an_unmapped_key_that_interrupts(key_first: bool) -> None:
    """The input is answered after the pause between keys, not after the wait for a prompt."""
    driver = started()
    driver.prompt("Tell me all")
    driver.delta("We are a small hotel by the sea.")
    driver.now = 1.0
    if key_first:
        driver.press("5")
        driver.interrupt("We are a")
    else:
        driver.interrupt("We are a")
        driver.press("5")
    driver.wait(1.25)
    assert driver.story == ["user: Tell me all", "agent (interrupted): We are a", pressed("5")]
    assert driver.rounds == [StartTurn(2)]


@pytest.mark.parametrize("key_first", [False, True], ids=["interrupt, key", "key, interrupt"])
def test_a_mapped_tool_that_interrupts(key_first: bool) -> None:
    """Its turn goes on at once: the interrupt was of the speech before."""
    driver = answered("We are a small hotel by the sea.", keys=KEYS)
    driver.now = 1.0
    if key_first:
        driver.press("3")
        driver.interrupt("We are a")
    else:
        driver.interrupt("We are a")
        driver.press("3")
    driver.reader()
    assert driver.started == ["book"]
    assert driver.story == [
        "user: Hi",
        "agent (interrupted): We are a",
        "note: The caller pressed 3.",
        "agent (open): I will book it.",
        "tool (running): book",
    ]


@pytest.mark.parametrize("key_first", [False, True], ids=["interrupt, #", "#, interrupt"])
def test_a_late_pound_that_barges_in_is_ignored(key_first: bool) -> None:
    """The reply it cut is taken up again after the wait."""
    driver = started()
    driver.press("1234")
    driver.wait(1.2)
    driver.delta("Thank you, one moment please.")
    driver.end_round()
    driver.now += 1.0
    if key_first:
        driver.press("#")
        driver.interrupt("Thank you,")
    else:
        driver.interrupt("Thank you,")
        driver.press("#")
    assert driver.rounds == []
    driver.wait(2.0)
    assert driver.rounds == [StartTurn(2)]
    assert isinstance(driver.items[-1], NoteItem)


def test_an_interrupt_long_after_a_key_is_of_the_keys_line() -> None:
    """Only the one that comes with the key is of the speech before."""
    driver = started(keys=KEYS)
    driver.press("1")
    driver.wait(1.0)
    driver.interrupt("We open")
    assert driver.story[-1] == "agent (interrupted): We open"


# -- the pad by itself


@given(st.text("0123456789*", min_size=1, max_size=MOST_DIGITS - 1))
def test_what_is_pressed_is_what_is_taken(digits: str) -> None:
    """In order, none lost, and the pad is empty afterwards."""
    pad = Keypad()
    assert not any(pad.press(digit) for digit in digits)
    assert pad.press("#")
    assert pad.take(1.0) == " ".join(digits)
    assert pad.digits == ""
