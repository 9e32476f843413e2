"""A call that goes on on another socket of its session: the caller may have noticed nothing."""

from __future__ import annotations

from relay.events import Close, Reconnected, SocketClosed
from relay.items import AssistantItem, NoteItem, ToolItem, UserItem
from relay.turns import CUT_NOTE
from tests.relay.driver import EPOCH, Driver, answered, started

HI, HELLO = UserItem("Hi"), AssistantItem("Hello there.")


def playing(text: str, heard: int = 0, ago: float = 0.0, origin: str = "") -> AssistantItem:
    """Given to Twilio so many seconds before the socket was accepted."""
    return AssistantItem(text, "open", heard, EPOCH - int(ago * 1000), origin)


def fresh(**options: object) -> Driver:
    driver = Driver(options)
    driver.setup()
    return driver


def test_a_finished_conversation_goes_on_in_silence() -> None:
    """No greeting, no line, no request; the next words are answered."""
    driver = fresh(greeting="Hello from the test.")
    driver.reconnected(HI, HELLO)
    driver.nothing_for(60)
    assert driver.story == ["user: Hi", "agent (done): Hello there."]
    driver.prompt("And you?")
    assert len(driver.rounds) == 1
    driver.say("Fine.")
    assert driver.frames[0] == "Fine."


def test_a_greeting_that_plays_on_is_the_earlier_socket_s() -> None:
    """It stands once in the history, and may still be cut."""
    driver = fresh(greeting="Hello from the test.")
    driver.reconnected(playing("Hello from the test.", ago=0.5, origin="greeting"), playing=1)
    assert driver.story == ["agent (open): Hello from the test."]
    driver.interrupt("Hello from")
    assert driver.stored == {-1: AssistantItem("Hello from", "interrupted", 0, EPOCH - 500, "greeting")}


def test_what_has_no_answer_is_answered() -> None:
    """Words and results at the end of the history."""
    for last in (HI, NoteItem("The caller pressed 1."), ToolItem("c1", "look_up", "{}", "{}")):
        driver = fresh()
        driver.reconnected(HELLO, last)
        assert len(driver.rounds) == 1
        assert driver.story[-1] != f"note: {CUT_NOTE}"


def test_an_unfinished_reply_is_taken_up() -> None:
    """The model is shown what was sent, and that it was cut there."""
    driver = fresh()
    driver.reconnected(HI, playing("Once there was"), playing=1, unfinished=True)
    assert driver.story == ["user: Hi", "agent (open): Once there was", f"note: {CUT_NOTE}"]
    assert len(driver.rounds) == 1


def test_the_caller_s_words_come_before_what_was_cut() -> None:
    """Who has spoken without a socket is answered, and what was cut is not missed."""
    driver = fresh()
    driver.send(Reconnected(((-1, playing("Once there was")),), unfinished=True))
    driver.prompt("Never mind")
    driver.prepared(HI, resumed=True)
    assert driver.story == ["user: Hi", "agent (open): Once there was", "user: Never mind"]
    assert len(driver.rounds) == 1


def test_speech_that_plays_on_is_heard_and_cut_as_any() -> None:
    """Reports of it move the cursor; an interrupt ends it at the word, under its old position."""
    driver = fresh()
    driver.reconnected(HI, playing("One two three. Four five six.", heard=1), playing=1)
    driver.played("two three.")
    driver.interrupt("Four")
    assert driver.stored[-1] == AssistantItem("One two three. Four", "interrupted", 0, EPOCH)
    driver.wait(2.0)
    assert driver.story[-1] == f"note: {CUT_NOTE}"
    assert len(driver.rounds) == 1


def test_speech_that_plays_on_is_being_said() -> None:
    """Whatever waits for the agent to be silent waits for it, and our own next words do not cut it."""
    driver = fresh()
    driver.reconnected(HI, playing("x" * 140, ago=2.0), playing=1)
    assert driver.call.speaking.busy
    driver.prompt("And you?")
    driver.say("Fine.")
    assert driver.items[1] == playing("x" * 140, ago=2.0)
    assert not fresh().call.speaking.busy


def test_speech_that_plays_on_is_over_in_its_time() -> None:
    """Without info frames the clock settles it, from the moment it was given on."""
    driver = fresh()
    driver.reconnected(HI, playing("x" * 140, ago=9.0), playing=1)
    driver.wait(5.0)
    assert driver.stored == {-1: AssistantItem("x" * 140, "done", 0, EPOCH - 9000)}


def test_a_lost_socket_leaves_speech_open() -> None:
    """What was sent stays on record as sent, with what is known to be heard, and the turn ends."""
    driver = started()
    driver.prompt("Hi")
    driver.delta("Once ")
    driver.delta("there was")
    driver.played("Once")
    actions = driver.send(SocketClosed(plays_on=True))
    assert driver.stored[1] == AssistantItem("Once there was", "open", 1, EPOCH)
    assert driver.rounds == []
    assert Close() not in actions


def test_what_is_unfinished() -> None:
    """A turn, and whatever an interrupt has left to the caller; not an answer that is given."""
    driver = started()
    assert not driver.call.unfinished
    driver.prompt("Hi")
    assert driver.call.unfinished
    driver.say("One two three four.")
    assert not driver.call.unfinished
    driver.played("One")
    driver.interrupt("One two")
    assert driver.call.unfinished


def test_what_is_not_on_record() -> None:
    """Keys that are being collected, and words that wait for a turn that may not be interrupted."""
    driver = answered(interruptible=False)
    driver.press("1")
    assert driver.call.unrecorded
    driver.press("#")
    assert not driver.call.unrecorded
    driver.delta("A long ")
    driver.prompt("Me too")
    assert driver.call.unrecorded
    driver.end_round()
    assert not driver.call.unrecorded
