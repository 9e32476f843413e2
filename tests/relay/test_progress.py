"""What a long tool reports aloud: said in a silence, the latest, now and then; or not at all."""

from __future__ import annotations

from typing import Any

import pytest

from relay.events import ToolProgress
from relay.fillers import MOST_REPORTED, REPORT_PAUSE
from relay.items import AssistantItem
from relay.turn import window
from tests.relay.driver import CLOSE, Driver, call, started

FIRST, SECOND = "I have found two hotels.", "I have found five hotels."


def searching(words: str = "", **options: Any) -> Driver:
    driver = started(**{"fillers": lambda language: ("One moment.",), "filler_after": 0.8} | options)
    driver.prompt("Find me a hotel")
    driver.say(words, call("search"))
    assert driver.tools
    return driver


def test_a_report_is_said_at_once_in_a_silence() -> None:
    """A talk cycle of its own, in place of the filler."""
    driver = searching()
    driver.wait(0.3)
    driver.progress("search", FIRST)
    assert driver.frames == [FIRST, CLOSE] and driver.asides == [FIRST]
    driver.wait(20.0)
    assert driver.frames == [FIRST, CLOSE]
    driver.finish("search")
    driver.say("Here they are.")
    assert driver.frames[-2:] == ["Here they are.", CLOSE]


def test_a_report_is_in_the_transcript_and_no_model_is_shown_it() -> None:
    driver = searching()
    driver.progress("search", FIRST)
    assert [i.origin for i in driver.items if isinstance(i, AssistantItem)] == ["progress"]
    assert not any(isinstance(item, AssistantItem) for item in window(driver.items, 12000))


def test_a_report_waits_for_what_is_being_said() -> None:
    """A filler, or the model's own words."""
    driver = searching()
    driver.wait(0.9)
    driver.progress("search", FIRST)
    assert driver.asides == ["One moment."]
    driver.wait(1.5)
    assert driver.asides == ["One moment.", FIRST]
    driver = searching("Let me look. ")
    driver.progress("search", FIRST)
    assert driver.asides == []
    driver.wait(1.6)
    assert driver.asides == [FIRST]


def test_the_latest_report_is_said() -> None:
    """What it replaced is of no use any more."""
    driver = searching("Let me look. ")
    driver.progress("search", FIRST)
    driver.progress("search", SECOND)
    driver.wait(20.0)
    assert driver.asides == [SECOND]


def test_reports_are_said_now_and_then() -> None:
    """However many come."""
    driver = searching()
    for number in range(100):
        driver.progress("search", f"Result {number}.")
        driver.wait(0.1)
    assert len(driver.asides) == 1 + int(10.0 / REPORT_PAUSE)
    assert "filler" in driver.timers


def test_a_report_is_not_said_while_the_caller_speaks() -> None:
    driver = searching()
    driver.client(True)
    driver.progress("search", FIRST)
    driver.nothing_for(2.0)
    driver.client(False)
    driver.wait(0.3)
    assert driver.asides == [FIRST]


def test_a_report_is_not_said_while_the_caller_has_the_floor() -> None:
    driver = searching("Let me look in the list of hotels. ")
    driver.interrupt("Let me")
    driver.progress("search", FIRST)
    driver.nothing_for(1.9)


def test_a_report_that_comes_to_nothing_is_dropped() -> None:
    """The tool is over, or its turn is, before there was a silence; or nothing is in it."""
    driver = searching("Let me look. ")
    driver.progress("search", FIRST)
    driver.finish("search")
    driver.say("Here they are.")
    driver.wait(20.0)
    assert driver.asides == []
    driver = searching()
    driver.progress("search", "  ")
    assert driver.asides == []


@pytest.mark.parametrize("key", [0, 99])
def test_a_report_of_no_running_tool_is_dropped(key: int) -> None:
    driver = searching()
    driver.send(ToolProgress(key, FIRST))
    assert driver.asides == []


def test_a_report_of_a_superseded_turn_is_dropped() -> None:
    """Of a side effect that goes on by itself."""
    driver = started(side_effect_wait=0.1)
    driver.prompt("Book it")
    driver.say("", call("book"))
    driver.reader()
    driver.prompt("And when are you open?")
    driver.wait(0.2)
    driver.say("", call("look_up"))
    driver.progress("book", FIRST)
    driver.wait(5.0)
    assert driver.asides == []


def test_a_report_of_an_earlier_turns_tool_that_answers_this_one_is_said() -> None:
    """The turn waits for it."""
    driver = started(side_effect_wait=0.1)
    driver.prompt("Book it")
    driver.say("", call("book", call_id="a"))
    driver.reader()
    driver.prompt("Please book it")
    driver.wait(0.2)
    driver.say("", call("book", call_id="b"))
    driver.progress("book", FIRST)
    assert driver.asides == [FIRST]


def test_a_long_report_is_cut_at_a_word() -> None:
    driver = searching()
    driver.progress("search", "word " * 100)
    (said,) = driver.asides
    assert MOST_REPORTED - 5 < len(said) <= MOST_REPORTED and said.endswith("word")
    driver = searching()
    driver.progress("search", "字" * 200)
    assert driver.asides == ["字" * MOST_REPORTED]


def test_the_hold_sound_goes_on_after_a_report() -> None:
    """The report cuts it, since the caller is to hear it; what is heard is heard two seconds later."""
    sound = "https://example.com/hold.mp3"
    driver = searching(hold_sound=sound)
    driver.wait(5.0)
    assert driver.frames == ["One moment.", CLOSE, sound]
    driver.progress("search", FIRST)
    assert driver.frames[3:] == [FIRST, CLOSE]
    driver.nothing_for(2.0 + len(FIRST) / 14)
    driver.wait(1.1)
    assert driver.frames[3:] == [FIRST, CLOSE, sound]


def test_nothing_is_said_after_the_end() -> None:
    driver = searching()
    key = driver.tool("search")
    driver.hang_up()
    assert driver.send(ToolProgress(key, FIRST)) == []
