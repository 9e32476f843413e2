"""Rule 11: the goodbye is heard to its end before ``end`` is sent, and the caller may still come back."""

from __future__ import annotations

import pytest

from relay.events import CloseSocket, End, StartTurn
from relay.heard import CHARACTERS_PER_SECOND, SPEECH_DELAY
from relay.keypad import Key
from relay.rules import Phase
from relay.toolbox import EndCall, Transfer
from tests.relay.driver import CLOSE, LINES, Driver, call, done, started

GOODBYE = "Thank you for calling, goodbye."
LENGTH = len(GOODBYE) / CHARACTERS_PER_SECOND


def ending(words: str = GOODBYE, **options: object) -> Driver:
    """The model has said goodbye and called ``end_call``, all at 0 s."""
    driver = started(**options)
    driver.prompt("That was all")
    driver.say(words, call("end_call"))
    driver.reader()
    driver.finish("end_call", done("{}", EndCall()))
    assert driver.call.phase is Phase.ENDING
    return driver


def ends_at(driver: Driver) -> float:
    """When ``end`` will be sent if nothing else comes."""
    return driver.timers["goodbye"]


# -- what is said


def test_the_models_own_words_are_the_goodbye() -> None:
    """No line is added."""
    assert ending().frames == [GOODBYE, CLOSE]


def test_a_call_ended_without_words_has_the_agents_line() -> None:
    """Nobody is hung up on in silence."""
    assert ending("").frames == [LINES["goodbye"], CLOSE]


def test_words_of_an_earlier_round_are_no_goodbye() -> None:
    """The model said one thing, looked something up, and ended the call without a word."""
    driver = started()
    driver.prompt("That was all")
    driver.say("Let me see.", call("look_up"))
    driver.finish("look_up")
    driver.say("", call("end_call"))
    driver.reader()
    driver.finish("end_call", done("{}", EndCall()))
    assert driver.frames == ["Let me see.", CLOSE, LINES["goodbye"], CLOSE]


def test_the_turn_ends_when_the_goodbye_begins() -> None:
    """No further round is asked for."""
    driver = ending()
    assert driver.turns[-1].outcome == "done"
    assert driver.rounds == []


# -- when end is sent


def test_end_follows_the_last_word_that_was_heard() -> None:
    """The cursor reached the end of the goodbye, and 0.2 s."""
    driver = ending()
    driver.now = 2.0
    driver.played("Thank you for calling,")
    driver.played("goodbye.")
    assert ends_at(driver) == pytest.approx(2.2)
    driver.wait(0.21)
    assert driver.ended == End(None, "agent")


def test_proof_of_more_words_moves_the_end() -> None:
    """What is left at the usual rate, and 1.5 s."""
    driver = ending()
    driver.now = 2.0
    driver.played("Thank you for calling,")
    left = len(GOODBYE) - len("Thank you for calling,")
    assert ends_at(driver) == pytest.approx(2.0 + left / CHARACTERS_PER_SECOND + 1.5)


def test_end_follows_silence_where_nothing_is_proven() -> None:
    """``agentSpeaking off`` after an ``on`` that came after the goodbye's first frame."""
    driver = ending()
    driver.now = 0.4
    driver.agent(True)
    driver.now = 2.0
    assert End(None, "agent") in driver.agent(False)


def test_silence_after_the_speech_before_is_not_the_end_of_the_goodbye() -> None:
    """The ``on`` was of older words."""
    driver = started()
    driver.prompt("Tell me")
    driver.say("A long story.")
    driver.now = 0.4
    driver.agent(True)
    driver.prompt("That was all")
    driver.say(GOODBYE, call("end_call"))
    driver.reader()
    driver.finish("end_call", done("{}", EndCall()))
    driver.now = 1.5
    driver.agent(False)
    assert driver.ended is None
    driver.agent(True)
    driver.now = 3.9
    driver.agent(False)
    assert driver.ended is not None


def test_silence_that_follows_no_speech_is_no_end() -> None:
    """Nor is speech reported twice."""
    driver = ending()
    driver.now = 0.4
    driver.agent(False)
    driver.agent(True)
    driver.agent(True)
    assert driver.ended is None


def test_silence_is_no_proof_where_there_is_better() -> None:
    """In a session that has shown ``tokensPlayed`` the pause between two sentences does not hang up."""
    driver = ending()
    driver.now = 0.4
    driver.agent(True)
    driver.played("Thank you for calling,")
    driver.now = 1.0
    driver.agent(False)
    assert driver.ended is None


def test_without_info_frames_the_clock_ends_the_call() -> None:
    """Characters at the usual rate, and 1.5 s."""
    driver = ending()
    assert ends_at(driver) == pytest.approx(SPEECH_DELAY + LENGTH + 1.5)
    driver.wait(SPEECH_DELAY + LENGTH + 1.4)
    assert driver.ended is None
    driver.wait(0.2)
    assert driver.ended is not None


def test_a_goodbye_that_should_be_over_by_the_clock_still_has_its_slack() -> None:
    """The tool took as long as the words; the voice may be slower than the estimate."""
    driver = started()
    driver.prompt("That was all")
    driver.say(GOODBYE, call("end_call"))
    driver.reader()
    driver.now = SPEECH_DELAY + LENGTH + 0.5
    driver.finish("end_call", done("{}", EndCall()))
    assert ends_at(driver) == pytest.approx(SPEECH_DELAY + LENGTH + 1.5)


def test_speech_before_the_goodbye_counts() -> None:
    """It is queued behind it."""
    driver = started()
    driver.prompt("Tell me")
    driver.say("a" * 42)
    driver.prompt("That was all")
    driver.say(GOODBYE, call("end_call"))
    driver.reader()
    driver.finish("end_call", done("{}", EndCall()))
    assert ends_at(driver) == pytest.approx(SPEECH_DELAY + 3.0 + LENGTH + 1.5)


def test_no_goodbye_takes_longer_than_the_limit() -> None:
    """However long it is."""
    driver = ending("Goodbye. " * 100, goodbye_limit=15.0)
    assert ends_at(driver) == pytest.approx(15.0)
    driver.wait(10.0)
    driver.played("Goodbye.")
    assert ends_at(driver) == pytest.approx(15.0)
    driver.wait(5.0)
    assert driver.ended is not None


# -- a transfer


def test_a_transfer_hands_over_with_its_reason() -> None:
    """After the bridging words."""
    driver = started()
    driver.prompt("A person please")
    driver.say("", call("transfer"))
    driver.reader()
    driver.finish("transfer", done("{}", Transfer("asked", "Wants a refund")))
    assert driver.frames == [LINES["bridge"], CLOSE]
    driver.wait(20.0)
    assert driver.ended == End(
        {
            "reasonCode": "live-agent-handoff",
            "reason": "asked",
            "summary": "Wants a refund",
            "language": "en-US",
        },
        "transferred",
    )
    assert "refund" not in repr(driver.ended)


# -- coming back


def test_a_prompt_takes_the_call_back() -> None:
    """With a turn; the end is forgotten."""
    driver = ending()
    driver.now = 1.0
    driver.prompt("Wait, one more thing")
    assert driver.call.phase is Phase.TALKING
    assert driver.rounds == [StartTurn(2)]
    driver.say("Yes?")
    driver.wait(60.0)
    assert driver.ended is None


def test_a_key_takes_the_call_back() -> None:
    """Mapped or not, it is input."""
    for keys in ({}, {"1": Key(say="We open at nine.")}):
        driver = ending(keys=keys)
        driver.now = 1.0
        driver.press("1")
        assert driver.call.phase is Phase.TALKING
        driver.wait(60.0)
        assert driver.ended is None


def test_keys_pressed_before_the_goodbye_take_the_call_back() -> None:
    """They are complete while it is spoken."""
    driver = started()
    driver.prompt("That was all")
    driver.delta(GOODBYE)
    driver.press("1")
    driver.end_round(call("end_call"))
    driver.reader()
    driver.finish("end_call", done("{}", EndCall()))
    driver.wait(1.3)
    assert driver.call.phase is Phase.TALKING
    assert driver.rounds == [StartTurn(2)]
    driver.wait(10.0)
    assert driver.ended is None


@pytest.mark.parametrize("info", ["", "speakers", "tokens"])
def test_an_interrupt_waits_for_a_prompt_and_then_ends(info: str) -> None:
    """Two seconds; what was heard is on record."""
    driver = ending()
    if info:
        driver.now = 0.4
        driver.agent(True)
    if info == "tokens":
        driver.played("Thank you")
    driver.now = SPEECH_DELAY + 10 / CHARACTERS_PER_SECOND
    interrupted = driver.now
    driver.interrupt("Thank you")
    assert ends_at(driver) == pytest.approx(interrupted + 2.0)
    assert driver.story[1] == "agent (interrupted): Thank you"
    if info:  # what still comes of the goodbye does not end the call earlier, nor later
        if info == "tokens":
            driver.played("for")
        driver.agent(False)
        assert driver.ended is None
        assert ends_at(driver) == pytest.approx(interrupted + 2.0)
    driver.wait(2.01)
    assert driver.ended is not None


def test_a_prompt_after_the_interrupt_takes_the_call_back() -> None:
    """It came in time."""
    driver = ending()
    driver.now = 1.0
    driver.interrupt("Thank")
    driver.wait(1.0)
    driver.prompt("Wait")
    driver.wait(10.0)
    assert driver.ended is None
    assert driver.call.phase is Phase.TALKING


def test_a_caller_who_is_still_speaking_is_waited_for() -> None:
    """The two seconds are without ``clientSpeaking``; the limit of a goodbye holds all the same."""
    driver = ending()
    driver.client(True)
    driver.client(False)
    driver.client(True)
    driver.now = 1.0
    driver.interrupt("Thank")
    driver.wait(8.0)
    assert driver.ended is None
    driver.prompt("Oh, and the parking?")
    assert driver.rounds == [StartTurn(2)]

    driver = ending()
    driver.client(False)
    driver.client(True)
    driver.now = 1.0
    driver.interrupt("Thank")
    driver.wait(9.0)
    driver.client(True)
    driver.wait(5.01)
    assert driver.ended is not None


def test_a_voice_over_a_goodbye_that_was_not_cut_does_not_hold_the_end() -> None:
    """Nothing was stopped; what the caller says is no more than a noise until it is a prompt."""
    driver = ending()
    driver.client(False)
    driver.client(True)
    driver.wait(SPEECH_DELAY + LENGTH + 1.6)
    assert driver.ended is not None


def test_an_interrupt_after_the_goodbye_was_heard_does_not_matter() -> None:
    """Nothing is being said."""
    driver = ending()
    driver.agent(True)
    driver.played(GOODBYE)
    driver.agent(False)
    due = ends_at(driver)
    assert driver.interrupt("") == []
    assert ends_at(driver) == due


def test_a_partial_prompt_changes_nothing() -> None:
    """Only a final one is a turn."""
    driver = ending()
    driver.prompt("Wai", last=False)
    driver.wait(20.0)
    assert driver.ended is not None


def test_a_late_pound_does_not_hold_the_end() -> None:
    """It belongs to a code that was taken before."""
    driver = started()
    driver.press("12")
    driver.wait(1.2)
    driver.say(GOODBYE, call("end_call"))
    driver.reader()
    driver.finish("end_call", done("{}", EndCall()))
    driver.press("#")
    assert driver.call.phase is Phase.ENDING


# -- after the end


def test_after_end_the_socket_is_closed_if_nobody_else_does() -> None:
    """Five seconds later."""
    driver = ending()
    driver.wait(ends_at(driver))
    assert driver.call.phase is Phase.ENDED
    due = driver.timers["close"]
    assert not driver.closed
    assert driver.fire("close") == [CloseSocket()]
    assert due == pytest.approx(SPEECH_DELAY + LENGTH + 1.5 + 5.0)


def test_after_end_nothing_is_said_or_asked() -> None:
    """Whatever the caller does."""
    driver = ending()
    driver.wait(ends_at(driver))
    assert driver.prompt("Hello?") == []
    assert driver.press("1") == []
    assert driver.interrupt("Thank") == []
    assert driver.agent(False) == []
    driver.wait(4.0)
    assert driver.frames == [GOODBYE, CLOSE]


def test_a_goodbye_heard_to_its_end_is_on_record_as_done() -> None:
    """The socket's end comes right after ``end``."""
    for info in (True, False):
        driver = ending()
        if info:
            driver.agent(True)
            driver.played(GOODBYE)
        driver.wait(ends_at(driver) - driver.now)
        assert driver.ended is not None
        driver.hang_up()
        assert driver.story[1] == f"agent (done): {GOODBYE}"


def test_a_goodbye_cut_by_the_hang_up_is_on_record_as_heard() -> None:
    """The caller was faster."""
    driver = ending()
    driver.now = SPEECH_DELAY + len("Thank you") / CHARACTERS_PER_SECOND + 0.01
    driver.hang_up()
    assert driver.ended is None
    assert driver.story[1] == "agent (interrupted): Thank you"
    driver.wait(60.0)
    assert driver.ended is None


def test_a_side_effect_that_ends_after_the_call_is_on_record() -> None:
    """It belongs to the process."""
    driver = started()
    driver.prompt("Book it")
    driver.say("", call("book"))
    driver.reader()
    driver.prompt("That was all")
    driver.wait(0.5)
    driver.say(GOODBYE, call("end_call"))
    driver.reader()
    driver.finish("end_call", done("{}", EndCall()))
    driver.wait(10.0)
    assert driver.ended is not None
    driver.finish("book", done('"yes"'))
    assert driver.story[1] == "tool (done): book"
