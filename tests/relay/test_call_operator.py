"""Somebody who watches a call has it say a line, passes it to another agent or a person, or ends it."""

from __future__ import annotations

import pytest

from relay.events import End, Order, SayLine, StartTurn
from relay.frames import PeerError
from relay.items import OPERATOR, AssistantItem, UserItem
from relay.manner import Manner
from relay.operator import MOST_LINES
from relay.rules import Phase
from relay.toolbox import EndCall, SwitchAgent, Transfer
from relay.turns import CUT_NOTE
from tests.relay.driver import CLOSE, LINES, Driver, answered, call, started, texts

LINE = SayLine("The pool is closed today.")
HAND_OVER = Transfer("complaint", "An operator did it.")
BAR = Manner(agent="bar", line=lambda name, language: f"{name} at the bar", language="es-US", transcription="es-US")
ORDERS: list[Order] = [LINE, SwitchAgent("bar"), HAND_OVER, EndCall()]


def passing(**options: object) -> Driver:
    """A call that may be passed to the bar or to a person."""
    return started(agent="house", manners={"bar": BAR}.get, can_transfer=True, **options)


# -- a line


def test_a_line_is_spoken_at_once_where_nobody_speaks() -> None:
    """In a talk cycle of its own; on record as the operator's, and no answer is made up to it."""
    driver = answered()
    driver.order(LINE)
    assert driver.frames == ["Hello there.", CLOSE, LINE.text, CLOSE]
    assert driver.asides == [LINE.text]
    assert driver.items[-1] == AssistantItem(LINE.text, "open", 0, driver.items[-1].started, OPERATOR)  # type: ignore[union-attr]
    driver.nothing_for(60.0)
    assert driver.story[-1] == f"agent (done): {LINE.text}"


def test_the_model_is_shown_the_line_as_its_own_words() -> None:
    """The next request has it between what was said before and after."""
    driver = answered()
    driver.order(LINE)
    driver.prompt("And the sauna?")
    assert texts(driver.items) == ["Hi", "Hello there.", LINE.text, "And the sauna?"]
    assert not any(item.aside for item in driver.items if isinstance(item, AssistantItem))


def test_a_line_goes_behind_the_reply_that_is_being_sent() -> None:
    """The reply is not torn apart, and its turn ends as ever."""
    driver = started()
    driver.prompt("Hi")
    driver.delta("Hello ")
    driver.order(LINE)
    driver.delta("there.")
    assert driver.frames == ["Hello ", "there."]
    driver.end_round()
    assert driver.frames == ["Hello ", "there.", CLOSE, LINE.text, CLOSE]
    assert [turn.outcome for turn in driver.turns] == ["done"]


def test_a_turn_that_has_said_nothing_goes_on_behind_the_line() -> None:
    """Its request is not made anew; its reply follows."""
    driver = started()
    driver.prompt("Hi")
    driver.order(LINE)
    driver.say("Hello there.")
    assert driver.frames == [LINE.text, CLOSE, "Hello there.", CLOSE]
    assert texts(driver.items) == ["Hi", LINE.text, "Hello there."]


def test_a_line_while_a_tool_runs() -> None:
    """It need not wait for the tool, and the model's next round knows of it."""
    driver = started()
    driver.prompt("When do you open?")
    driver.say("Let me see.", call("look_up"))
    driver.order(LINE)
    assert driver.frames[-2:] == [LINE.text, CLOSE]
    driver.finish("look_up")
    assert len(driver.rounds) == 1
    driver.say("At nine.")
    assert driver.frames[-2:] == ["At nine.", CLOSE]


def test_a_line_waits_while_the_caller_speaks() -> None:
    """Nobody is talked over: it is said when they are quiet and have been answered, or nothing came of it."""
    driver = answered()
    driver.client(True)
    driver.order(LINE)
    assert LINE.text not in driver.frames
    driver.client(False)
    assert driver.frames[-2:] == [LINE.text, CLOSE]


def test_a_line_waits_for_the_caller_who_has_interrupted() -> None:
    """Until they have said what they had to say; their turn is not kept waiting."""
    driver = started()
    driver.prompt("Tell me")
    driver.delta("Once upon a time ")
    driver.interrupt("Once upon")
    driver.order(LINE)
    assert LINE.text not in driver.frames
    driver.prompt("Stop it")
    assert driver.frames[-2:] == [LINE.text, CLOSE]
    driver.say("Fine.")
    assert texts(driver.items)[-3:] == ["Stop it", LINE.text, "Fine."]


def test_a_line_that_is_cut_is_taken_up_again() -> None:
    """As any other words: what was heard stays, and silence is not the end."""
    driver = answered()
    driver.played("Hello there.")
    driver.agent(False)
    driver.order(LINE)
    driver.played("The pool")
    driver.interrupt("The pool is")
    assert driver.story[-1] == "agent (interrupted): The pool is"
    driver.wait(2.1)
    assert texts(driver.items)[-1] == CUT_NOTE
    assert len(driver.rounds) == 1


def test_the_words_of_a_line_are_proven_like_others() -> None:
    """Its item knows how much of it was heard."""
    driver = answered()
    driver.played("Hello there.")
    driver.order(LINE)
    driver.played("The pool is")
    item = driver.items[-1]
    assert isinstance(item, AssistantItem) and item.heard == 3


def test_a_line_cuts_nothing_where_speech_gives_way() -> None:
    """It waits for the end of what is being said, and the reply behind it waits for the line's."""
    driver = answered("Hello there, and welcome to the house.", preemptible=True)
    driver.order(LINE)
    assert LINE.text not in driver.frames
    driver.wait(6.0)
    assert driver.frames[-2:] == [LINE.text, CLOSE]
    driver.prompt("And the sauna?")
    driver.delta("Open.")
    assert "agent (interrupted)" not in " ".join(driver.story)


def test_a_line_does_not_wait_for_proof_that_never_comes() -> None:
    """Where speech gives way: what must have been said by the clock has been."""
    driver = answered("Hello there, and welcome to the house.", preemptible=True)
    driver.played("Hello there,")
    driver.order(LINE)
    driver.wait(4.0)
    assert LINE.text not in driver.frames
    driver.wait(4.0)
    assert driver.frames[-2:] == [LINE.text, CLOSE]


def test_lines_keep_their_order_and_their_number() -> None:
    """Those that wait are said one after the other; too many are refused."""
    driver = started()
    driver.prompt("Hi")
    driver.delta("Well, ")
    lines = [f"Line {number}." for number in range(MOST_LINES)]
    for line in lines:
        driver.order(SayLine(line))
    assert driver.call.refusal(SayLine("One more.")) == "too_many_lines"
    driver.order(SayLine("One more."))
    driver.end_round()
    assert [frame for frame in driver.frames if frame != CLOSE] == ["Well, ", *lines]
    assert driver.call.refusal(LINE) == ""


def test_a_line_is_marked_with_the_language_spoken_to_the_caller() -> None:
    """Where the agent follows the caller's."""
    driver = answered(languages=("es-US",), follow_language=True)
    driver.prompt("Hola", "es-ES")
    driver.say("Hola.")
    driver.order(SayLine("La piscina está cerrada."))
    assert driver.marks[-1] == ("es-US", "La piscina está cerrada.")


def test_a_line_makes_what_was_asked_ahead_worthless() -> None:
    """The history is another one by then."""
    driver = answered(speculation=True)
    driver.prompt("Where are you?", last=False)
    assert driver.ahead is not None
    driver.order(LINE)
    driver.wait(5.1)  # the partial prompt is believed for so long
    assert driver.frames[-2:] == [LINE.text, CLOSE] and driver.ahead is None


def test_a_line_before_all_is_ready_follows_the_greeting() -> None:
    """The history may still be on its way."""
    driver = Driver({"greeting": "Welcome."})
    driver.setup()
    driver.order(LINE)
    assert driver.frames == []
    driver.prepared()
    assert driver.frames == [LINE.text, CLOSE]


# -- another agent


def test_another_agent_has_the_call_from_the_next_turn_on() -> None:
    """At once, where nothing is being said."""
    driver = passing()
    driver.order(SwitchAgent("bar"))
    assert driver.call.manner.agent == "bar"
    assert driver.changes == [SwitchAgent("bar")] and driver.spoken == "es-US"
    assert driver.rounds == []


@pytest.mark.parametrize("words", ["", "We open "])
def test_a_reply_ends_as_it_has_begun(words: str) -> None:
    """Its agent is the one that was asked."""
    driver = passing()
    driver.prompt("When do you open?")
    if words:
        driver.delta(words)
    driver.order(SwitchAgent("bar"))
    driver.delta("at nine.")
    assert driver.call.manner.agent == "house"
    driver.end_round()
    assert driver.call.manner.agent == "bar"


def test_the_next_question_is_for_the_other_agent() -> None:
    """Also where it comes before the end of the reply: the switch is made before the model is asked."""
    driver = passing()
    driver.prompt("When do you open?")
    driver.delta("We open ")
    driver.order(SwitchAgent("bar"))
    actions = driver.prompt("And the bar?")
    assert driver.call.manner.agent == "bar"
    assert isinstance(actions[-1], StartTurn)


def test_a_tool_that_runs_ends_before_the_other_agent() -> None:
    """Its result is the new agent's to tell."""
    driver = passing()
    driver.prompt("When do you open?")
    driver.say("", call("look_up"))
    driver.order(SwitchAgent("bar"))
    assert driver.call.manner.agent == "bar"
    driver.finish("look_up")
    assert len(driver.rounds) == 1


# -- the end


def test_a_call_is_handed_to_a_person() -> None:
    """The bridging line is heard, then the call is handed over with the reason."""
    driver = passing()
    driver.order(HAND_OVER)
    assert driver.frames == [LINES["bridge"], CLOSE] and driver.call.phase is Phase.ENDING
    driver.wait(10.0)
    assert driver.ended is not None and driver.ended.reason == "transferred"
    assert driver.ended.handoff == {
        "reasonCode": "live-agent-handoff",
        "reason": "complaint",
        "summary": "An operator did it.",
        "language": "en-US",
    }


def test_a_call_is_hung_up() -> None:
    """The goodbye is heard to its end behind what is being said; what was said of a reply stands."""
    driver = passing()
    driver.prompt("Tell me")
    driver.delta("Once upon a time ")
    driver.order(EndCall())
    assert driver.frames == ["Once upon a time ", CLOSE, LINES["goodbye"], CLOSE]
    assert driver.rounds == [] and driver.ended is None
    driver.wait(12.0)
    assert driver.ended == End(None, "operator")


@pytest.mark.parametrize("order", [HAND_OVER, EndCall()])
def test_what_the_caller_says_does_not_undo_it(order: Order) -> None:
    """Their words are on record."""
    driver = passing()
    driver.order(order)
    driver.interrupt("")
    driver.prompt("But wait")
    assert driver.items[-1] == UserItem("But wait")
    driver.wait(3.0)
    assert driver.ended is not None


# -- what is refused


def test_nobody_to_hand_the_call_to() -> None:
    """It goes on as if nothing had been ordered."""
    driver = answered()
    assert driver.call.refusal(HAND_OVER) == "no_transfer"
    assert driver.order(HAND_OVER) == []
    assert driver.call.phase is Phase.TALKING


def test_an_agent_that_nobody_has() -> None:
    """The call stays with its own."""
    driver = passing()
    assert driver.call.refusal(SwitchAgent("nobody")) == "unknown_agent"
    assert driver.order(SwitchAgent("nobody")) == []
    assert driver.call.manner.agent == "house"


@pytest.mark.parametrize("order", ORDERS)
def test_orders_before_the_beginning_and_after_the_end(order: Order) -> None:
    """Each is refused with its reason, and nothing is done."""
    driver = Driver({"manners": {"bar": BAR}.get, "can_transfer": True})
    assert driver.call.refusal(order) == "not_begun" and driver.order(order) == []
    driver.setup()
    driver.prepared()
    assert driver.call.refusal(order) == ""
    driver.hang_up()
    assert driver.call.refusal(order) == "ended" and driver.order(order) == []


@pytest.mark.parametrize("order", ORDERS)
def test_a_call_that_is_ending_ends(order: Order) -> None:
    """It takes no orders any more."""
    driver = passing()
    driver.order(EndCall())
    frames = list(driver.frames)
    assert driver.call.refusal(order) == "ending" and driver.order(order) == []
    driver.wait(10.0)
    assert driver.frames == frames and driver.ended is not None
    assert driver.call.refusal(order) == "ended"


def test_a_line_that_waits_when_the_provider_is_changed_is_not_said() -> None:
    """Nothing follows the end."""
    driver = passing(can_switch=True)
    driver.client(True)
    driver.order(LINE)
    driver.send(PeerError("", 64111))
    driver.send(PeerError("", 64111))
    assert driver.ended is not None and LINE.text not in driver.frames
    driver.nothing_for(10.0)
