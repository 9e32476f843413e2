"""The call's time: the caller is told before it runs out, and then the call ends, whatever is being said."""

from __future__ import annotations

import pytest

from relay.events import CancelTurn, End, Prepared
from relay.items import UserItem
from relay.rules import Phase
from relay.toolbox import EndCall, Transfer
from tests.relay.driver import CLOSE, LINES, Driver, answered, call, done, started

WARNED = [LINES["time_warning"], CLOSE]
UP = [LINES["time_up"], CLOSE]
LIMIT = 1000.0
TIME = {"max_call_seconds": LIMIT}


def until(driver: Driver, now: float) -> None:
    driver.wait(now - driver.now)


def ended(driver: Driver) -> None:
    """The farewell is spoken; ``end`` follows."""
    assert driver.call.phase is Phase.ENDING and driver.ended is None
    driver.wait(10.0)
    assert driver.ended == End(None, "time_up")


# -- the warning


def test_the_caller_is_told_a_minute_before() -> None:
    """Once, where nobody speaks."""
    driver = answered(**TIME)
    driver.frames.clear()
    driver.nothing_for(LIMIT - 60.1)
    driver.wait(0.2)
    assert driver.frames == WARNED
    driver.nothing_for(59.0)


def test_of_a_short_call_a_tenth() -> None:
    """Not a minute of two."""
    driver = answered(max_call_seconds=100.0)
    driver.frames.clear()
    driver.nothing_for(89.9)
    driver.wait(0.2)
    assert driver.frames == WARNED


def test_nobody_is_told_in_the_middle_of_speech() -> None:
    """The next silence will do."""
    driver = started(**TIME)
    until(driver, LIMIT - 65)
    driver.prompt("Tell me")
    driver.delta("Once there was a fox, ")
    driver.agent(True)
    until(driver, LIMIT - 55)
    driver.say("in a wood.")
    driver.wait(3.0)
    assert driver.frames == ["Once there was a fox, ", "in a wood.", CLOSE]
    driver.agent(False)
    assert driver.frames[-2:] == WARNED


def test_nobody_is_told_while_they_speak() -> None:
    """Nor in the pause in which their words may come."""
    driver = answered(**TIME)
    until(driver, LIMIT - 61)
    driver.client(False)
    driver.client(True)
    driver.nothing_for(4.0)
    driver.client(False)
    driver.nothing_for(1.9)
    driver.wait(0.2)
    assert driver.frames[-2:] == WARNED


def test_where_there_is_no_silence_the_caller_is_told_all_the_same() -> None:
    """At half the time that was left for it."""
    driver = answered("A very long story. " * 100, **TIME)
    driver.agent(True)
    until(driver, LIMIT - 60.1)
    driver.prompt("And now another")
    driver.delta("Once there was")
    driver.timers["turn"] = 1e6
    until(driver, LIMIT - 30.1)
    assert driver.frames[-1] == "Once there was"
    until(driver, LIMIT - 29.9)
    driver.delta(" a fox.")
    assert driver.frames[-5:] == ["Once there was", CLOSE, *WARNED, " a fox."]


def test_a_warning_cut_by_a_noise_is_not_taken_up_again() -> None:
    """The caller was told, or will learn."""
    driver = answered(**TIME)
    until(driver, LIMIT - 59.9)
    driver.interrupt("Little")
    driver.nothing_for(58.0)


def test_the_question_whether_somebody_is_there_comes_after_the_warning() -> None:
    """Not both at once."""
    driver = answered(max_call_seconds=100.0, silence_after=8.0, silence_prompts=9)
    until(driver, 89.0)
    driver.prompt("Hm")
    driver.say("Yes?")
    driver.frames.clear()
    until(driver, 97.0)
    assert driver.frames == WARNED


# -- the end


def test_the_end_of_the_time_is_the_end_of_the_call() -> None:
    """A line, heard to its end."""
    driver = answered(**TIME)
    until(driver, LIMIT - 1)
    driver.frames.clear()
    driver.wait(1.1)
    assert driver.frames == UP
    ended(driver)


def test_a_reply_in_progress_ends() -> None:
    """The model is not asked for more, and what was said stands."""
    driver = started(**TIME)
    until(driver, LIMIT - 1)
    driver.prompt("Tell me")
    driver.delta("Once there was")
    driver.frames.clear()
    actions = driver.wait(1.1)
    assert CancelTurn(1) in actions
    assert driver.frames == [CLOSE, *UP]
    assert driver.story[-2:] == ["agent (superseded): Once there was", "agent (open): " + LINES["time_up"]]
    ended(driver)


def test_words_do_not_call_it_off() -> None:
    """They are on record and have no answer; keys have none either."""
    driver = answered(**TIME)
    until(driver, LIMIT + 0.1)
    driver.interrupt("Our time")
    driver.prompt("Wait, one more thing", "en-US")
    driver.press("1#")
    assert driver.rounds == []
    assert driver.items[-1] == UserItem("Wait, one more thing", "en-US")
    driver.wait(2.1)
    assert driver.ended == End(None, "time_up")


def test_noise_does_not_hold_it_up() -> None:
    """Cut again and again, the call is over when the limit of a goodbye is."""
    driver = answered(**TIME, goodbye_limit=15.0)
    until(driver, LIMIT + 0.1)
    driver.interrupt("Our")
    while driver.ended is None and driver.now < LIMIT + 30.0:
        driver.client(True)
        driver.wait(0.4)
        driver.interrupt("Our")
    assert driver.ended == End(None, "time_up")
    assert driver.now < LIMIT + 15.6


def test_digits_being_pressed_are_left_on_record() -> None:
    """Nothing begins with them."""
    driver = answered(**TIME, interdigit=2.0)
    until(driver, LIMIT - 1)
    driver.press("12")
    driver.wait(2.0)
    assert driver.rounds == []
    assert driver.story[-1] == "note: The caller pressed 1 2 on the keypad."
    ended(driver)


def test_a_goodbye_under_way_becomes_final() -> None:
    """No second farewell, and words no longer take the call back."""
    driver = started(**TIME)
    until(driver, LIMIT - 1)
    driver.prompt("That was all")
    driver.say("Goodbye then, and thank you very much for calling.", call("end_call"))
    driver.reader()
    driver.finish("end_call", done("{}", EndCall()))
    driver.frames.clear()
    driver.wait(1.1)
    driver.prompt("Wait")
    assert driver.frames == [] and driver.rounds == []
    driver.wait(10.0)
    assert driver.ended == End(None, "agent")


def test_a_handing_over_under_way_is_still_one() -> None:
    """The person takes over."""
    driver = started(**TIME)
    until(driver, LIMIT - 1)
    driver.prompt("A person please")
    driver.say("", call("transfer"))
    driver.reader()
    driver.finish("transfer", done("{}", Transfer("asked", "")))
    driver.wait(10.0)
    assert driver.ended is not None and driver.ended.reason == "transferred"


def test_a_result_that_comes_late_starts_nothing() -> None:
    """The tool with a side effect goes on; nobody is there to be told."""
    driver = started(**TIME)
    until(driver, LIMIT - 1)
    driver.prompt("Book it")
    driver.say("One moment.", call("book"))
    driver.reader()
    driver.wait(1.1)
    driver.finish("book")
    assert driver.rounds == []
    assert "tool (done): book" in driver.story
    ended(driver)


@pytest.mark.parametrize("before", [0.0, 300.0, 970.0])
def test_the_time_of_earlier_sessions_counts(before: float) -> None:
    """A call that was cut off does not begin anew; what is left of it is told."""
    driver = Driver(dict(TIME))
    driver.setup()
    driver.now = 0.5
    driver.send(Prepared((UserItem("Hi"),), True, before))
    driver.say("Hello.")
    driver.frames.clear()
    until(driver, LIMIT - before - 0.1)
    assert driver.frames == WARNED
    driver.wait(0.2)
    assert driver.frames == [*WARNED, *UP]


def test_a_call_whose_time_ran_out_between_two_sessions() -> None:
    """It ends, with its line."""
    driver = Driver(dict(TIME))
    driver.setup()
    driver.send(Prepared((UserItem("Hi"),), True, LIMIT + 5))
    driver.wait(0.0)
    assert driver.frames == UP
    assert driver.rounds == []
    ended(driver)
