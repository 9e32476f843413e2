"""Turns of a call: prompts, answers, waiting, failures, resumption, the socket's end. Lists in, lists out."""

from __future__ import annotations

import pytest

from relay.events import (
    CancelTimer,
    CancelTurn,
    Close,
    Delta,
    Put,
    RoundEnded,
    Say,
    StartTimer,
    StartTurn,
    TimerFired,
    ToolFinished,
    TurnEnded,
    TurnFailed,
)
from relay.frames import (
    AgentSpeaking,
    ClientSpeaking,
    Dtmf,
    Incoming,
    Interrupt,
    PeerError,
    Setup,
    TokensPlayed,
    Unknown,
)
from relay.items import AssistantItem, NoteItem, ToolItem, UserItem
from relay.keypad import Key
from relay.rules import Phase
from relay.toolbox import EndCall
from tests.relay.driver import CLOSE, EPOCH, LINES, Driver, answered, call, done, foreground, started, texts

# -- one turn


def test_setup_starts_the_clock_of_preparation() -> None:
    """Nothing else happens before the caller speaks."""
    driver = Driver()
    assert driver.call.phase is Phase.AWAITING_SETUP
    assert foreground(driver.setup()) == [StartTimer("prepare", 1.0)]
    assert foreground(driver.prepared()) == [CancelTimer("prepare")]
    assert driver.call.phase is Phase.TALKING


def test_a_final_prompt_asks_the_model_at_once() -> None:
    """The words go on record, the turn has a deadline, the model is asked: no waiting for a merge."""
    driver = started()
    assert foreground(driver.prompt(" Hello. ", "en-GB")) == [
        CancelTimer("after_interrupt"),
        Put(0, UserItem("Hello.", "en-GB")),
        StartTimer("turn", 15.0),
        StartTurn(1, 0, tools=True),
    ]
    assert driver.call.language == "en-GB"


def test_the_first_words_go_out_as_they_come() -> None:
    """On record as open, and sent; later words are only sent."""
    driver = started()
    driver.prompt("Hello")
    driver.now = 0.5
    assert driver.delta("Good") == [
        Put(1, AssistantItem("Good", "open", 0, EPOCH + 500)),
        Say(1, "Good"),
    ]
    driver.now = 0.6
    assert driver.delta(" morning.") == [Say(1, " morning.")]


def test_the_end_of_a_round_without_tools_ends_the_turn() -> None:
    """The talk cycle is closed, the whole reply on record, still open until it has been played."""
    driver = started()
    driver.prompt("Hello")
    driver.delta("Good morning.")
    actions = foreground(driver.end_round())
    assert actions[0] == Close()
    assert actions[-1] == TurnEnded(1, "done")
    assert driver.frames == ["Good morning.", CLOSE]
    assert driver.story == ["user: Hello", "agent (open): Good morning."]
    assert driver.call.turn is None


def test_a_reply_in_progress_is_saved_now_and_then() -> None:
    """At most every quarter of a second, and not urgently."""
    driver = started()
    driver.prompt("Hello")
    driver.delta("One")
    driver.now = 0.1
    assert driver.delta(" two") == [Say(1, " two")]
    driver.now = 0.3
    assert driver.delta(" three") == [Put(1, AssistantItem("One two three", "open", 0, EPOCH), False), Say(1, " three")]


def test_white_space_alone_opens_nothing() -> None:
    """A talk cycle opens with words."""
    driver = started()
    driver.prompt("Hello")
    assert driver.delta("\n ") == []
    assert driver.delta("") == []
    driver.delta("Hi.")
    assert driver.frames == ["Hi."]


@pytest.mark.parametrize("text", ["", "  \n"])
def test_an_empty_final_prompt_is_no_turn(text: str) -> None:
    """Nothing was understood."""
    driver = started()
    driver.prompt(text)
    assert driver.rounds == []
    assert driver.items == []


def test_a_partial_prompt_starts_nothing() -> None:
    """Partials are cumulative; only the final one is a turn."""
    driver = started()
    driver.prompt("Hel", last=False)
    driver.prompt("Hello th", last=False)
    assert driver.rounds == []
    assert driver.items == []


def test_words_of_a_turn_that_is_over_go_nowhere() -> None:
    """Nor its end, nor its failure: they are dropped by their number."""
    driver = answered()
    frames = list(driver.frames)
    assert driver.delta(" And more.", turn=1) == []
    assert driver.send(RoundEnded(1, "tools", (call("book"),))) == []
    assert driver.fail(1) == []
    assert driver.frames == frames
    assert driver.delta("Never", turn=7) == []


def test_what_a_superseded_turn_reports_does_not_touch_the_next() -> None:
    """The end and the failure of its round belong to nobody."""
    driver = started()
    driver.prompt("Hello")
    driver.delta("Good")
    driver.prompt("Are you open?")
    driver.delta("We")
    assert driver.send(RoundEnded(1, "tools", (call("book"),))) == []
    assert driver.send(TurnFailed(1, "bug")) == []
    driver.delta(" are.")
    assert driver.said == {1: "Good", 2: "We are."}


def test_a_round_that_has_ended_does_not_end_again() -> None:
    """While its tools run a second report of its end changes nothing."""
    driver = started()
    driver.prompt("Hello")
    driver.say("One moment.", call("look_up"))
    assert driver.end_round() == []
    assert driver.delta(" late") == []
    assert driver.tools


def test_frames_nobody_needs_change_nothing() -> None:
    """Unknown ones, errors of the peer, a second setup, timers nobody armed."""
    driver = answered()
    for event in (Unknown("config"), PeerError("64111", 64111), Setup("VX2", "CA2"), TimerFired("nonsense")):
        assert driver.send(event) == []
    for name in ("turn", "after_interrupt", "interdigit", "goodbye", "reader"):
        assert driver.send(TimerFired(name)) == []


def test_before_setup_nothing_is_taken() -> None:
    """Whatever comes."""
    driver = Driver()
    for event in (Dtmf("1"), Interrupt("Hi"), TokensPlayed("Hi"), Delta(0, "Hi"), TurnFailed(0, "bug")):
        assert driver.send(event) == []
    assert driver.prompt("Hello") == []


# -- the next prompt


def test_a_prompt_before_any_word_of_the_answer_is_one_with_the_last() -> None:
    """Nothing was sent: both are one user item, and one turn answers them (rule 3a)."""
    driver = started()
    driver.prompt("I would like")
    assert driver.prompt("a table for two.", "de-DE") == [
        CancelTimer("after_interrupt"),
        CancelTurn(1),
        CancelTimer("turn"),
        CancelTimer("side_effect"),
        TurnEnded(1, "superseded"),
        Put(0, UserItem("I would like a table for two.", "de-DE")),
        StartTimer("turn", 15.0),
        StartTurn(2),
    ]
    driver.prompt("At nine.")
    assert driver.story == ["user: I would like a table for two. At nine."]


def test_a_prompt_during_the_answer_supersedes_it() -> None:
    """What was sent stays, marked; the cycle is closed; the new words follow (rule 3b)."""
    driver = started()
    driver.prompt("Hello")
    driver.delta("Good morning,")
    actions = driver.prompt("Are you open?")
    assert CancelTurn(1) in actions
    assert driver.frames == ["Good morning,", CLOSE]
    assert driver.story == ["user: Hello", "agent (superseded): Good morning,", "user: Are you open?"]
    assert driver.delta(" sir.", turn=1) == []
    assert driver.rounds == [StartTurn(2)]


def test_a_prompt_while_tools_run_marks_what_was_said_before_them() -> None:
    """The words before the tools were complete; the turn was not."""
    driver = started()
    driver.prompt("Hello")
    driver.say("One moment.", call("look_up"))
    driver.prompt("Never mind")
    assert driver.story == [
        "user: Hello",
        "agent (superseded): One moment.",
        "tool (interrupted): look_up",
        "user: Never mind",
    ]


def test_words_with_something_on_record_after_them_are_not_joined() -> None:
    """A tool, or a key, stands between."""
    driver = started()
    driver.prompt("Look it up")
    driver.say("", call("look_up"))
    driver.prompt("Please")
    assert driver.story == ["user: Look it up", "tool (interrupted): look_up", "user: Please"]


def test_superseded_words_stay_marked_when_they_are_played() -> None:
    """They are played on, proven heard, and over in the end; the mark says that the answer was not complete."""
    driver = started()
    driver.prompt("Hello")
    driver.delta("Good morning, sir.")
    driver.prompt("Are you open?")
    driver.agent(True)
    driver.played("Good morning,")
    assert "agent (superseded): Good morning, sir." in driver.story
    driver.played("sir.")
    driver.agent(False)
    assert "agent (superseded): Good morning, sir." in driver.story


def test_superseded_words_can_still_be_cut() -> None:
    """They are in the ledger until played."""
    driver = started()
    driver.prompt("Hello")
    driver.delta("Good morning, sir.")
    driver.prompt("Are you open?")
    driver.now = 1.0
    driver.interrupt("Good")
    assert driver.story == ["user: Hello", "agent (interrupted): Good", "user: Are you open?"]
    assert driver.rounds == [StartTurn(2)], "the turn that has said nothing goes on"


def test_only_the_words_of_the_superseded_turn_are_marked() -> None:
    """A complete reply may still be playing before them."""
    driver = answered("Hello there.")
    driver.prompt("Tell me")
    driver.delta("We open")
    driver.prompt("Stop")
    assert driver.story[1] == "agent (open): Hello there."
    assert driver.story[3] == "agent (superseded): We open"


# -- a turn that may not be interrupted


def test_words_wait_for_a_turn_that_may_not_be_interrupted() -> None:
    """All of them are one input after its last token."""
    driver = started(interruptible=False)
    driver.prompt("Read me the terms")
    driver.delta("First,")
    assert CancelTurn(1) not in driver.prompt("Stop")
    driver.prompt("Stop it.", "de-DE")
    driver.delta(" this.")
    assert driver.story == ["user: Read me the terms", "agent (open): First,"]
    driver.end_round()
    assert driver.story == [
        "user: Read me the terms",
        "agent (open): First, this.",
        "user: Stop Stop it.",
    ]
    assert driver.turns[-1] == TurnEnded(1, "done")
    assert driver.rounds == [StartTurn(2)]


def test_words_wait_no_longer_than_a_turn_may_take() -> None:
    """A tool, and the round after it, have what is left of the deadline of the waiting words."""
    driver = started(interruptible=False)
    driver.prompt("Look it up")
    driver.say("One moment.", call("look_up"))
    driver.wait(1.0)
    driver.prompt("Hello?")
    driver.wait(9.0)
    driver.finish("look_up")
    driver.wait(5.9)
    assert LINES["apology"] not in driver.frames
    driver.wait(0.2)
    assert LINES["apology"] in driver.frames
    assert driver.story[-1] == "user: Hello?"
    assert driver.rounds == [StartTurn(2)]


def test_words_that_wait_do_not_hurry_a_reply() -> None:
    """It is spoken to its end, however long it takes: the deadline is one of silence."""
    driver = started(interruptible=False, turn_deadline=4.0)
    driver.prompt("Read it")
    driver.delta("First,")
    driver.prompt("Stop")
    for _ in range(10):
        driver.wait(1.0)
        driver.delta(" more")
    assert LINES["apology"] not in driver.frames
    driver.end_round()
    assert driver.rounds == [StartTurn(2)]


def test_more_words_do_not_put_off_the_deadline_of_the_first() -> None:
    """Nor that of the turn, where it has said nothing."""
    for said in ("One moment.", ""):
        driver = started(interruptible=False, turn_deadline=4.0)
        driver.prompt("Look it up")
        driver.say(said, call("look_up"))
        driver.prompt("Hello?")
        for _ in range(4):
            driver.wait(1.0)
            driver.prompt("Hello?")
        assert LINES["apology"] in driver.frames


def test_words_of_a_turn_that_waits_are_joined_even_where_it_may_not_be_interrupted() -> None:
    """Nothing was asked yet."""
    driver = Driver({"interruptible": False})
    driver.setup()
    driver.prompt("I would like")
    driver.prompt("a table.")
    assert driver.story == ["user: I would like a table."]


# -- preparing


def test_a_turn_waits_for_what_is_being_prepared() -> None:
    """History and tools come first, frames are taken meanwhile (rule 14)."""
    driver = Driver()
    driver.setup()
    driver.prompt("Hello")
    assert driver.rounds == []
    driver.prepared(UserItem("Before"), AssistantItem("Then"))
    assert driver.rounds == [StartTurn(1)]
    assert driver.story == ["user: Before", "agent (done): Then", "user: Hello"]


def test_a_turn_waits_no_longer_than_the_deadline() -> None:
    """It goes on with what is there; what comes late is there for the next."""
    driver = Driver({"prepare_deadline": 0.5})
    driver.setup()
    driver.prompt("Hello")
    driver.wait(0.5)
    assert driver.rounds == [StartTurn(1)]
    driver.prepared(UserItem("Before"))
    assert driver.story == ["user: Before", "user: Hello"]
    assert driver.rounds == [StartTurn(1)]


# -- failures


def test_an_answer_of_nothing_becomes_the_apology() -> None:
    """A model that says nothing must not leave the caller in silence."""
    driver = started()
    driver.prompt("Hello")
    driver.end_round()
    assert driver.frames == [LINES["apology"], CLOSE]
    assert driver.turns == [TurnEnded(1, "failed")]
    assert driver.story == ["user: Hello", f"agent (open): {LINES['apology']}"]


@pytest.mark.parametrize("reason", ["length", "filter", "refusal", "stop"])
def test_an_answer_cut_off_by_the_model_counts_as_said(reason: str) -> None:
    """Words were heard; whatever ended them."""
    driver = started()
    driver.prompt("Hello")
    driver.delta("Well,")
    driver.send(RoundEnded(1, reason))  # type: ignore[arg-type]
    assert driver.turns == [TurnEnded(1, "done")]


def test_a_failure_before_the_first_word_becomes_the_apology() -> None:
    """In the caller's language's own line, and the call goes on."""
    driver = started()
    driver.prompt("Hello")
    driver.fail()
    assert driver.frames == [LINES["apology"], CLOSE]
    driver.prompt("Hello?")
    assert driver.rounds == [StartTurn(2)]


def test_a_failure_in_the_middle_of_speech_becomes_the_apology() -> None:
    """What was said stays, its cycle is closed, the apology has its own."""
    driver = started()
    driver.prompt("Hello")
    driver.delta("The price is")
    driver.fail()
    assert driver.frames == ["The price is", CLOSE, LINES["apology"], CLOSE]
    assert driver.story == ["user: Hello", "agent (open): The price is", f"agent (open): {LINES['apology']}"]


def test_the_deadline_of_a_turn_becomes_the_apology() -> None:
    """The request is cancelled."""
    driver = started(turn_deadline=4.0)
    driver.prompt("Hello")
    driver.wait(3.9)
    assert driver.frames == []
    actions = driver.wait(0.2)
    assert CancelTurn(1) in actions
    assert driver.frames == [LINES["apology"], CLOSE]
    assert driver.rounds == []


def test_the_deadline_begins_anew_with_words_and_after_tools() -> None:
    """What is said moves it; tools have deadlines of their own."""
    driver = started(turn_deadline=4.0)
    driver.prompt("Hello")
    driver.say("One moment.", call("look_up"))
    driver.wait(10.0)
    assert LINES["apology"] not in driver.frames
    driver.finish("look_up")
    driver.wait(3.9)
    driver.delta("It is ")
    driver.wait(3.9)
    driver.delta("nine.")
    driver.wait(3.9)
    assert LINES["apology"] not in driver.frames
    driver.wait(0.2)
    assert driver.frames[-3:] == [CLOSE, LINES["apology"], CLOSE]


def test_a_turn_that_said_nothing_has_one_deadline_over_its_tools() -> None:
    """From the prompt to the first words, whatever happens between."""
    driver = started(turn_deadline=4.0)
    driver.prompt("Hello")
    driver.say("", call("look_up"))
    driver.wait(3.0)
    driver.finish("look_up")
    driver.wait(1.1)
    assert LINES["apology"] in driver.frames


def test_the_apology_is_in_the_callers_language() -> None:
    """The language of the last prompt."""
    driver = started(line=lambda name, language: f"{name} in {language}")
    driver.prompt("Hola", "es-ES")
    driver.fail()
    assert driver.frames == ["apology in es-ES", CLOSE]


# -- when speech is over


def test_a_reply_is_over_when_it_was_played_and_the_agent_is_silent() -> None:
    """Both are needed (rule 6)."""
    driver = answered("Hello there.")
    driver.agent(True)
    driver.played("Hello there.")
    assert driver.story[-1] == "agent (open): Hello there."
    driver.agent(False)
    assert driver.story[-1] == "agent (done): Hello there."


def test_silence_between_sentences_does_not_end_a_reply() -> None:
    """The cursor has not passed it."""
    driver = answered("Hello there. How are you?")
    driver.agent(True)
    driver.played("Hello there.")
    driver.now = 1.0
    driver.agent(False)
    driver.interrupt("How")
    assert driver.story[-1] == "agent (interrupted): Hello there. How"


def test_without_info_frames_a_reply_is_over_by_time() -> None:
    """Two seconds after its estimated end."""
    text = "a" * 28
    driver = answered(text)
    driver.wait(0.35 + 2.0 + 1.9)
    assert driver.story[-1] == f"agent (open): {text}"
    driver.wait(0.2)
    assert driver.story[-1] == f"agent (done): {text}"


def test_a_settling_timer_that_fires_early_still_settles() -> None:
    """An event loop's clock is not exact."""
    driver = answered("Hello there.")
    driver.now = driver.timers.pop("settle") - 0.005
    driver.send(TimerFired("settle"))
    assert driver.story[-1] == "agent (done): Hello there."


def test_played_to_its_end_a_reply_waits_for_silence() -> None:
    """``agentSpeaking on`` is none."""
    driver = answered("Hello there.")
    driver.played("Hello there.")
    driver.agent(True)
    assert driver.story[-1] == "agent (open): Hello there."


def test_without_info_frames_any_event_settles_what_is_over() -> None:
    """Also while something sent later is still being spoken."""
    driver = answered("Hello there.", keys={"1": Key(say="a" * 140)})
    driver.press("1")
    driver.now = 4.0
    driver.prompt("Hm", last=False)
    assert driver.story[1] == "agent (done): Hello there."
    assert driver.story[-1].startswith("agent (open): aaa")


@pytest.mark.parametrize("frame", [ClientSpeaking(False), TokensPlayed("Hello"), AgentSpeaking(True)])
def test_any_info_frame_shows_that_there_are_some(frame: Incoming) -> None:
    """From then on the clock alone settles nothing between two events."""
    driver = answered("Hello there.")
    assert not driver.call.speaking.info
    driver.send(frame)
    assert driver.call.speaking.info
    driver.now = 10.0
    driver.prompt("Hm", last=False)
    assert driver.story[-1] == "agent (open): Hello there."


def test_while_the_agent_is_reported_speaking_nothing_is_over_by_time() -> None:
    """A slow voice; it is over when silence is reported."""
    driver = answered("Hello there.")
    driver.agent(True)
    driver.wait(30.0)
    assert driver.story[-1] == "agent (open): Hello there."
    driver.agent(False)
    assert driver.story[-1] == "agent (done): Hello there."


def test_a_voice_faster_than_the_estimate_is_over_in_time() -> None:
    """Silence came before the estimated end, and no proof: the clock settles it."""
    driver = answered("a" * 140)
    driver.agent(True)
    driver.now = 5.0
    driver.agent(False)
    assert driver.story[-1].startswith("agent (open)")
    driver.wait(20.0)
    assert driver.story[-1].startswith("agent (done)")


def test_the_greeting_is_the_first_thing_said() -> None:
    """Known from the TwiML: no frame of ours, but an item of its own."""
    driver = started(greeting="Welcome.")
    assert driver.frames == []
    assert driver.items == [AssistantItem("Welcome.", "open", 0, EPOCH, "greeting")]
    driver.prompt("Hi")
    assert driver.story == ["agent (open): Welcome.", "user: Hi"]


# -- resumption


def test_a_resumed_call_answers_what_was_left_unanswered() -> None:
    """The last item is the caller's: asked at once."""
    driver = Driver()
    driver.setup()
    driver.prepared(AssistantItem("Hello."), UserItem("Are you open?"), resumed=True)
    assert driver.rounds == [StartTurn(1)]
    assert driver.frames == []


@pytest.mark.parametrize(
    "last", [ToolItem("c", "book", "{}", "{}", "unknown"), NoteItem("The caller pressed 1.")], ids=["tool", "note"]
)
def test_a_resumed_call_goes_on_after_a_tool_or_a_key(last: ToolItem | NoteItem) -> None:
    """Nobody has told the caller yet."""
    driver = Driver()
    driver.setup()
    driver.prepared(UserItem("Book it"), last, resumed=True)
    assert driver.rounds == [StartTurn(1)]


@pytest.mark.parametrize("items", [(), (UserItem("Hi"), AssistantItem("Hello."))], ids=["empty", "answered"])
def test_a_resumed_call_with_nothing_open_says_one_line(items: tuple[UserItem | AssistantItem, ...]) -> None:
    """And listens."""
    driver = Driver()
    driver.setup()
    driver.prepared(*items, resumed=True)
    assert driver.frames == [LINES["cut_off"], CLOSE]
    assert driver.rounds == []
    assert driver.items[-1] == AssistantItem(LINES["cut_off"], "open", 0, EPOCH, "cut_off")


def test_a_resumed_call_whose_caller_speaks_first_just_answers() -> None:
    """No line on top of it."""
    driver = Driver()
    driver.setup()
    driver.prompt("Hello?")
    driver.prepared(UserItem("Hi"), AssistantItem("Hello."), resumed=True)
    assert driver.frames == []
    assert driver.rounds == [StartTurn(1)]


def test_a_call_that_is_already_ending_is_not_resumed() -> None:
    """What was prepared came very late."""
    driver = Driver()
    driver.setup()
    driver.prompt("That was all")
    driver.wait(1.0)
    driver.say("Goodbye.", call("end_call"))
    driver.reader()
    driver.finish("end_call", done("{}", EndCall()))
    driver.prepared(UserItem("Hi"), resumed=True)
    assert driver.rounds == []
    driver.prepared(UserItem("Hi"), AssistantItem("Hello."), resumed=True)
    assert driver.frames == ["Goodbye.", CLOSE]


# -- the socket's end


def test_a_hang_up_in_silence_leaves_everything_as_it_is() -> None:
    """All was heard."""
    driver = answered("Hello there.")
    driver.wait(20.0)
    driver.hang_up()
    assert driver.story == ["user: Hi", "agent (done): Hello there."]
    assert driver.call.phase is Phase.ENDED


def test_a_hang_up_while_the_reply_is_played_leaves_what_was_heard() -> None:
    """By the clock without proof, by the cursor with it."""
    driver = answered("Hello there, how are you?")
    driver.now = 0.35 + 12 / 14
    driver.hang_up()
    assert driver.story[-1] == "agent (interrupted): Hello there,"

    driver = answered("Hello there, how are you?")
    driver.played("Hello")
    driver.now = 5.0
    driver.hang_up()
    assert driver.story[-1] == "agent (interrupted): Hello"


def test_a_hang_up_while_the_model_speaks_leaves_what_was_heard() -> None:
    """The request is cancelled, the turn is over."""
    driver = started()
    driver.prompt("Hi")
    driver.delta("Hello there,")
    driver.now = 0.8
    driver.hang_up()
    assert driver.rounds == []
    assert driver.turns == [TurnEnded(1, "interrupted")]
    assert driver.story == ["user: Hi", "agent (interrupted): Hello"]
    assert driver.delta(" how", turn=1) == []


def test_a_hang_up_before_any_sound_leaves_no_answer() -> None:
    """Sent, and not heard."""
    driver = answered("Hello there.")
    driver.now = 0.2
    driver.hang_up()
    assert driver.story == ["user: Hi"]


def test_a_hang_up_during_tools_leaves_a_result_for_each() -> None:
    """Those of the turn end with it; a side effect goes on and its result is still taken."""
    driver = started()
    driver.prompt("Hi")
    driver.say("", call("look_up"), call("book"))
    driver.reader()
    book = driver.tool("book")
    driver.hang_up()
    assert driver.story == ["user: Hi", "tool (interrupted): look_up", "tool (running): book"]
    assert list(driver.tools) == [book]
    assert driver.finish(book, done('"5"')) == [Put(2, ToolItem("call_book", "book", "{}", '"5"', "done", 0))]
    assert driver.send(ToolFinished(book, done('"6"'))) == []


def test_a_hang_up_while_words_wait_keeps_them() -> None:
    """A session that follows answers them."""
    driver = started(interruptible=False)
    driver.prompt("Read it")
    driver.delta("First,")
    driver.prompt("Stop")
    driver.prompt("please")
    driver.now = 3.0
    driver.hang_up()
    assert driver.story == ["user: Read it", "agent (interrupted): First,", "user: Stop please"]


def test_a_hang_up_while_keys_are_collected_keeps_them() -> None:
    """They were pressed."""
    driver = started()
    driver.press("12")
    driver.hang_up()
    assert driver.story == ["note: The caller pressed 1 2 on the keypad."]


def test_a_hang_up_while_preparing_keeps_the_words() -> None:
    """Nothing was asked yet."""
    driver = Driver()
    driver.setup()
    driver.prompt("Hello")
    driver.hang_up()
    assert driver.story == ["user: Hello"]


def test_a_socket_that_closes_before_setup_ends_the_call() -> None:
    """And nothing starts afterwards."""
    driver = Driver()
    driver.hang_up()
    assert driver.call.phase is Phase.ENDED
    assert driver.setup() == []


def test_after_the_end_nothing_is_taken() -> None:
    """Whatever still comes."""
    driver = answered()
    driver.hang_up()
    stored = driver.items
    for event in (Interrupt("Hello"), TokensPlayed("Hello"), Dtmf("1"), TimerFired("turn"), Delta(1, "x")):
        assert driver.send(event) == []
    assert driver.prompt("Hi") == []
    assert driver.hang_up() == []
    assert driver.items == stored


def test_a_burst_of_prompts_before_all_is_ready_is_one_turn() -> None:
    """Every word of it, in order, asked for once."""
    driver = Driver()
    driver.setup()
    for number in range(10):
        driver.prompt(f"part {number}")
    assert driver.rounds == []
    driver.prepared()
    assert len(driver.rounds) == 1
    assert driver.story == ["user: " + " ".join(f"part {number}" for number in range(10))]


@pytest.mark.parametrize("interruptible", [True, False])
def test_a_burst_of_prompts_is_one_turn(interruptible: bool) -> None:
    """Each is asked for at once, without a wait, and nothing of the ones before it has been said."""
    driver = started(interruptible=interruptible)
    for number in range(10):
        driver.prompt(f"part {number}")
        assert len(driver.rounds) == 1
    if not interruptible:
        driver.fail()
    assert driver.story[-1].endswith("part 9")
    assert " ".join(texts(driver.items)).replace(LINES["apology"] + " ", "") == " ".join(
        f"part {number}" for number in range(10)
    )
