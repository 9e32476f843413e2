"""A process that leaves hands its calls on: one line, no word lost, and the next session goes on where this one was."""

from __future__ import annotations

import pytest

from relay.events import CancelTurn, Drain, End, Prepared, StartTurn
from relay.items import AssistantItem, Item, NoteItem, ToolItem, UserItem
from relay.rules import Phase
from relay.toolbox import EndCall
from relay.turns import CUT_NOTE
from tests.relay.driver import CLOSE, LINES, Driver, answered, call, done, started

LIMIT = 8.0
HANDED = End({"reasonCode": "resume", "handed": "on"}, "handed_on")
MOVING = [LINES["moving"], CLOSE]


def drained(driver: Driver) -> Driver:
    """Told to leave, with what was sent before forgotten."""
    driver.frames.clear()
    driver.send(Drain(LIMIT))
    return driver


def following(*items: Item, handed: bool = True) -> Driver:
    """The session that goes on with a call of which these items are on record."""
    driver = Driver()
    driver.setup()
    driver.send(Prepared(items, resumed=True, handed=handed))
    return driver


# -- the session that leaves


def test_a_call_at_rest_hears_one_line_to_its_end() -> None:
    """The line is said, and ``end`` follows only when it was heard; until then nothing else is said or asked."""
    driver = drained(answered())
    assert driver.frames == MOVING and driver.call.phase is Phase.ENDING
    driver.wait(len(LINES["moving"]) / 14 - 0.2)
    assert driver.ended is None
    driver.wait(LIMIT)
    assert driver.ended == HANDED and driver.frames == MOVING


def test_proof_that_the_line_was_heard_ends_the_session_soon() -> None:
    """Where Twilio tells what was played nothing is waited for beyond it."""
    driver = drained(answered())
    driver.played("Hello there. " + LINES["moving"])
    driver.wait(0.3)
    assert driver.ended == HANDED


def test_an_agent_without_the_line_hands_on_in_silence() -> None:
    """A line that is empty is not said."""
    driver = Driver(lines={})
    driver.setup()
    driver.prepared()
    drained(driver)
    driver.wait(1.0)
    assert driver.frames == [] and driver.ended == HANDED


def test_a_reply_in_the_making_is_given_up() -> None:
    """The request is closed, what was sent of the reply stands and is marked."""
    driver = started()
    driver.prompt("Tell me")
    driver.delta("Once there was a fox, ")
    turn = driver.turn
    assert CancelTurn(turn) in driver.send(Drain(LIMIT))
    assert driver.frames[-3:] == [CLOSE, *MOVING]
    driver.wait(LIMIT)
    driver.hang_up()
    assert driver.story[:2] == ["user: Tell me", "agent (superseded): Once there was a fox, "]


def test_words_that_come_late_are_left_for_the_next_session() -> None:
    """What the caller says behind the line is on record, last, and has no answer."""
    driver = drained(answered())
    driver.prompt("And now?")
    driver.wait(LIMIT)
    assert driver.ended == HANDED and driver.rounds == []
    assert driver.items[-1] == UserItem("And now?")


def test_words_that_cross_with_the_end_are_left_too() -> None:
    """What was on its way when ``end`` was sent is on record; words behind an end for good are nobody's."""
    driver = drained(answered())
    driver.wait(LIMIT)
    assert driver.ended == HANDED
    driver.prompt("One more thing")
    driver.hang_up()
    assert driver.items[-1] == UserItem("One more thing")

    over = started()
    over.prompt("Bye")
    over.say("Goodbye.", call("end_call"))
    over.reader()
    over.finish("end_call", done("{}", EndCall()))
    over.wait(LIMIT)
    assert over.ended == End(None, "agent")
    items = over.items
    over.prompt("One more thing")
    assert over.items == items


def test_a_caller_who_speaks_over_the_line_does_not_stop_it() -> None:
    """An interrupt is given the time of a prompt; then the call is handed on all the same."""
    driver = drained(answered())
    driver.interrupt("There")
    driver.wait(3.0)
    assert driver.ended == HANDED


def test_a_side_effect_is_waited_for() -> None:
    """Its result is on record before another process has the call."""
    driver = started()
    driver.prompt("Book it")
    driver.end_round(call("book"))
    driver.reader()
    drained(driver)
    driver.wait(6.0)
    assert driver.ended is None
    driver.finish("book", done('{"code": 7}'))
    driver.wait(0.3)
    assert driver.ended == HANDED
    assert next(item for item in driver.items if isinstance(item, ToolItem)).output == '{"code": 7}'


def test_a_side_effect_is_not_waited_for_for_ever() -> None:
    """At the limit the call is handed on."""
    driver = started()
    driver.prompt("Book it")
    driver.end_round(call("book"))
    driver.reader()
    drained(driver)
    driver.wait(LIMIT - 0.1)
    assert driver.ended is None
    driver.wait(0.2)
    assert driver.ended == HANDED


def test_other_tools_end_with_their_turn() -> None:
    """The next session asks for them anew: what has no effect can be done twice."""
    driver = started()
    driver.prompt("Look")
    driver.end_round(call("look_up"))
    drained(driver)
    assert driver.tools == {}
    driver.wait(LIMIT)
    assert driver.ended == HANDED
    assert driver.story[1] == "tool (interrupted): look_up"


def test_a_long_reply_does_not_hold_it_up() -> None:
    """What is still to be played behind the limit is not waited for; it is not on record as heard."""
    long = "word " * 200
    driver = drained(answered(long))
    driver.wait(LIMIT + 0.1)
    assert driver.ended == HANDED
    driver.hang_up()
    reply = next(item for item in driver.items if isinstance(item, AssistantItem) and not item.origin)
    assert len(reply.text) < len(long) and reply.sent == long


def test_a_call_that_says_goodbye_ends() -> None:
    """It is not handed on, and ends within the limit."""
    driver = started()
    driver.prompt("Bye")
    driver.say("Goodbye, " + "and so on " * 40, call("end_call"))
    driver.reader()
    driver.finish("end_call", done("{}", EndCall()))
    drained(driver)
    assert driver.frames == [] and driver.call.phase is Phase.ENDING
    driver.wait(LIMIT + 0.1)
    assert driver.ended == End(None, "agent")


def test_before_it_is_prepared() -> None:
    """A call that has just come in is handed on too, and asks nothing of a model."""
    driver = Driver({"greeting": "Hello."})
    driver.setup()
    driver.prompt("Hi")
    driver.send(Drain(LIMIT))
    driver.prepared()
    driver.wait(LIMIT)
    assert driver.ended == HANDED and driver.rounds == []
    assert UserItem("Hi") in driver.items


def test_told_twice() -> None:
    """The second time changes nothing."""
    driver = drained(answered())
    driver.wait(1.0)
    driver.send(Drain(LIMIT))
    assert driver.frames == MOVING
    driver.wait(LIMIT)
    assert driver.ended == HANDED


# -- the session that follows

MOVED = AssistantItem(LINES["moving"], origin="moving")


def test_nothing_is_said_where_it_is_the_callers_turn() -> None:
    """The caller has heard one line already."""
    driver = following(UserItem("Hi"), AssistantItem("Hello there."), MOVED)
    assert driver.frames == [] and driver.rounds == []


@pytest.mark.parametrize(
    "reply",
    [
        AssistantItem("Once there was", "interrupted", sent="Once there was a fox."),
        AssistantItem("Once there was a fox,", "superseded"),
    ],
)
def test_a_reply_that_was_cut_goes_on(reply: AssistantItem) -> None:
    """The model is told where, and asked at once; no line is said."""
    driver = following(UserItem("Tell me"), reply, MOVED)
    assert driver.frames == []
    assert driver.rounds == [StartTurn(driver.turn, 0)]
    assert driver.items[-1] == NoteItem(CUT_NOTE)


@pytest.mark.parametrize(
    "last", [UserItem("And now?"), ToolItem("c", "look_up", "{}", "{}", "interrupted")], ids=["words", "a tool"]
)
def test_what_has_no_answer_is_answered(last: Item) -> None:
    """At once, and with no line before."""
    driver = following(UserItem("Hi"), AssistantItem("Hello."), last, MOVED)
    assert driver.frames == [] and len(driver.rounds) == 1


def test_a_reminder_that_was_cut_is_not_taken_up() -> None:
    """It answered nothing."""
    driver = following(
        UserItem("Hi"), AssistantItem("Are", "interrupted", origin="still_there", sent="Are you there?"), MOVED
    )
    assert driver.frames == [] and driver.rounds == []


def test_a_session_that_broke_says_so() -> None:
    """Without having been handed on, the caller is told as ever."""
    driver = following(UserItem("Hi"), AssistantItem("Hello there."), handed=False)
    assert driver.frames == [LINES["cut_off"], CLOSE]
