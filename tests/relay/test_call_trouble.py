"""Trouble: turns that fail in a row, replies that do not end, providers of speech that are away."""

from __future__ import annotations

import pytest

from relay.events import CancelTurn, Close, End, Prepared, RoundEnded, Say, TurnEnded
from relay.frames import PeerError
from relay.items import AssistantItem, UserItem
from relay.keypad import Key
from relay.rules import Phase
from relay.trouble import WITHIN
from relay.turns import LEAST_TIME, MOST_FAILURES
from tests.relay.driver import CLOSE, LINES, Driver, answered, call, started

APOLOGY = [LINES["apology"], CLOSE]


def failing(times: int, **options: object) -> Driver:
    driver = started(**options)
    for number in range(times):
        driver.prompt(f"Try {number}")
        driver.fail()
    return driver


# -- turns that fail in a row


def test_the_third_failure_ends_the_call() -> None:
    """Two apologies, then a line of its own that is heard to its end."""
    driver = failing(MOST_FAILURES)
    assert driver.frames == [*APOLOGY, *APOLOGY, LINES["trouble"], CLOSE]
    assert [turn.outcome for turn in driver.turns] == ["failed"] * 3
    assert driver.call.phase is Phase.ENDING and driver.ended is None
    driver.wait(30.0)
    assert driver.ended == End(None, "trouble")


def test_where_there_is_a_number_a_person_takes_over() -> None:
    """With words that say so, and for the action callback the reason the transfer tool gives."""
    driver = failing(MOST_FAILURES, can_transfer=True)
    assert driver.frames[-2:] == [LINES["trouble_bridge"], CLOSE]
    driver.wait(30.0)
    assert driver.ended is not None and driver.ended.handoff is not None
    assert driver.ended.handoff["reasonCode"] == "live-agent-handoff"
    assert driver.ended.handoff["reason"] and driver.ended.handoff["summary"]
    assert driver.ended.reason == "transferred"


def test_a_reply_between_two_failures_starts_the_count_anew() -> None:
    """In a row means in a row."""
    driver = failing(2)
    driver.prompt("Hello?")
    driver.say("Here I am.")
    for _ in range(2):
        driver.prompt("Hello?")
        driver.fail()
    assert driver.frames[-2:] == APOLOGY
    driver.prompt("Hello?")
    driver.fail()
    assert driver.frames[-2:] == [LINES["trouble"], CLOSE]


@pytest.mark.parametrize("how", ["interrupted", "superseded"])
def test_a_reply_the_caller_ends_is_a_reply(how: str) -> None:
    """The model had found words."""
    driver = failing(2)
    driver.prompt("Hello?")
    driver.delta("Here I")
    if how == "interrupted":
        driver.interrupt("Here")
    driver.prompt("Ah, there you are")
    driver.fail()
    assert driver.frames[-2:] == APOLOGY


def test_a_turn_the_caller_ended_before_any_word_is_no_reply() -> None:
    """Nor is a fixed line: nothing shows that the model answers."""
    driver = failing(2, keys={"1": Key(say="Let me look.", tool="look_up")})
    driver.prompt("Hello?")
    driver.press("1")
    driver.prompt("Is anybody there?")
    driver.fail()
    assert driver.frames[-2:] == [LINES["trouble"], CLOSE]


def test_words_before_a_tool_do_not_save_a_turn_that_fails() -> None:
    """The answer never came."""
    driver = started()
    for _ in range(3):
        driver.prompt("Look it up")
        driver.say("One moment.", call("look_up"))
        driver.finish("look_up")
        driver.fail()
    assert driver.frames[-2:] == [LINES["trouble"], CLOSE]


def test_tools_without_end_are_failures() -> None:
    """A model that asks for tools and never answers: three turns of it, and the call is over."""
    driver = started(tool_rounds=2)
    for number in range(3):
        driver.prompt("Look it up")
        for round_ in range(3):
            driver.say("", call("look_up", f'{{"n":{round_}}}', f"c{number}.{round_}"))
            if driver.tools:
                driver.finish("look_up")
    assert driver.frames == [*APOLOGY, *APOLOGY, LINES["trouble"], CLOSE]


def test_a_caller_who_asks_again_and_again_does_not_put_the_apology_off() -> None:
    """The model says nothing at all. The turn's time counts from the first words that nothing has followed."""
    driver = started(turn_deadline=15.0)
    for _ in range(7):
        driver.prompt("Hello?")
        driver.wait(2.5)
    assert driver.frames == APOLOGY
    assert [turn.outcome for turn in driver.turns] == ["superseded"] * 5 + ["failed"]
    for _ in range(12):
        driver.prompt("Hello?")
        driver.wait(2.5)
    assert driver.frames == [*APOLOGY, *APOLOGY, LINES["trouble"], CLOSE]


def test_after_words_a_turn_has_all_its_time() -> None:
    """Also where the caller has cut in on them."""
    driver = started(turn_deadline=15.0)
    driver.prompt("Hello?")
    driver.wait(14.0)
    driver.delta("Here ")
    driver.prompt("Are you there?")
    driver.wait(14.9)
    assert driver.frames == ["Here ", CLOSE]
    driver.wait(0.2)
    assert driver.frames[2:] == APOLOGY


def test_a_turn_has_some_time_however_late_it_begins() -> None:
    driver = started(turn_deadline=15.0)
    driver.prompt("Hello?")
    driver.wait(14.9)
    driver.prompt("It was about the table")
    driver.wait(LEAST_TIME - 0.1)
    driver.say("Yes, it is yours.")
    assert driver.said[2] == "Yes, it is yours." and driver.turns[-1].outcome == "done"


def test_silence_of_the_model_is_a_failure() -> None:
    """The turn's deadline, three times."""
    driver = started()
    for _ in range(3):
        driver.prompt("Hello?")
        driver.wait(15.1)
    assert driver.frames[-2:] == [LINES["trouble"], CLOSE]


def test_words_do_not_call_the_end_off() -> None:
    """They could not be answered; they are on record."""
    driver = failing(MOST_FAILURES, can_transfer=True)
    driver.interrupt("We are")
    driver.prompt("Okay")
    assert driver.rounds == [] and driver.items[-1] == UserItem("Okay")
    driver.wait(30.0)
    assert driver.ended is not None and driver.ended.reason == "transferred"


def test_words_that_waited_for_the_failing_turn_are_left_on_record() -> None:
    """An agent that may not be interrupted."""
    driver = failing(2, interruptible=False)
    driver.prompt("Hello?")
    driver.prompt("Are you there?")
    driver.fail()
    assert driver.frames[-2:] == [LINES["trouble"], CLOSE]
    assert "user: Are you there?" in driver.story


# -- a reply that does not end


def test_a_reply_ends_at_a_sentence() -> None:
    """The first that ends in the last part of what is allowed; the model is not asked for more."""
    driver = started(reply_max_chars=100)
    driver.prompt("Tell me")
    driver.delta("One sentence. " * 20)
    actions = driver.wait(0.0)
    assert driver.frames == [" ".join(["One sentence."] * 4), CLOSE]
    assert CancelTurn(1) in actions and Close() in actions
    assert driver.turns == [TurnEnded(1, "done", shortened=True)]
    assert driver.call.turn is None and driver.rounds == []
    assert driver.story == ["user: Tell me", "agent (open): " + driver.frames[0]]


def test_what_still_comes_of_it_is_dropped() -> None:
    """Words, and calls that were not made yet; the next turn goes on as ever."""
    driver = started(reply_max_chars=100)
    driver.prompt("Tell me")
    driver.delta("One sentence. " * 20)
    assert not any(isinstance(action, Say) for action in driver.delta(" More.", turn=1))
    driver.send(RoundEnded(1, "tools", (call("look_up"),)))
    assert not any(isinstance(action, Say) for action in driver.delta(" More.", turn=1))
    driver.wait(1.0)
    assert driver.started == [] and len(driver.turns) == 1
    driver.prompt("And then")
    driver.say("That was all.")
    assert driver.frames[-2:] == ["That was all.", CLOSE]


def test_word_by_word_it_ends_at_the_same_place() -> None:
    """Counted over all the pieces."""
    driver = started(reply_max_chars=100)
    driver.prompt("Tell me")
    for word in ["One", *[" sentence.", " One"] * 20]:
        if driver.call.turn is not None:
            driver.delta(word)
            driver.wait(0.0)
    assert "".join(driver.frames[:-1]) == " ".join(["One sentence."] * 4)
    assert driver.turns[-1].shortened


def test_all_rounds_of_a_turn_count() -> None:
    """What was said before a tool too."""
    driver = started(reply_max_chars=100)
    driver.prompt("Tell me")
    driver.say("a" * 60, call("look_up"))
    driver.finish("look_up")
    driver.delta("This is one. This is another. This is a third. And so on.")
    driver.wait(0.0)
    assert driver.frames == ["a" * 60, CLOSE, "This is one.", CLOSE]


def test_a_reply_that_ends_by_itself_is_not_shortened() -> None:
    """However near the limit; what it calls for is done."""
    driver = started(reply_max_chars=100)
    driver.prompt("Tell me")
    driver.delta("a" * 80 + " end.")
    driver.end_round(call("look_up"))
    assert driver.started == ["look_up"]
    assert not any(turn.shortened for turn in driver.turns)


def test_words_that_waited_are_answered_after_a_shortened_reply() -> None:
    """An agent that may not be interrupted."""
    driver = started(reply_max_chars=100, interruptible=False)
    driver.prompt("Tell me")
    driver.delta("Once.")
    driver.prompt("Stop")
    driver.delta(" One sentence." * 20)
    driver.wait(0.0)
    assert driver.rounds[-1].turn == 2
    assert driver.story[-1] == "user: Stop"


@pytest.mark.parametrize("how", ["failed", "interrupted", "superseded"])
def test_what_happens_before_a_shortened_reply_is_over(how: str) -> None:
    """A failure does not matter any more; the caller does."""
    driver = started(reply_max_chars=100)
    driver.prompt("Tell me")
    driver.delta("One sentence. " * 20)
    if how == "failed":
        driver.fail()
        assert driver.turns == [TurnEnded(1, "done", shortened=True)]
    elif how == "interrupted":
        driver.interrupt("One sentence")
        assert driver.turns == [TurnEnded(1, "interrupted")]
    else:
        driver.prompt("Enough")
        assert driver.turns == [TurnEnded(1, "superseded")]
    driver.wait(0.0)
    assert len(driver.turns) == 1
    assert LINES["apology"] not in driver.frames


def test_a_reply_of_nothing_but_white_space_is_a_failure() -> None:
    """However much of it there is."""
    driver = started(reply_max_chars=100)
    driver.prompt("Tell me")
    driver.delta(" " * 1000)
    driver.wait(0.0)
    assert driver.frames == APOLOGY


# -- a provider of speech that is away

SWITCHED = End({"reasonCode": "resume", "provider": "second"}, "switched")


def error(driver: Driver, code: int) -> None:
    driver.send(PeerError("what Twilio says", code))


@pytest.mark.parametrize("code", [64111, 64112, 64114])
def test_a_second_error_changes_the_provider(code: int) -> None:
    """At once, by a new session."""
    driver = answered(can_switch=True)
    error(driver, code)
    assert driver.ended is None
    driver.now += WITHIN - 1
    error(driver, code)
    assert driver.ended == SWITCHED
    driver.wait(5.1)
    assert driver.closed


@pytest.mark.parametrize(
    ("codes", "apart", "options"),
    [
        ((64111, 64111), WITHIN + 1, {"can_switch": True}),
        ((64107, 64107), 1.0, {"can_switch": True}),
        ((64111, 0), 1.0, {"can_switch": True}),
        ((64111, 64111), 1.0, {}),
    ],
    ids=["far apart", "our own frames", "one of them", "no second provider"],
)
def test_errors_that_change_nothing(codes: tuple[int, int], apart: float, options: dict[str, bool]) -> None:
    """They are counted and logged elsewhere."""
    driver = answered(**options)
    for code in codes:
        error(driver, code)
        driver.now += apart
    driver.wait(30.0)
    assert driver.ended is None


def test_nothing_of_a_reply_nobody_proved_counts_as_heard() -> None:
    """The words are unanswered, so the next session answers them; time alone proves nothing."""
    driver = answered("Here is your answer.", "What is it", can_switch=True)
    driver.now = 1.5
    error(driver, 64111)
    error(driver, 64111)
    assert driver.story == ["user: What is it"]


def test_what_was_proven_counts() -> None:
    """The reply is cut to it."""
    driver = answered("Here it is. And here is more of it.", "What is it", can_switch=True)
    driver.agent(True)
    driver.played("Here it is.")
    error(driver, 64112)
    error(driver, 64112)
    assert driver.story == ["user: What is it", "agent (interrupted): Here it is."]


def test_trouble_with_hearing_is_none_with_speaking() -> None:
    """What was said is taken to be heard as ever."""
    driver = answered("Here it is.", "What is it", can_switch=True)
    driver.now = 1.5
    error(driver, 64114)
    error(driver, 64114)
    assert driver.story == ["user: What is it", "agent (done): Here it is."]


def test_a_turn_in_progress_ends_with_the_session() -> None:
    """Its request is closed; nothing is sent behind ``end``."""
    driver = started(can_switch=True)
    driver.prompt("Tell me")
    driver.delta("Once")
    error(driver, 64111)
    error(driver, 64111)
    assert driver.ended == SWITCHED and driver.rounds == []
    assert driver.story == ["user: Tell me"]
    driver.hang_up()
    assert driver.story == ["user: Tell me"]


def test_a_goodbye_is_not_held_up_by_it() -> None:
    """The call is ending."""
    driver = failing(3, can_switch=True)
    error(driver, 64111)
    error(driver, 64111)
    driver.wait(30.0)
    assert driver.ended == End(None, "trouble")


def test_the_session_that_follows_answers_what_nobody_heard() -> None:
    """Its history ends with the caller's words."""
    driver = Driver()
    driver.setup()
    driver.send(Prepared((AssistantItem("Hello."), UserItem("What is it")), True))
    assert len(driver.rounds) == 1
