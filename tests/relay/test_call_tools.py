"""Tools of a turn: rules 7, 8 and 9, terminal tools, results that come late, keys."""

from __future__ import annotations

import pytest

from relay.desk import INTERRUPTED, STILL_RUNNING
from relay.events import CancelTool, Put, StartTimer, StartTool, StartTurn, ToolFinished, TurnEnded
from relay.items import AssistantItem, ToolItem, UserItem
from relay.keypad import Key
from relay.listening import NOISE_LIMIT, SIGN_LIMIT
from relay.rules import Phase
from relay.toolbox import EndCall, ToolPolicy, Transfer
from tests.relay.driver import CLOSE, LINES, Driver, answered, call, done, started

BOOK = call("book", '{"table":5}', "call_1")
AGAIN = call("book", '{ "table": 5 }', "call_2")


def asked(*calls: object, words: str = "", **options: object) -> Driver:
    """The model has answered a prompt with these words and calls."""
    driver = started(**options)
    driver.prompt("Do it")
    driver.say(words, *calls)  # type: ignore[arg-type]
    return driver


# -- a round with tools


def test_a_call_enters_the_record_with_a_placeholder_and_starts() -> None:
    """A request made at any moment has a result for every call."""
    driver = started()
    driver.prompt("When?")
    assert driver.end_round(call("look_up", '{"a":1}', "call_1")) == [
        Put(1, ToolItem("call_1", "look_up", '{"a":1}', STILL_RUNNING, "running", 0)),
        StartTimer("reader", 0.0),
        StartTool(1, call("look_up", '{"a":1}', "call_1"), 1, owned=False),
    ]


def test_words_before_a_tool_are_closed_while_it_runs() -> None:
    """So that they are spoken (rule 2)."""
    driver = asked(call("look_up"), words="One moment.")
    assert driver.frames == ["One moment.", CLOSE]
    assert driver.tools


def test_a_round_of_tools_without_words_closes_nothing() -> None:
    """There is no open cycle."""
    assert asked(call("look_up")).frames == []


def test_results_feed_the_next_round() -> None:
    """When the last of them has come."""
    driver = asked(call("look_up", call_id="a"), call("look_up", '{"b":1}', "b"))
    first, second = driver.tools
    driver.finish(second, done('"two"'))
    assert driver.rounds == []
    assert driver.finish(first, done('"one"', ok=False)) == [
        Put(1, ToolItem("a", "look_up", "{}", '"one"', "failed", 0)),
        StartTurn(1, 1, tools=True),
    ]
    driver.say("It is nine.")
    assert driver.turns == [TurnEnded(1, "done")]
    assert driver.frames == ["It is nine.", CLOSE]


def test_each_round_opens_its_own_utterance() -> None:
    """And the deadline counts again until its first word."""
    driver = asked(call("look_up"), words="One moment.")
    assert StartTimer("turn", 15.0) in driver.finish("look_up")
    driver.say("It is nine.")
    assert driver.story == [
        "user: Do it",
        "agent (open): One moment.",
        "tool (done): look_up",
        "agent (open): It is nine.",
    ]


def test_rounds_are_capped() -> None:
    """The last one is asked without tools; calls all the same are refused, and the caller hears the apology."""
    driver = started(tool_rounds=2)
    driver.prompt("Go")
    assert driver.rounds == [StartTurn(1, 0, True)]
    driver.say("", call("look_up"))
    driver.finish("look_up")
    driver.say("", call("look_up"))
    driver.finish("look_up")
    assert driver.rounds == [StartTurn(1, 2, False)]
    driver.say("", call("look_up"))
    assert driver.tools == {}
    assert driver.frames == [LINES["apology"], CLOSE]
    assert driver.story[1:4] == ["tool (done): look_up", "tool (done): look_up", "tool (failed): look_up"]
    assert driver.turns == [TurnEnded(1, "failed")]


def test_a_tool_without_side_effect_ends_with_its_turn() -> None:
    """Cancelled, its result says that it was interrupted; what it reports later is nothing."""
    driver = asked(call("look_up"))
    actions = driver.prompt("Stop")
    assert CancelTool(1) in actions
    assert driver.items[1] == ToolItem("call_look_up", "look_up", "{}", INTERRUPTED, "interrupted", 0)
    assert driver.send(ToolFinished(1, done('"late"'))) == []
    assert driver.rounds == [StartTurn(2)]


def test_every_tool_that_has_finished_stays_when_its_turn_is_superseded() -> None:
    """Dropping one makes the model repeat it."""
    driver = asked(call("look_up", call_id="a"), call("look_up", '{"b":1}', "b"))
    driver.finish(1, done('"one"'))
    driver.prompt("And?")
    assert driver.story == ["user: Do it", "tool (done): look_up", "tool (interrupted): look_up", "user: And?"]


def test_an_unknown_result_is_ignored() -> None:
    """Of work nobody has begun."""
    assert answered().send(ToolFinished(99, done())) == []


# -- side effects: when they start


def test_a_side_effect_starts_when_the_reader_has_run() -> None:
    """An interrupt that had already arrived comes first."""
    driver = asked(BOOK)
    assert driver.tools == {}
    assert driver.reader() == [StartTool(1, BOOK, 1, owned=True)]


def test_a_prompt_that_had_arrived_stops_a_side_effect() -> None:
    """It has not begun, and never does."""
    driver = asked(BOOK)
    driver.prompt("No, wait")
    driver.reader()
    assert driver.started == []
    assert driver.story[1] == "tool (interrupted): book"


def test_the_reader_has_to_run_after_the_calls_of_this_round() -> None:
    """That it ran for a turn before is not enough."""
    driver = asked(call("look_up"))
    driver.prompt("Book it")
    driver.say("", BOOK)
    assert driver.started == ["look_up"]
    driver.reader()
    assert driver.started == ["look_up", "book"]

    driver = asked(call("look_up"))
    pending = driver.timers.pop("reader")
    driver.prompt("Book it")
    driver.timers["reader"] = pending
    driver.reader()  # of the turn before
    driver.end_round(BOOK)
    assert driver.started == ["look_up"]


def test_the_reader_has_to_run_in_every_round() -> None:
    """Also in the second of one turn."""
    driver = asked(call("look_up"))
    driver.reader()
    driver.finish("look_up")
    driver.end_round(BOOK)
    assert driver.started == ["look_up"]


def test_a_side_effect_waits_while_the_caller_speaks() -> None:
    """``clientSpeaking on``; it starts with ``off``."""
    driver = asked(BOOK)
    driver.client(True)
    driver.reader()
    assert driver.started == []
    driver.client(False)
    assert driver.started == ["book"]


def test_a_side_effect_waits_for_the_prompt_of_a_partial() -> None:
    """The caller has fallen silent, but what was said is still to come."""
    driver = asked(BOOK)
    driver.client(True)
    driver.prompt("No", last=False)
    driver.client(False)
    driver.reader()
    assert driver.started == []
    driver.prompt("No, wait")
    driver.wait(20.0)
    assert driver.started == []


def test_a_partial_without_a_prompt_holds_a_side_effect_for_some_seconds() -> None:
    """Nothing is believed for ever."""
    driver = asked(BOOK)
    driver.prompt("hm", last=False)
    driver.reader()
    driver.wait(4.9)
    assert driver.started == []
    driver.wait(0.2)
    assert driver.started == ["book"]


def test_a_partial_of_the_words_that_began_the_turn_holds_nothing() -> None:
    """Only one newer than the turn does."""
    driver = started()
    driver.client(True)
    driver.prompt("Do", last=False)
    driver.prompt("Do it")
    driver.say("", BOOK)
    driver.reader()
    assert driver.started == ["book"]


def test_an_empty_final_prompt_lets_a_side_effect_start() -> None:
    """The partials have come to nothing."""
    driver = asked(BOOK)
    driver.prompt("hm", last=False)
    driver.reader()
    driver.prompt("")
    assert driver.started == ["book"]


def test_a_side_effect_does_not_wait_for_noise_after_noise() -> None:
    """Somebody is reported speaking again and again, and no words follow: the caller is not left waiting for it."""
    driver = asked(BOOK, words="I will book that.")
    began = driver.now
    while not driver.started and driver.now < began + NOISE_LIMIT + SIGN_LIMIT:
        driver.client(True)
        driver.wait(SIGN_LIMIT - 1.0)
    assert driver.started == ["book"] and driver.now - began > NOISE_LIMIT - SIGN_LIMIT


def test_a_voice_reported_before_the_prompt_of_the_sentence_before_still_counts() -> None:
    """A peer that reports ``off`` says when the caller is silent: the next sentence has begun."""
    driver = started()
    driver.client(True)
    driver.client(False)
    driver.client(True)
    driver.prompt("Book it.")
    driver.say("", BOOK)
    driver.reader()
    assert driver.started == []
    driver.client(False)
    assert driver.started == ["book"]


def test_a_side_effect_waits_after_an_interrupt() -> None:
    """The caller has the floor."""
    driver = asked(BOOK, words="I will book the table.")
    driver.now = 1.0
    driver.interrupt("I will")
    driver.reader()
    assert driver.started == []
    driver.wait(2.0)
    assert driver.started == ["book"]


def test_a_side_effect_waits_after_an_interrupt_of_other_words() -> None:
    """Where no info frames come it is the only sign that the caller speaks."""
    driver = answered("We have one table left, by the window.")
    driver.prompt("Book it")
    driver.say("", BOOK)
    driver.now = 1.0
    driver.interrupt("We have")
    driver.reader()
    assert driver.started == []
    driver.wait(2.0)
    assert driver.started == ["book"]


# -- side effects: once begun


def test_a_side_effect_begun_outlives_its_turn() -> None:
    """Not a prompt, nor an interrupt, nor a hang-up ends it."""
    driver = asked(BOOK, words="I will book it.")
    driver.reader()
    driver.now = 1.0
    driver.interrupt("I will")
    driver.prompt("Wait")
    driver.hang_up()
    assert list(driver.tools) == [2]
    driver.finish("book", done('"yes"'))
    assert driver.items[2] == ToolItem("call_1", "book", '{"table":5}', '"yes"', "done", 0)


def test_a_new_turn_waits_a_little_for_a_side_effect() -> None:
    """With its result, if it comes in time."""
    driver = asked(BOOK)
    driver.reader()
    assert StartTimer("side_effect", 0.4) in driver.prompt("And?")
    assert driver.rounds == []
    driver.wait(0.3)
    driver.finish("book", done('"yes"'))
    assert driver.rounds == [StartTurn(2)]
    assert driver.story == ["user: Do it", "tool (done): book", "user: And?"]
    driver.say("Booked.")
    driver.nothing_for(60.0)  # the result was in the request


def test_a_new_turn_goes_on_with_the_placeholder() -> None:
    """After ``SIDE_EFFECT_WAIT``."""
    driver = asked(BOOK, side_effect_wait=0.4)
    driver.reader()
    driver.prompt("And?")
    driver.nothing_for(0.39)
    driver.wait(0.02)
    assert driver.rounds == [StartTurn(2)]
    assert driver.story[1] == "tool (running): book"


def test_a_new_turn_waits_for_all_side_effects() -> None:
    """The last of them."""
    driver = asked(BOOK, call("pay"))
    driver.reader()
    driver.prompt("And?")
    driver.finish("book")
    assert driver.rounds == []
    driver.finish("pay")
    assert driver.rounds == [StartTurn(2)]


def late() -> Driver:
    """A booking runs, and the turn after the one that began it was asked without its result."""
    driver = asked(BOOK)
    driver.reader()
    driver.prompt("And?")
    driver.wait(0.5)
    return driver


def test_a_result_that_comes_when_no_turn_runs_starts_one() -> None:
    """The caller is told, once."""
    driver = late()
    driver.say("Still running.")
    driver.nothing_for(1.0)
    driver.finish("book", done('"yes"'))
    assert driver.rounds == [StartTurn(3)]
    assert driver.story[1] == "tool (done): book"
    driver.say("It is booked.")
    driver.nothing_for(60.0)


def test_a_result_that_comes_during_a_turn_is_told_after_it() -> None:
    """The request in progress does not carry it."""
    driver = late()
    driver.delta("Still running,")
    driver.finish("book", done('"yes"'))
    assert driver.rounds == [StartTurn(2)]
    driver.end_round()
    assert driver.rounds == [StartTurn(3)]
    driver.say("It is booked.")
    driver.nothing_for(60.0)


def test_a_result_that_the_next_round_carries_is_not_told_again() -> None:
    """Of the same turn."""
    driver = late()
    driver.say("", call("look_up"))
    driver.finish("book", done('"yes"'))
    driver.finish("look_up")
    assert driver.rounds == [StartTurn(2, 1)]
    driver.say("It is booked.")
    driver.nothing_for(60.0)


def test_a_result_that_comes_while_the_caller_has_the_floor_is_told_afterwards() -> None:
    """After the wait, or with the answer to what the caller says."""
    for words in ("", "What?"):
        driver = late()
        driver.say("Please wait for a moment.")
        driver.now += 1.0
        driver.interrupt("Please")
        driver.finish("book", done('"yes"'))
        assert driver.rounds == []
        if words:
            driver.prompt(words)
        driver.wait(2.1)
        assert driver.rounds == [StartTurn(3)]
        driver.say("It is booked.")
        driver.nothing_for(60.0)


def test_a_result_is_not_lost_when_a_key_takes_the_floor() -> None:
    """A key that says its line, and nothing else goes on."""
    driver = asked(BOOK, keys={"1": Key(say="We open at nine.")})
    driver.reader()
    driver.prompt("And?")
    driver.wait(0.5)
    driver.say("Please wait for a moment.")
    driver.now += 1.0
    driver.interrupt("Please")
    driver.finish("book")
    driver.press("1")
    assert driver.rounds == [StartTurn(3)]


def test_a_result_is_not_lost_when_its_telling_fails() -> None:
    """The apology is heard, the result is on record for the next request; and it ends there."""
    driver = late()
    driver.say("Wait.")
    driver.finish("book")
    driver.fail()
    assert driver.frames[-2:] == [LINES["apology"], CLOSE]
    driver.nothing_for(60.0)
    assert driver.story[1] == "tool (done): book"


def test_a_result_that_comes_while_the_call_is_ending_starts_nothing() -> None:
    """It is on record; the caller's next words bring it up."""
    driver = late()
    driver.say("Goodbye.", call("end_call"))
    driver.reader()
    driver.finish("end_call", done("{}", EndCall()))
    assert driver.call.phase is Phase.ENDING
    driver.finish("book")
    assert driver.rounds == []
    driver.prompt("Wait")
    assert driver.rounds == [StartTurn(3)]


def test_a_failed_turn_leaves_its_side_effect_running() -> None:
    """Its result is told."""
    driver = asked(BOOK, turn_deadline=4.0)
    driver.reader()
    driver.wait(4.1)
    assert driver.frames == [LINES["apology"], CLOSE]
    driver.finish("book")
    assert driver.rounds == [StartTurn(2)]


# -- rule 8: once


def test_the_same_call_made_again_is_answered_by_the_first() -> None:
    """It had finished; its turn was superseded."""
    driver = asked(BOOK)
    driver.reader()
    driver.finish("book", done('"yes"'))
    driver.prompt("Hello?")
    driver.say("", AGAIN)
    driver.wait(0.1)
    assert driver.started == ["book"]
    assert driver.items[-1] == ToolItem("call_2", "book", '{ "table": 5 }', '"yes"', "done", 0)
    assert driver.rounds == [StartTurn(2, 1)]


def test_the_same_call_made_again_while_the_first_runs_waits_for_it() -> None:
    """Both get the result, it runs once, and no turn of its own tells it."""
    driver = late()
    driver.say("", AGAIN)
    driver.reader()
    assert driver.started == ["book"]
    driver.finish("book", done('"yes"'))
    assert driver.story == ["user: Do it", "tool (done): book", "user: And?", "tool (done): book"]
    assert driver.rounds == [StartTurn(2, 1)]
    driver.say("Booked.")
    driver.nothing_for(60.0)


def test_the_same_call_after_an_interrupted_turn_is_answered_by_the_first() -> None:
    """Interrupted while the model told of it."""
    driver = asked(BOOK)
    driver.reader()
    driver.finish("book", done('"yes"'))
    driver.delta("Your table is booked.")
    driver.now = 1.0
    driver.interrupt("Your")
    driver.prompt("What?")
    driver.say("", AGAIN)
    assert driver.started == ["book"]
    assert driver.rounds == [StartTurn(2, 1)]


def test_the_same_call_after_an_undisturbed_turn_is_a_new_wish() -> None:
    """One more table."""
    driver = asked(BOOK)
    driver.reader()
    driver.finish("book", done('"yes"'))
    driver.say("Booked.")
    driver.prompt("Another one")
    driver.say("", AGAIN)
    driver.reader()
    assert driver.started == ["book", "book"]


def test_a_turn_that_was_interrupted_and_went_on_does_not_close_the_account() -> None:
    """Its tool is done, its caller may not have understood, and the model tries again in the next turn."""
    driver = asked(BOOK, words="I will book it, one moment.")
    driver.now = 1.0
    driver.interrupt("I will")
    driver.reader()
    driver.wait(2.0)
    driver.finish("book", done('"yes"'))
    driver.say("It is booked.")
    assert driver.turns == [TurnEnded(1, "interrupted")]
    driver.prompt("So book it")
    driver.say("", AGAIN)
    assert driver.started == ["book"]


def test_an_undisturbed_turn_between_closes_the_account() -> None:
    """The turn that was disturbed lies before it."""
    driver = asked(BOOK)
    driver.reader()
    driver.finish("book", done('"yes"'))
    driver.prompt("Hello?")
    driver.say("It is booked.")
    driver.prompt("Another one")
    driver.say("", AGAIN)
    driver.reader()
    assert driver.started == ["book", "book"]


def test_what_a_first_call_led_to_the_repeated_one_leads_to() -> None:
    """A tool that hands over, superseded after it was done, and asked for again."""
    driver = started(policy=lambda name: ToolPolicy(side_effect=True, terminal=True))
    driver.prompt("A person please")
    driver.say("", call("transfer"))
    driver.reader()
    driver.prompt("Hello?")
    driver.finish("transfer", done("{}", Transfer("asked", "")))
    driver.say("I will connect you.", call("transfer"))
    assert driver.started == ["transfer"]
    assert driver.call.phase is Phase.ENDING


# -- terminal tools


def test_a_terminal_tool_runs_after_its_siblings() -> None:
    """And only then the call ends."""
    driver = asked(call("end_call"), call("look_up"), words="Goodbye.")
    driver.reader()
    assert driver.started == ["look_up"]
    driver.finish("look_up")
    assert driver.started == ["look_up", "end_call"]
    driver.finish("end_call", done("{}", EndCall()))
    assert driver.call.phase is Phase.ENDING


def test_a_terminal_tool_is_not_run_when_a_sibling_failed() -> None:
    """The model hears of it, and goes on."""
    driver = asked(call("end_call"), call("look_up"), words="Goodbye.")
    driver.reader()
    driver.finish("look_up", done(ok=False))
    assert driver.started == ["look_up"]
    assert driver.story[2:] == ["tool (failed): end_call", "tool (failed): look_up"]
    assert driver.rounds == [StartTurn(1, 1)]


def test_a_terminal_tool_may_follow_a_failure_of_an_earlier_round() -> None:
    """The model has told the caller and says goodbye."""
    driver = asked(call("look_up"))
    driver.finish("look_up", done(ok=False))
    driver.say("That did not work. Goodbye.", call("end_call"))
    driver.reader()
    assert driver.started == ["look_up", "end_call"]


def test_a_terminal_tool_waits_for_the_reader_and_for_quiet() -> None:
    """A hallucinated end of call does not hang up on a caller who is speaking."""
    driver = asked(call("end_call"), words="Goodbye.")
    driver.client(True)
    driver.reader()
    assert driver.started == []
    driver.prompt("Wait, one more thing")
    driver.wait(30.0)
    assert driver.started == []
    assert driver.story[2] == "tool (interrupted): end_call"


def test_a_terminal_tool_waits_while_the_caller_has_the_floor() -> None:
    """After an interrupt; nothing follows, it runs, and the call ends."""
    driver = asked(call("end_call"), words="Goodbye and thank you.")
    driver.now = 1.0
    driver.interrupt("Goodbye")
    driver.reader()
    assert driver.started == []
    driver.wait(2.0)
    assert driver.started == ["end_call"]
    driver.finish("end_call", done("{}", EndCall()))
    driver.wait(0.3)
    assert driver.ended is not None


def test_a_terminal_tool_that_does_not_end_anything_is_a_tool_like_others() -> None:
    """Nobody to connect to: the model tells the caller."""
    driver = asked(call("transfer"), words="I will connect you.")
    driver.reader()
    driver.finish("transfer", done('"nobody"', ok=False))
    assert driver.rounds == [StartTurn(1, 1)]
    assert driver.call.phase is Phase.TALKING


def test_what_a_terminal_tool_of_a_superseded_turn_led_to_is_dropped() -> None:
    """Nobody is hung up on."""
    driver = asked(call("end_call"), words="Goodbye.")
    driver.reader()
    key = driver.tool("end_call")
    driver.prompt("Wait")
    assert driver.send(ToolFinished(key, done("{}", EndCall()))) == []
    assert driver.call.phase is Phase.TALKING


@pytest.mark.parametrize("words", ["", "Wait"])
def test_words_that_waited_for_a_turn_come_before_its_end(words: str) -> None:
    """A caller who spoke over an uninterruptible goodbye is answered, not hung up on."""
    driver = asked(call("end_call"), words="Goodbye.", interruptible=False)
    driver.reader()
    if words:
        driver.prompt(words)
    driver.finish("end_call", done("{}", EndCall()))
    if words:
        assert driver.rounds == [StartTurn(2)]
    driver.wait(20.0)
    assert (driver.ended is None) == bool(words)


# -- the record


def test_every_call_has_exactly_one_result_at_every_moment() -> None:
    """After each single write."""
    driver = late()
    driver.say("Moment.", call("look_up", call_id="x"), AGAIN)
    driver.finish("look_up")
    driver.finish("book")
    ids = [item.call_id for item in driver.items if isinstance(item, ToolItem)]
    assert ids == ["call_1", "x", "call_2"]
    assert all(item.output for item in driver.items if isinstance(item, ToolItem))
    assert driver.items == list(dict(sorted(driver.stored.items())).values())


def test_positions_follow_the_order_of_events() -> None:
    """Words, their tools, the next words."""
    driver = asked(call("look_up"), words="One moment.")
    driver.finish("look_up")
    driver.say("It is nine.")
    assert [type(driver.stored[n]) for n in range(4)] == [UserItem, AssistantItem, ToolItem, AssistantItem]
