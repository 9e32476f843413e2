"""Silence: the agent asks whether the caller is there, so many times, and then says goodbye."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from relay.events import CancelTimer, End, LateResult, StartTimer
from relay.heard import CHARACTERS_PER_SECOND, SPEECH_DELAY
from relay.items import AssistantItem, ToolItem, UserItem
from relay.keypad import Key
from relay.listening import NOISE_LIMIT, ON_LIMIT
from relay.quiet import SPEECH_SLACK
from relay.rules import Phase
from relay.toolbox import EndCall
from tests.relay.driver import CLOSE, LINES, Driver, answered, call, done, started

ASKED = [LINES["still_there"], CLOSE]
GOODBYE = [LINES["silence_goodbye"], CLOSE]
AFTER = {"silence_after": 8.0}


def spoken(driver: Driver, text: str, seconds: float) -> None:
    """Twilio says this, with its reports, in so many seconds."""
    driver.agent(True)
    driver.now += seconds
    driver.played(text)
    driver.agent(False)


def heard(driver: Driver) -> None:
    """The last line was spoken, with Twilio's reports."""
    spoken(driver, driver.frames[-2], 1.0)


def quiet(**options: object) -> Driver:
    """Everything said has been heard, at 1 s."""
    driver = answered("Hello there.", **(AFTER | options))
    spoken(driver, "Hello there.", 1.0)
    driver.frames.clear()
    return driver


# -- when silence begins


def test_silence_counts_from_the_end_of_speech() -> None:
    """As ``agentSpeaking off`` reports it."""
    driver = quiet()
    driver.nothing_for(7.9)
    driver.wait(0.2)
    assert driver.frames == ASKED


def test_without_info_frames_the_clock_tells_when_speech_is_over() -> None:
    """The usual rate of speech, and then the silence."""
    text = "A long answer, " * 20
    driver = answered(text, **AFTER)
    driver.nothing_for(SPEECH_DELAY + len(text) / CHARACTERS_PER_SECOND + 7.9)
    driver.wait(0.2)
    assert driver.frames[-2:] == ASKED


def test_the_rest_of_a_reply_that_is_being_proven_counts() -> None:
    """Words sent and not yet played are speech to come."""
    driver = answered("One. " * 100, **AFTER)
    driver.agent(True)
    for _ in range(50):
        driver.nothing_for(0.8)
        driver.played("One.")
    driver.nothing_for(50 * 5 / CHARACTERS_PER_SECOND + 7.9)


def test_a_voice_that_is_slow_is_not_talked_over() -> None:
    """Reported speaking, the agent is not asked to speak again, however long the words should have taken."""
    driver = answered("A word " * 40, **AFTER)
    driver.agent(True)
    driver.nothing_for(20.0 + 16.0)
    driver.agent(False)
    driver.nothing_for(7.9)
    driver.wait(0.2)
    assert driver.frames[-2:] == ASKED


def test_speech_whose_end_nobody_reports_ends_all_the_same() -> None:
    """``agentSpeaking on`` is not believed for ever."""
    text = "A word."
    driver = answered(text, **AFTER)
    driver.agent(True)
    driver.wait(2 * (SPEECH_DELAY + len(text) / CHARACTERS_PER_SECOND) + SPEECH_SLACK + 8.1)
    assert driver.frames[-2:] == ASKED


def test_speech_that_ends_sooner_than_expected() -> None:
    """Silence begins when it is reported, not when it was expected."""
    text = "A word " * 40
    driver = answered(text, **AFTER)
    spoken(driver, text, 10.0)
    driver.nothing_for(7.9)
    driver.wait(0.2)
    assert driver.frames[-2:] == ASKED


@pytest.mark.parametrize("greeting", ["", "A long greeting, read very fast by the voice of this agent. " * 5])
def test_the_report_of_silence_is_believed_without_any_proof(greeting: str) -> None:
    """No ``tokensPlayed`` is subscribed to: the end of speech that began after the words is the end of the words."""
    driver = started(greeting=greeting, **AFTER) if greeting else answered("A long answer, " * 20, **AFTER)
    driver.wait(0.4)
    driver.agent(True)
    driver.wait(0.5)
    driver.agent(False)
    driver.frames.clear()
    driver.nothing_for(7.9)
    driver.wait(0.2)
    assert driver.frames == ASKED


def test_a_report_of_silence_before_the_words_tells_nothing_of_them() -> None:
    """Speech that began before them has ended; they are still to be spoken."""
    text = "A long answer, " * 20
    driver = started(greeting="Hello.", **AFTER)
    driver.wait(0.4)
    driver.agent(True)
    driver.prompt("Hi")
    driver.say(text)
    driver.agent(False)
    driver.nothing_for(SPEECH_DELAY + len(text) / CHARACTERS_PER_SECOND + 7.9)


def test_a_caller_who_speaks_first_is_asked_too() -> None:
    """Without a greeting silence begins when all is ready."""
    driver = Driver(dict(AFTER))
    driver.setup()
    driver.now = 0.5
    driver.prepared()
    driver.nothing_for(7.9)
    driver.wait(0.2)
    assert driver.frames == ASKED


def test_the_greeting_is_speech() -> None:
    """Silence begins behind it."""
    greeting = "Hello, this is the hotel by the sea. " * 4
    driver = started(**AFTER, greeting=greeting)
    driver.nothing_for(SPEECH_DELAY + len(greeting) / CHARACTERS_PER_SECOND + 7.9)
    driver.wait(0.2)
    assert driver.frames == ASKED


# -- what is no silence


def generating(driver: Driver) -> None:
    driver.prompt("Hi")


def running_a_tool(driver: Driver) -> None:
    driver.prompt("Hi")
    driver.say("Let me see.", call("look_up"))


def collecting_keys(driver: Driver) -> None:
    driver.press("1")


@pytest.mark.parametrize("begin", [generating, running_a_tool, collecting_keys])
def test_nobody_is_asked_while_something_is_being_done(begin: Callable[[Driver], None]) -> None:
    """A turn, its tools, a code being pressed; however long they take."""
    driver = started(**AFTER, turn_deadline=1000.0, interdigit=1000.0)
    begin(driver)
    driver.frames.clear()
    driver.wait(900.0)
    assert driver.frames == []


def test_nobody_is_asked_before_all_is_ready() -> None:
    """History and person are still being looked up."""
    driver = Driver({"silence_after": 0.5, "prepare_deadline": 5.0})
    driver.setup()
    driver.nothing_for(4.9)
    driver.prepared()
    driver.wait(0.6)
    assert driver.frames == ASKED


def test_a_reply_cut_by_an_interrupt_goes_on_first() -> None:
    """What was cut is asked for again; that is no silence."""
    driver = quiet(silence_after=1.0)
    driver.prompt("Tell me")
    driver.delta("Once there was a fox.")
    driver.interrupt("Once")
    driver.wait(1.9)
    assert driver.frames == ["Once there was a fox.", CLOSE]
    driver.wait(0.2)
    assert len(driver.rounds) == 1


def test_a_goodbye_is_no_silence() -> None:
    """The call is ending by itself."""
    driver = started(silence_after=1.0)
    driver.prompt("That was all")
    driver.say("", call("end_call"))
    driver.reader()
    driver.finish("end_call", done("{}", EndCall()))
    driver.wait(20.0)
    assert driver.frames == [LINES["goodbye"], CLOSE]
    assert driver.ended == End(None, "agent")


# -- what is asked, how often, and what ends it


def test_asked_twice_and_then_goodbye() -> None:
    """Each after a silence of its own; ``end`` follows when the goodbye was heard."""
    driver = quiet()
    for _ in range(2):
        driver.frames.clear()
        driver.wait(8.1)
        assert driver.frames == ASKED
        heard(driver)
    driver.frames.clear()
    driver.wait(8.1)
    assert driver.frames == GOODBYE
    assert driver.call.phase is Phase.ENDING and driver.ended is None
    heard(driver)
    driver.wait(0.3)
    assert driver.ended == End(None, "silence")


def test_without_info_frames_the_call_ends_as_well() -> None:
    """The clock alone does it."""
    driver = answered("Hello there.", **AFTER)
    driver.wait(60.0)
    assert driver.frames[2:] == [*ASKED, *ASKED, *GOODBYE]
    assert driver.ended == End(None, "silence")


def test_no_questions_at_all() -> None:
    """SILENCE_PROMPTS = 0: the first silence brings the goodbye."""
    driver = quiet(silence_prompts=0)
    driver.wait(8.1)
    assert driver.frames == GOODBYE


@pytest.mark.parametrize("sign", ["words", "key", "mapped key"])
def test_the_count_starts_anew_when_the_caller_says_or_presses_something(sign: str) -> None:
    """So a caller who is there is never hung up on."""
    driver = quiet(keys={"1": Key(say="We open at nine.")}, interdigit=0.5)
    for _ in range(5):
        for _ in range(2):
            driver.frames.clear()
            driver.wait(8.1)
            assert driver.frames == ASKED
            heard(driver)
        if sign == "words":
            driver.prompt("Yes")
            driver.say("Good.")
        elif sign == "key":
            driver.press("5#")
            driver.say("Good.")
        else:
            driver.press("1")
        heard(driver)
    assert driver.ended is None


def test_a_late_result_does_not_start_the_count_anew() -> None:
    """What the agent says by itself is no sign of the caller."""
    driver = Driver(dict(AFTER))
    driver.setup()
    driver.prepared(
        UserItem("Book it"), ToolItem("c1", "book", "{}", "{}", "unknown"), AssistantItem("I will see."), resumed=True
    )
    heard(driver)
    driver.wait(8.1)
    heard(driver)
    driver.send(LateResult(ToolItem("c1", "book", "{}", '"booked"')))
    driver.say("It is booked.")
    heard(driver)
    driver.wait(8.1)
    heard(driver)
    driver.frames.clear()
    driver.wait(8.1)
    assert driver.frames == GOODBYE


def test_words_during_the_goodbye_take_the_call_back() -> None:
    """And the count starts anew."""
    driver = quiet(silence_prompts=0)
    driver.wait(8.1)
    driver.prompt("I am here")
    assert driver.call.phase is Phase.TALKING
    driver.say("Good.")
    heard(driver)
    driver.frames.clear()
    driver.nothing_for(7.9)
    driver.wait(0.2)
    assert driver.frames == GOODBYE


def test_a_question_is_on_record_and_the_model_sees_it() -> None:
    """ "Yes" answers something."""
    driver = quiet()
    driver.wait(8.1)
    heard(driver)
    driver.prompt("Yes")
    asked = driver.items[2]
    assert isinstance(asked, AssistantItem)
    assert (asked.text, asked.status, asked.origin) == (LINES["still_there"], "done", "still_there")
    assert driver.story[-2:] == ["agent (done): " + LINES["still_there"], "user: Yes"]


def test_a_question_the_caller_talks_over_is_cut() -> None:
    """As any words are, and the words that follow get their turn."""
    driver = quiet()
    driver.wait(8.1)
    driver.agent(True)
    driver.interrupt("Are")
    driver.agent(False)
    driver.prompt("I am")
    assert driver.story[2:] == ["agent (interrupted): Are", "user: I am"]
    assert len(driver.rounds) == 1


def test_a_question_cut_by_a_noise_is_asked_again_later() -> None:
    """The model has no part in it, and the noise is no sign of the caller."""
    driver = quiet()
    for _ in range(2):
        driver.wait(8.1)
        driver.agent(True)
        driver.client(True)
        driver.interrupt("Are")
        driver.agent(False)
        driver.client(False)
        driver.nothing_for(7.9)
    driver.wait(0.2)
    assert driver.frames == [*ASKED, *ASKED, *GOODBYE]
    assert driver.rounds == []


def test_lines_an_agent_does_not_want_said() -> None:
    """Nothing is said, and the call still ends."""
    driver = Driver({**AFTER, "line": lambda name, language: ""})
    driver.setup()
    driver.prepared()
    driver.wait(23.9)
    assert driver.ended is None
    driver.wait(0.5)
    assert driver.frames == [] and driver.ended == End(None, "silence")


def test_the_question_is_in_the_callers_language() -> None:
    """The one of the last prompt."""
    driver = started(**AFTER, line=lambda name, language: f"{name} {language}")
    driver.prompt("Hola", "es-US")
    driver.say("Buenas.")
    driver.wait(20.0)
    assert driver.frames[2] == "still_there es-US"


# -- noise


def test_a_caller_who_begins_to_speak_is_not_talked_over() -> None:
    """Reported speaking at the last moment: the words are waited for, and come after speech is over."""
    driver = quiet()
    driver.client(True)
    driver.client(False)
    driver.wait(7.5)
    driver.client(True)
    driver.nothing_for(6.0)
    driver.client(False)
    driver.nothing_for(1.9)
    driver.prompt("Where was I")
    assert driver.frames == [] and len(driver.rounds) == 1


def test_a_partial_prompt_is_a_sign_of_words() -> None:
    """Nothing is said into it."""
    driver = quiet()
    driver.wait(7.5)
    driver.prompt("Where", last=False)
    driver.nothing_for(4.0)
    driver.prompt("Where was", last=False)
    driver.nothing_for(4.0)


def test_a_noise_does_not_start_the_silence_anew() -> None:
    """It was heard, it is over, and no words followed it."""
    driver = quiet()
    driver.wait(3.0)
    driver.client(True)
    driver.wait(1.0)
    driver.client(False)
    driver.nothing_for(3.9)
    driver.wait(0.2)
    assert driver.frames == ASKED


def test_a_noise_that_never_ends_is_not_believed() -> None:
    """``clientSpeaking on`` and nothing more."""
    driver = quiet()
    driver.client(False)
    driver.wait(7.0)
    driver.client(True)
    driver.nothing_for(ON_LIMIT + 1.9)
    driver.wait(0.2)
    assert driver.frames == ASKED


def test_noise_after_noise_does_not_keep_the_call() -> None:
    """Every second something is heard, for minutes: asked, asked again, and over."""
    driver = quiet()
    for _ in range(3):
        driver.frames.clear()
        began = driver.now
        while not driver.frames:
            driver.client(True)
            driver.wait(0.5)
            driver.client(False)
            driver.wait(0.5)
            assert driver.now < began + 8.0 + NOISE_LIMIT + 1.0
        heard(driver)
    driver.wait(5.0)
    assert driver.ended == End(None, "silence")


# -- what it costs


def test_the_token_path_has_no_part_in_it() -> None:
    """No timer is touched while words stream."""
    driver = quiet()
    driver.prompt("Tell me")
    driver.delta("Once ")
    for _ in range(100):
        assert not any(isinstance(action, StartTimer | CancelTimer) for action in driver.delta("more "))
