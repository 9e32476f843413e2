"""A call whose budget is used up: the caller is told in place of an answer, and the call ends."""

from __future__ import annotations

from relay.events import End
from relay.items import UserItem
from relay.rules import Phase
from tests.relay.driver import CLOSE, LINES, Driver, answered, call, done

TOLD = [LINES["budget"], CLOSE]


def ended(driver: Driver) -> None:
    """The farewell is spoken; ``end`` follows."""
    assert driver.call.phase is Phase.ENDING and driver.ended is None
    driver.wait(10.0)
    assert driver.ended == End(None, "budget")


def test_the_caller_is_told_and_the_call_ends() -> None:
    """What they said is on record; no model is asked, nothing is apologised for."""
    driver = answered()
    driver.frames.clear()
    driver.prompt("And tomorrow?")
    driver.refuse()
    assert driver.frames == TOLD
    assert driver.story[-2:] == ["user: And tomorrow?", "agent (open): " + LINES["budget"]]
    ended(driver)


def test_words_do_not_call_it_off() -> None:
    """They are on record and have no answer."""
    driver = answered()
    driver.prompt("And tomorrow?")
    driver.refuse()
    driver.interrupt("That")
    driver.prompt("Wait", "en-US")
    assert driver.rounds == []
    assert driver.items[-1] == UserItem("Wait", "en-US")
    driver.wait(2.1)
    assert driver.ended == End(None, "budget")


def test_a_turn_that_is_over_is_not_refused() -> None:
    """The caller said more meanwhile: that turn is what counts."""
    driver = answered()
    driver.prompt("And")
    first = driver.turn
    driver.prompt("tomorrow?")
    driver.refuse(first)
    assert driver.call.phase is Phase.TALKING
    driver.refuse()
    ended(driver)


def test_a_side_effect_under_way_goes_on() -> None:
    """What was begun is finished and on record, though nobody is told of it any more."""
    driver = answered()
    driver.prompt("Book it")
    driver.say("", call("book"))
    driver.reader()
    driver.prompt("And another one")
    driver.wait(1.0)
    driver.refuse()
    driver.finish("book", done())
    assert driver.rounds == []
    assert "tool (done): book" in driver.story
    ended(driver)
