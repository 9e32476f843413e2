"""What the caller hears while a tool runs: fillers, the hold sound, sounds a tool returns."""

from __future__ import annotations

from typing import Any

import pytest

from relay.events import Play, Say, StartTurn
from relay.items import AssistantItem, ToolItem, UserItem
from relay.keypad import Key
from relay.models.chat import chat_messages
from relay.models.responses import responses_input
from relay.toolbox import EndCall, ToolOutcome
from relay.turn import window
from tests.relay.driver import CLOSE, Driver, call, started

PHRASES = {"en": ("One moment.", "Let me see.", "Just a second."), "es": ("Un momento.",)}
SOUND = "https://example.com/hold.mp3"


def line(**options: Any) -> Driver:
    return started(**{"fillers": lambda language: PHRASES[language[:2]], "filler_after": 0.8, "epoch": 0} | options)


def waiting(tool: str = "look_up", words: str = "", **options: Any) -> Driver:
    """A call in which a tool runs."""
    driver = line(**options)
    driver.prompt("When are you open?")
    driver.say(words, call(tool))
    driver.reader()
    assert tool in driver.started
    return driver


# -- when


def test_a_filler_is_said_when_a_tool_takes_longer() -> None:
    """A talk cycle of its own; the reply follows as soon as there is one."""
    driver = waiting()
    driver.nothing_for(0.79)
    driver.wait(0.02)
    assert driver.frames == ["One moment.", CLOSE] and driver.asides == ["One moment."]
    driver.finish("look_up")
    assert driver.rounds == [StartTurn(1, 1)]
    driver.say("We open at nine.")
    assert driver.frames == ["One moment.", CLOSE, "We open at nine.", CLOSE]


def test_a_fast_tool_has_no_filler() -> None:
    """Nor does the reply after it take long enough for one."""
    driver = waiting()
    driver.wait(0.7)
    driver.finish("look_up")
    assert "filler" not in driver.timers
    driver.wait(5.0)
    assert driver.asides == []


def test_one_filler_a_wait() -> None:
    """However long the tools of a round take, and however many they are."""
    driver = line()
    driver.prompt("Hi")
    driver.say("", call("look_up", '{"a":1}', "a"), call("look_up", '{"a":2}', "b"))
    driver.wait(5.0)
    driver.finish("look_up")
    driver.wait(5.0)
    assert driver.asides == ["One moment."]


def test_every_round_has_a_wait_of_its_own_and_the_phrases_rotate() -> None:
    """Also from turn to turn."""
    driver = line()
    for words in ("Hi", "And now?"):
        driver.prompt(words)
        for _ in range(2):
            driver.say("", call("look_up"))
            driver.wait(3.0)
            driver.finish("look_up")
        driver.say("Nine.")
        driver.wait(5.0)
    assert driver.asides == ["One moment.", "Let me see.", "Just a second.", "One moment."]


def test_calls_begin_with_different_phrases() -> None:
    """By the moment the call came in; the same call would say the same again."""
    firsts = []
    for epoch in (1_700_000_000_000, 1_700_000_000_001, 1_700_000_000_002):
        driver = waiting(epoch=epoch)
        driver.wait(1.0)
        firsts += driver.asides
    assert sorted(firsts) == sorted(PHRASES["en"])


def test_fillers_are_in_the_callers_language() -> None:
    driver = line()
    driver.prompt("Hola", "es-MX")
    driver.say("", call("look_up"))
    driver.wait(1.0)
    assert driver.asides == ["Un momento."]


def test_no_phrases_no_fillers() -> None:
    """Nor a timer for them."""
    driver = waiting(fillers=lambda language: ())
    assert "filler" not in driver.timers
    driver.wait(5.0)
    assert driver.frames == []


def test_a_filler_is_for_silence_not_for_the_models_own_words() -> None:
    """It waits until these are over, and a silence after them."""
    driver = waiting(words="Let me look that up in our calendar for you.")
    spoken = 0.35 + 44 / 14
    driver.nothing_for(spoken + 0.5)
    driver.wait(0.6)
    assert driver.asides == ["One moment."]


@pytest.mark.parametrize(("interruptible", "asides"), [(True, ["One moment."]), (False, [])])
def test_what_the_caller_spoke_over_is_not_waited_for(interruptible: bool, asides: list[str]) -> None:
    """A prompt in the middle of a long greeting ends it, whether or not anything told of that."""
    driver = waiting(greeting="Hello, and a very warm welcome to the house. " * 4, interruptible=interruptible)
    driver.wait(0.9)
    assert driver.asides == asides


def test_with_proof_the_models_words_are_over_when_they_were_played() -> None:
    """Not when the clock says so."""
    driver = waiting(words="Let me look that up in our calendar for you.")
    driver.agent(True)
    driver.wait(1.0)
    driver.played("Let me look that up in our calendar for you.")
    driver.agent(False)
    driver.nothing_for(0.5)
    driver.wait(0.6)
    assert driver.asides == ["One moment."]


@pytest.mark.parametrize("sign", ["voice", "partial"])
def test_no_filler_while_the_caller_speaks(sign: str) -> None:
    """A silence after it is filled."""
    driver = waiting()
    driver.client(True)
    if sign == "partial":
        driver.prompt("Wh", last=False)
    driver.nothing_for(3.0)
    driver.client(False)
    driver.prompt("", last=True)
    driver.wait(1.2)
    assert driver.asides == ["One moment."]


def test_a_superseded_turn_has_no_filler() -> None:
    """The turn that follows has its own waits."""
    driver = waiting()
    driver.wait(0.5)
    driver.prompt("Never mind.")
    assert "filler" not in driver.timers
    driver.say("Fine.")
    driver.wait(5.0)
    assert driver.asides == []


def test_a_key_that_runs_a_tool_is_no_exception() -> None:
    driver = line(keys={"2": Key(tool="look_up")})
    driver.press("2")
    driver.wait(1.0)
    assert driver.asides == ["One moment."]


# -- what it is


def test_a_filler_is_in_the_transcript_and_no_model_is_shown_it() -> None:
    """By either API; calls and results still stand together."""
    driver = line()
    driver.prompt("Hi")
    driver.say("I look. ", call("look_up", call_id="a"))
    driver.wait(5.0)
    driver.finish("look_up")
    driver.say("", call("look_up", call_id="b"))
    driver.wait(5.0)
    driver.finish("look_up")
    driver.say("Nine.")
    assert [item.origin for item in driver.items if isinstance(item, AssistantItem)] == ["", "filler", "filler", ""]
    shown = window(driver.items, 12000)
    assert [type(item) for item in shown] == [UserItem, AssistantItem, ToolItem, ToolItem, AssistantItem]
    for told in (str(chat_messages(shown, note_role="system")), str(responses_input(shown))):
        assert "moment" not in told and "Let me see" not in told and "I look." in told and "Nine." in told


def test_a_history_that_ends_in_a_filler_is_a_question_without_an_answer() -> None:
    """A session taken up again answers it."""
    driver = Driver()
    driver.setup()
    driver.prepared(UserItem("Hi"), ToolItem("a", "look_up", "{}", "{}"), AssistantItem("Wait.", origin="filler"))
    assert driver.rounds == []
    driver = Driver()
    driver.setup()
    items = (UserItem("Hi"), ToolItem("a", "look_up", "{}", "{}"), AssistantItem("Wait.", origin="filler"))
    driver.prepared(*items, resumed=True)
    assert driver.rounds == [StartTurn(1)] and driver.frames == []


def test_a_filler_is_not_the_answer() -> None:
    """A model that says nothing after it is a failed turn, which is told."""
    driver = waiting()
    driver.wait(1.0)
    driver.finish("look_up")
    driver.say("")
    assert driver.frames[-2:] == ["Sorry, something went wrong.", CLOSE]


def test_after_a_filler_a_tool_has_its_own_deadline() -> None:
    """The turn's counts from the filler, and again for the round that follows; one that never ends is given up."""
    driver = waiting("search", turn_deadline=3.0)
    driver.wait(20.0)
    assert driver.call.turn is not None and driver.asides == ["One moment."]
    driver.finish("search")
    driver.wait(3.1)
    assert driver.frames[-2] == "Sorry, something went wrong."
    driver = waiting("search", turn_deadline=3.0)
    driver.wait(24.0)
    assert driver.frames[-2] == "Sorry, something went wrong." and driver.tools == {}


def test_without_a_filler_the_turns_deadline_holds() -> None:
    driver = waiting(fillers=lambda language: (), turn_deadline=3.0)
    driver.wait(3.1)
    assert driver.frames[-2] == "Sorry, something went wrong."


# -- our own output


@pytest.mark.parametrize("preemptible", [False, True])
@pytest.mark.parametrize("info", [False, True])
def test_the_reply_queues_behind_a_filler(preemptible: bool, info: bool) -> None:
    """Whatever the agent's setting: nothing of ours cuts it."""
    driver = waiting(preemptible=preemptible)
    driver.wait(0.9)
    if info:
        driver.agent(True)
        driver.played("One")
    driver.finish("look_up")
    driver.say("We open at nine.")
    filler, reply = driver.call.speaking.ledger.utterances
    assert not filler.cut and filler.firm and filler.text == "One moment."
    assert driver.story[-2:] == ["agent (open): One moment.", "agent (open): We open at nine."]
    assert [u for u, _, _ in driver.call.speaking.ledger.times()] == [filler, reply]


# -- interrupts


def cut_filler(tool: str = "look_up", **options: Any) -> Driver:
    driver = waiting(tool, **options)
    driver.wait(1.2)
    driver.interrupt("One")
    assert driver.story[-1] == "agent (interrupted): One"
    return driver


@pytest.mark.parametrize("tool", ["look_up", "book"])
@pytest.mark.parametrize("first", ["tool", "silence"])
def test_an_interrupted_filler_leads_to_the_reply(tool: str, first: str) -> None:
    """The tool goes on; when the caller says nothing more, so does the turn."""
    driver = cut_filler(tool)
    assert driver.call.turn is not None and tool in [t.call.name for t in driver.tools.values()]
    if first == "tool":
        driver.finish(tool)
        driver.nothing_for(1.9)
        driver.wait(0.2)
    else:
        driver.wait(2.1)
        driver.finish(tool)
    assert driver.rounds == [StartTurn(1, 1)]
    driver.say("We open at nine.")
    assert driver.frames[-2:] == ["We open at nine.", CLOSE]


def test_an_interrupted_filler_leads_to_another_where_the_tool_goes_on() -> None:
    """After the interrupt, and the same silence as before."""
    driver = cut_filler()
    driver.wait(2.0)
    driver.nothing_for(0.7)
    driver.wait(0.2)
    assert driver.asides == ["One moment.", "Let me see."]
    driver.wait(10.0)
    assert len(driver.asides) == 2


def test_words_after_an_interrupted_filler_are_answered() -> None:
    """The look-up ends with its turn; the record has what was heard of the filler."""
    driver = cut_filler()
    driver.prompt("Never mind.")
    assert driver.story[-3:] == ["tool (interrupted): look_up", "agent (interrupted): One", "user: Never mind."]
    assert driver.tools == {} and driver.rounds == [StartTurn(2)]


def test_a_reply_that_has_not_begun_is_not_lost_with_the_filler() -> None:
    """The interrupt ended speech that was sent, not a turn that had said nothing."""
    driver = waiting()
    driver.wait(1.0)
    driver.finish("look_up")
    assert driver.rounds == [StartTurn(1, 1)]
    driver.interrupt("One")
    assert driver.rounds == [StartTurn(1, 1)]
    driver.say("We open at nine.")
    assert driver.frames[-2:] == ["We open at nine.", CLOSE]


def test_a_reply_behind_an_interrupted_filler_is_asked_for_again() -> None:
    """It goes with what it queued behind: nobody heard it."""
    driver = waiting()
    driver.wait(1.0)
    driver.finish("look_up")
    driver.say("We open at nine.")
    driver.interrupt("One")
    assert driver.story[-1] == "agent (interrupted): One"
    driver.wait(2.1)
    assert len(driver.rounds) == 1


def test_words_wait_behind_a_filler_that_may_not_be_interrupted() -> None:
    """The turn's deadline bounds their wait."""
    driver = waiting(interruptible=False, turn_deadline=4.0)
    driver.wait(1.0)
    driver.prompt("Hello?")
    assert driver.timers["turn"] == pytest.approx(5.0)
    driver.wait(4.1)
    assert driver.frames[-2] == "Sorry, something went wrong." and driver.rounds == [StartTurn(2)]


# -- the hold sound


def held(**options: Any) -> Driver:
    """A call in which the hold sound is being played."""
    driver = waiting("search", hold_sound=SOUND, **options)
    driver.wait(3.0)
    assert driver.sounds == [Play(SOUND, preemptible=True, interruptible=options.get("interruptible", True))]
    return driver


def test_a_long_tool_has_a_hold_sound_after_the_filler() -> None:
    """Sent when that is over, not queued behind it: a reply that comes early would have to wait for it."""
    driver = waiting("search", hold_sound=SOUND)
    driver.wait(0.8)
    assert driver.frames == ["One moment.", CLOSE]
    driver.nothing_for(0.35 + 11 / 14)
    driver.wait(1.1)
    assert driver.frames == ["One moment.", CLOSE, SOUND]
    driver.wait(20.0)
    assert len(driver.sounds) == 1


def test_a_reply_that_comes_early_has_no_sound_before_it() -> None:
    driver = waiting("search", hold_sound=SOUND)
    driver.wait(1.0)
    driver.finish("search")
    driver.say("Nine.")
    driver.wait(5.0)
    assert driver.sounds == []


def test_the_hold_sound_alone_where_there_are_no_fillers() -> None:
    driver = waiting("search", hold_sound=SOUND, fillers=lambda language: ())
    driver.wait(0.9)
    assert driver.frames == [SOUND]


@pytest.mark.parametrize(("tool", "sound"), [("look_up", SOUND), ("search", "")])
def test_no_hold_sound(tool: str, sound: str) -> None:
    """Where no tool announces that long, or the agent has none."""
    driver = waiting(tool, hold_sound=sound)
    driver.wait(20.0)
    assert driver.sounds == []


def test_a_sound_may_be_interrupted_as_the_agent_may() -> None:
    assert held(interruptible=False).sounds[0].interruptible is False


def test_the_reply_cuts_the_hold_sound() -> None:
    """It is heard two seconds later, as after all speech that is cut by output; without a trace in the history."""
    driver = held()
    driver.finish("search")
    driver.say("We open at nine.")
    reply = driver.call.speaking.ledger.utterances[-1]
    begin = next(begin for u, begin, _ in driver.call.speaking.ledger.times() if u is reply)
    assert begin == pytest.approx(driver.now + 2.0)
    assert [type(item) for item in driver.items] == [UserItem, ToolItem, AssistantItem, AssistantItem]


@pytest.mark.parametrize("later", [0.0, 4.0])
def test_an_interrupted_hold_sound_gives_the_caller_the_floor(later: float) -> None:
    """Also where all that was said before it is long over: the reply does not talk over the caller."""
    driver = held()
    driver.wait(later)
    driver.interrupt("")
    driver.finish("search")
    driver.nothing_for(1.9)
    driver.wait(0.2)
    assert driver.rounds == [StartTurn(1, 1)]


# -- a sound of a tool


def test_a_sound_a_tool_returns_comes_before_the_reply() -> None:
    """Between talk cycles; the reply waits for its end, and so do fillers of the next round."""
    driver = waiting(words="Listen. ")
    driver.finish("look_up", ToolOutcome("{}", play="https://example.com/note.mp3"))
    driver.say("", call("look_up", call_id="again"))
    driver.nothing_for(5.0)
    driver.wait(2.0)
    driver.finish("look_up")
    driver.say("That was it.")
    sound = "https://example.com/note.mp3"
    assert driver.frames == ["Listen. ", CLOSE, sound, "One moment.", CLOSE, "That was it.", CLOSE]
    assert driver.sounds == [Play(sound)]


def test_equal_sounds_of_a_round_are_played_once() -> None:
    driver = line()
    driver.prompt("Hi")
    driver.say("", call("look_up", '{"a":1}', "a"), call("look_up", '{"a":2}', "b"))
    for _ in range(2):
        driver.finish("look_up", ToolOutcome("{}", play=SOUND))
    assert driver.sounds == [Play(SOUND)]


def test_the_sound_of_a_turn_that_is_over_is_not_played() -> None:
    driver = waiting("book", side_effect_wait=0.1)
    key = driver.tool("book")
    driver.prompt("Never mind.")
    driver.wait(0.2)
    driver.say("Fine.")
    driver.finish(key, ToolOutcome("{}", play=SOUND))
    driver.say("It is booked all the same.")
    assert driver.sounds == []


def test_no_sound_while_the_caller_has_the_floor() -> None:
    """It is played when the turn goes on."""
    driver = cut_filler()
    driver.finish("look_up", ToolOutcome("{}", play=SOUND))
    driver.nothing_for(1.9)
    driver.wait(0.2)
    assert driver.sounds == [Play(SOUND)]


@pytest.mark.parametrize("info", [False, True])
def test_the_end_of_a_call_waits_for_a_sound(info: bool) -> None:
    """One that was to be heard before it."""
    driver = line()
    driver.prompt("Bye")
    driver.say("Goodbye. ", call("end_call"))
    driver.reader()
    if info:
        driver.agent(True)
        driver.played("Goodbye.")
    driver.finish("end_call", ToolOutcome("{}", True, (EndCall(),), play=SOUND))
    assert driver.sounds == [Play(SOUND)]
    driver.wait(4.0)
    assert driver.ended is None
    driver.wait(15.0)
    assert driver.ended is not None


def test_nothing_is_said_of_a_tool_whose_call_is_over() -> None:
    driver = waiting()
    driver.hang_up()
    assert not any(isinstance(action, Say | Play) for action in driver.wait(5.0))
