"""Interrupts: rules 4 and 5, and every row of the edge cases of ConversationRelay, with and without ``info`` frames.

``Ear`` plays Twilio's side of speech to a driver: in a session with ``info`` frames what is heard is reported before
the interrupt, otherwise only the interrupt tells, and the clock.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import pytest

from relay.events import CancelTurn, Close, Delta, RoundEnded, Say, StartTimer, StartTurn, TurnEnded
from relay.heard import CHARACTERS_PER_SECOND, SPEECH_DELAY
from relay.items import AssistantItem, NoteItem, ToolItem, UserItem
from relay.listening import NOISE_LIMIT
from relay.rules import Phase
from tests.relay.driver import CLOSE, EPOCH, Driver, answered, call, done, started

LONG = "We open at nine. We close at six. On Sundays we are closed."


@dataclass
class Ear:
    """Twilio's ear. ``hear``: these words are played now, the first of an utterance sent at ``began``."""

    driver: Driver
    info: bool
    began: float = 0.0
    heard: str = ""

    def hear(self, text: str) -> None:
        """Whole segments, reported where the session has info frames."""
        if self.info and not self.heard:
            self.driver.agent(True)
        self.heard += text
        self.driver.now = max(self.driver.now, self.began + SPEECH_DELAY + len(self.heard) / CHARACTERS_PER_SECOND)
        if self.info and text.strip():
            self.driver.played(text.strip())

    def cut(self, fragment: str) -> None:
        """The caller speaks while this part of a segment has been played."""
        if self.info:
            self.driver.client(True)
        self.hear(fragment)
        self.driver.interrupt(fragment.strip(), 500)
        if self.info:
            self.driver.agent(False)


both = pytest.mark.parametrize("info", [True, False], ids=["info", "no info"])


# -- the rows of 5.3


@both
def test_interrupt_while_tokens_still_stream(info: bool) -> None:
    """Generation is cancelled, nothing more is sent, the cycle closed, the heard part stored, the turn marked."""
    driver = started()
    driver.prompt("When are you open?")
    driver.delta("We open at nine.")
    driver.delta(" We close")
    Ear(driver, info).cut("We open")
    assert driver.rounds == []
    assert driver.frames == ["We open at nine.", " We close", CLOSE]
    assert driver.turns == [TurnEnded(1, "interrupted")]
    assert driver.story == ["user: When are you open?", "agent (interrupted): We open"]


def test_the_actions_of_an_interrupt() -> None:
    """In order: closed, rewritten, cancelled, and a deadline for what follows."""
    driver = started()
    driver.prompt("Hi")
    driver.delta("Hello there.")
    driver.now = 1.0
    actions = driver.interrupt("Hello")
    assert actions[:3] == [Close(), actions[1], CancelTurn(1)]
    assert actions[1].item == AssistantItem("Hello", "interrupted", 0, EPOCH)  # type: ignore[union-attr]
    assert actions[-3:-1] == [TurnEnded(1, "interrupted"), StartTimer("after_interrupt", 2.0)]


@both
def test_interrupt_after_everything_was_sent(info: bool) -> None:
    """The finished message is rewritten to what was heard."""
    driver = answered(LONG)
    ear = Ear(driver, info)
    ear.hear("We open at nine. ")
    ear.cut("We close")
    assert driver.frames == [LONG, CLOSE]
    assert driver.story == ["user: Hi", "agent (interrupted): We open at nine. We close"]


@both
def test_the_last_turn_stays_mutable_after_the_next_prompt(info: bool) -> None:
    """A prompt without an interrupt does not end what is still being played (rule 6)."""
    driver = answered(LONG)
    ear = Ear(driver, info)
    ear.hear("We open at nine. ")
    driver.prompt("And on Mondays?")
    ear.cut("We close")
    assert driver.story == ["user: Hi", "agent (interrupted): We open at nine. We close", "user: And on Mondays?"]


@both
def test_interrupt_with_an_empty_utterance(info: bool) -> None:
    """Nothing was heard: the message goes."""
    driver = answered(LONG)
    driver.now = 0.5
    driver.interrupt("", 0)
    if info:
        driver.agent(False)
    assert driver.story == ["user: Hi"]
    assert driver.stored == {0: UserItem("Hi")}


def test_an_empty_utterance_after_proof_leaves_what_was_proven() -> None:
    """``tokensPlayed`` is the better witness."""
    driver = answered(LONG)
    Ear(driver, True).hear("We open at nine.")
    driver.interrupt("")
    assert driver.story[-1] == "agent (interrupted): We open at nine."


@both
def test_the_whole_reply_reported(info: bool) -> None:
    """Not a word is taken, but it was interrupted."""
    driver = answered("We open at nine.")
    Ear(driver, info).cut("We open at nine.")
    assert driver.story == ["user: Hi", "agent (interrupted): We open at nine."]
    driver.nothing_for(30.0)  # all was heard: there is nothing to go on with


@both
def test_tokens_that_come_after_the_interrupt(info: bool) -> None:
    """Dropped by their number, also when the next turn speaks already; so is the end of their round."""
    driver = started()
    driver.prompt("Hi")
    driver.delta("We open")
    Ear(driver, info).cut("We")
    assert driver.send(Delta(1, " at nine.")) == []
    assert driver.send(RoundEnded(1, "tools", (call("book"),))) == []
    driver.prompt("Stop")
    driver.delta("Yes?")
    assert driver.send(Delta(1, " at six.")) == []
    assert driver.said == {1: "We open", 2: "Yes?"}


@both
def test_the_same_phrase_twice(info: bool) -> None:
    """The occurrence is chosen by what was played, or by the clock."""
    driver = answered("Press one for rooms. Press one for tables. Press one for tours.")
    ear = Ear(driver, info)
    ear.hear("Press one for rooms. ")
    ear.cut("Press one for")
    assert driver.story[-1] == "agent (interrupted): Press one for rooms. Press one for"


@both
@pytest.mark.parametrize(
    ("sent", "reported", "stored"),
    [
        ("It’s “nine” o’clock – sharp. Bye.", "It's \"nine\" o'clock", "It’s “nine” o’clock"),
        ("One  two\nthree four.", "one two three", "One  two\nthree"),
        ("Twenty-one euros, please.", "twenty one euros", "Twenty-one euros,"),
        ("It’s nine o’clock.", "It's nine o'cl", "It’s nine"),
    ],
)
def test_a_spoken_form_that_differs(info: bool, sent: str, reported: str, stored: str) -> None:
    """Found by its letters; the record keeps what was sent, in whole words."""
    driver = answered(sent)
    driver.now = SPEECH_DELAY + len(stored) / CHARACTERS_PER_SECOND
    if info:
        driver.agent(True)
        driver.played(reported)
    driver.interrupt(reported)
    assert driver.story[-1] == f"agent (interrupted): {stored}"


@both
def test_a_spoken_form_that_cannot_be_found(info: bool) -> None:
    """Never words that were not sent: the cursor, or the clock."""
    driver = answered("Hello. It costs 20 euros a day.")
    ear = Ear(driver, info)
    ear.hear("Hello. ")
    driver.now = SPEECH_DELAY + len("Hello. It costs 2") / CHARACTERS_PER_SECOND
    driver.interrupt("It costs twenty")
    assert driver.story[-1] == f"agent (interrupted): {'Hello.' if info else 'Hello. It costs'}"


@both
def test_a_tool_that_was_executed_stays(info: bool) -> None:
    """Call and result are kept; only the speech is cut."""
    driver = started()
    driver.prompt("When?")
    driver.say("", call("look_up"))
    driver.finish("look_up", done('"nine"'))
    driver.delta("We open at nine. We close")
    Ear(driver, info).cut("We open")
    assert driver.items == [
        UserItem("When?"),
        ToolItem("call_look_up", "look_up", "{}", '"nine"', "done", 0),
        AssistantItem("We open", "interrupted", 0, EPOCH),
    ]


@both
def test_two_interrupts_for_one_turn(info: bool) -> None:
    """The second does nothing: no cut, no new wait."""
    driver = answered(LONG)
    ear = Ear(driver, info)
    ear.hear("We open at nine. ")
    ear.cut("We close")
    story = driver.story
    assert driver.interrupt("We close at") == []
    assert driver.story == story


@both
def test_two_interrupts_when_something_before_was_heard_to_its_end(info: bool) -> None:
    """Nor does it where an earlier utterance is still in the ledger."""
    driver = started(greeting="Welcome.")
    driver.prompt("Hi")
    driver.say(LONG)
    ear = Ear(driver, info)
    ear.hear("Welcome.")
    ear.hear("We open")
    driver.interrupt("We open")
    story = ["agent (done): Welcome.", "user: Hi", "agent (interrupted): We open"]
    assert driver.story == story
    driver.prompt("Stop")
    assert driver.interrupt("We open at") == []
    assert driver.story == [*story, "user: Stop"]
    assert driver.rounds == [StartTurn(2)]


@both
def test_an_interrupt_without_any_speech(info: bool) -> None:
    """Nothing was said: nothing happens."""
    driver = started()
    if info:
        driver.client(True)
    assert driver.interrupt("") == []
    driver.prompt("Hi")
    assert driver.interrupt("Whatever") == []
    assert driver.rounds == [StartTurn(1)], "a turn that has said nothing is not ended"


@both
def test_an_interrupt_when_the_reply_is_over(info: bool) -> None:
    """It left the ledger: it is done, and stays so."""
    driver = answered("Hello.")
    ear = Ear(driver, info)
    ear.hear("Hello.")
    if info:
        driver.agent(False)
    driver.wait(10.0)
    assert driver.interrupt("Hello.") == []
    assert driver.story[-1] == "agent (done): Hello."


@both
def test_the_greeting_interrupted_by_a_prompt(info: bool) -> None:
    """It is cut like a reply, and the caller's words follow."""
    driver = started(greeting="Welcome to the hotel by the sea.")
    Ear(driver, info).cut("Welcome to")
    driver.prompt("Hi")
    assert driver.story == ["agent (interrupted): Welcome to", "user: Hi"]
    assert driver.rounds == [StartTurn(1)]
    assert driver.frames == []


@both
def test_the_greeting_interrupted_by_nobody(info: bool) -> None:
    """After the wait the model takes it up, told what was heard."""
    driver = started(greeting="Welcome to the hotel by the sea.")
    Ear(driver, info).cut("Welcome to")
    if info:
        driver.client(False)
    driver.wait(2.1)
    assert driver.story[0] == "agent (interrupted): Welcome to"
    assert isinstance(driver.items[1], NoteItem)
    assert driver.rounds == [StartTurn(1)]


@both
def test_the_greeting_interrupted_before_anything_is_prepared(info: bool) -> None:
    """The turn waits for both."""
    driver = Driver({"greeting": "Welcome to the hotel."})
    driver.setup()
    Ear(driver, info).cut("Welcome")
    driver.prompt("Hi")
    assert driver.rounds == []
    driver.prepared()
    assert driver.rounds == [StartTurn(1)]


@both
def test_the_greeting_interrupted_while_an_answer_waits(info: bool) -> None:
    """The caller has the floor; then what was waiting is answered, and the greeting is not asked for again."""
    driver = Driver({"greeting": "Welcome back to the hotel."})
    driver.setup()
    Ear(driver, info).cut("Welcome")
    driver.prepared(UserItem("Are you open?"), resumed=True)
    assert driver.rounds == []
    if info:
        driver.client(False)
    driver.wait(2.1)
    assert driver.rounds == [StartTurn(1)]
    assert driver.story == ["user: Are you open?", "agent (interrupted): Welcome"]


@both
def test_a_prompt_while_the_agent_speaks_and_nothing_stops(info: bool) -> None:
    """``interruptible=none``: playback goes on; the words wait for the turn's last token."""
    driver = started(interruptible=False)
    driver.prompt("Read it")
    driver.delta("First,")
    ear = Ear(driver, info)
    ear.hear("First,")
    driver.prompt("Stop")
    driver.delta(" second.")
    driver.end_round()
    assert driver.frames == ["First,", " second.", CLOSE]
    assert driver.rounds == [StartTurn(2)]
    driver.say("Yes?")
    assert driver.story == ["user: Read it", "agent (open): First, second.", "user: Stop", "agent (open): Yes?"]


@both
def test_a_prompt_while_generating_without_an_interrupt(info: bool) -> None:
    """The old generation is cancelled; the new turn sees both texts."""
    driver = started()
    if info:
        driver.client(True)
        driver.client(False)
    driver.prompt("I would like")
    driver.prompt("a table")
    assert driver.story == ["user: I would like a table"]
    assert driver.rounds == [StartTurn(2)]


@both
def test_a_backchannel_that_interrupts(info: bool) -> None:
    """It is a prompt like others: the next answer goes on from what was heard."""
    driver = answered(LONG)
    ear = Ear(driver, info)
    ear.hear("We open at nine. ")
    ear.cut("We close")
    driver.prompt("Uh-huh")
    assert driver.story == ["user: Hi", "agent (interrupted): We open at nine. We close", "user: Uh-huh"]


@both
def test_preemption_by_own_output(info: bool) -> None:
    """No interrupt tells: what was played until the next words were sent was heard, by proof or by the clock."""
    driver = started(preemptible=True)
    driver.prompt("Hi")
    driver.say(LONG)
    Ear(driver, info).hear("We open at nine. We close")
    driver.prompt("And on Mondays?")
    assert driver.story[1] == f"agent (open): {LONG}"
    driver.delta("On Mondays too.")
    assert driver.story == [
        "user: Hi",
        "agent (interrupted): We open at nine. We close",
        "user: And on Mondays?",
        "agent (open): On Mondays too.",
    ]
    if info:
        driver.played("at six.")
        driver.agent(False)
        driver.agent(True)
        driver.played("On Mondays")
        assert driver.story[1] == "agent (interrupted): We open at nine. We close at six."
    assert driver.rounds == [StartTurn(2)]
    driver.now += 3.0
    driver.interrupt("On Mondays")
    assert driver.story[3] == "agent (interrupted): On Mondays"


@both
def test_a_spurious_interrupt(info: bool) -> None:
    """No caller, no prompt: after the wait the reply is asked for again, with a note; silence is never the end."""
    driver = started()
    driver.prompt("When?")
    driver.delta("We open at nine. We close")
    ear = Ear(driver, info)
    ear.hear("We open at nine.")
    driver.interrupt("We open at nine.")
    driver.nothing_for(1.9)
    driver.wait(0.2)
    assert driver.rounds == [StartTurn(2)]
    assert [type(item) for item in driver.items] == [UserItem, AssistantItem, NoteItem]
    driver.say("We close at six.")
    assert driver.story[-1] == "agent (open): We close at six."


# -- rule 4


@both
def test_a_turn_that_has_said_nothing_goes_on(info: bool) -> None:
    """The speech that was cut was not its own."""
    driver = answered(LONG)
    ear = Ear(driver, info)
    ear.hear("We open at nine. ")
    driver.prompt("And on Mondays?")
    ear.cut("We close")
    assert driver.rounds == [StartTurn(2)]
    driver.delta("On Mondays too.")
    assert driver.frames[-1] == "On Mondays too."


@both
def test_a_queued_reply_behind_the_cut_one_goes_too(info: bool) -> None:
    """Twilio purges the queue: words of the current turn were lost with it."""
    driver = answered(LONG)
    ear = Ear(driver, info)
    ear.hear("We open at nine. ")
    driver.prompt("And on Mondays?")
    driver.delta("On Mondays")
    ear.cut("We close")
    assert driver.rounds == []
    assert driver.story == ["user: Hi", "agent (interrupted): We open at nine. We close", "user: And on Mondays?"]
    if info:
        driver.client(False)
    driver.wait(2.1)
    assert driver.rounds == [StartTurn(3)]


@both
def test_running_tools_go_on_when_the_words_before_them_are_cut(info: bool) -> None:
    """They are not cancelled; their results wait until it is clear what follows."""
    driver = started()
    driver.prompt("When?")
    driver.say("One moment, I will look.", call("look_up"))
    Ear(driver, info).cut("One")
    assert driver.tools
    driver.finish("look_up")
    assert driver.rounds == []
    if info:
        driver.client(False)
    driver.wait(2.1)
    assert driver.rounds == [StartTurn(1, 1)]
    assert driver.story == ["user: When?", "agent (interrupted): One", "tool (done): look_up"]


@both
def test_tools_that_outlast_the_wait_feed_the_next_round(info: bool) -> None:
    """The turn goes on by itself."""
    driver = started()
    driver.prompt("When?")
    driver.say("One moment, I will look.", call("look_up"))
    Ear(driver, info).cut("One")
    if info:
        driver.client(False)
    driver.wait(5.0)
    driver.finish("look_up")
    assert driver.rounds == [StartTurn(1, 1)]


@both
def test_a_prompt_after_an_interrupt_during_tools_ends_the_turn(info: bool) -> None:
    """The tool ends with it; the new words are answered."""
    driver = started()
    driver.prompt("When?")
    driver.say("One moment, I will look.", call("look_up"))
    Ear(driver, info).cut("One")
    driver.prompt("Never mind")
    assert driver.tools == {}
    assert driver.story[-2:] == ["tool (interrupted): look_up", "user: Never mind"]
    assert driver.rounds == [StartTurn(2)]
    assert "after_interrupt" not in driver.timers


@both
def test_an_interrupted_turn_that_may_not_be_interrupted_goes_on_with_the_words(info: bool) -> None:
    """Twilio stopped it all the same: the tools' results are not forgotten, nor the caller's words."""
    driver = started(interruptible=False)
    driver.prompt("When?")
    driver.say("One moment, I will look.", call("look_up"))
    Ear(driver, info).cut("One")
    driver.finish("look_up")
    driver.prompt("Hello?")
    assert driver.rounds == [StartTurn(1, 1)]
    driver.say("At nine.")
    assert driver.rounds == [StartTurn(2)]
    assert driver.story[-1] == "user: Hello?"


def test_words_played_late_lengthen_what_was_heard() -> None:
    """Until silence is reported, or the next final prompt."""
    driver = answered(LONG)
    driver.agent(True)
    driver.played("We open")
    driver.interrupt("We open")
    driver.played("at nine.")
    assert driver.story[-1] == "agent (interrupted): We open at nine."
    driver.agent(False)
    assert driver.played("We close") == []
    assert driver.story[-1] == "agent (interrupted): We open at nine."


def test_after_a_final_prompt_nothing_lengthens_what_was_cut() -> None:
    """Also before the first words of the answer."""
    driver = answered(LONG)
    driver.played("We open")
    driver.interrupt("We open")
    driver.prompt("Pardon?")
    assert driver.played("at nine.") == []
    assert driver.story[1] == "agent (interrupted): We open"


def test_a_final_prompt_settles_what_was_cut() -> None:
    """Words that begin alike, played later, belong to the new answer."""
    driver = answered("We open at nine, madam.")
    driver.played("We")
    driver.interrupt("We")
    driver.prompt("Pardon?")
    driver.say("We open at nine.")
    driver.played("We open")
    assert driver.story == ["user: Hi", "agent (interrupted): We", "user: Pardon?", "agent (open): We open at nine."]
    driver.interrupt("We open")
    assert driver.story[-1] == "agent (interrupted): We open"


def test_a_message_that_was_removed_comes_back_at_its_place() -> None:
    """Proof that came after the interrupt: in its order, not at the end."""
    driver = answered(LONG)
    driver.prompt("And Mondays?")
    driver.now = 0.5
    driver.interrupt("")
    assert driver.story == ["user: Hi", "user: And Mondays?"]
    driver.played("We open")
    assert driver.story == ["user: Hi", "agent (interrupted): We open", "user: And Mondays?"]
    assert list(sorted(driver.stored)) == [0, 1, 2]


# -- rule 5


def test_the_wait_after_an_interrupt_is_without_the_callers_voice() -> None:
    """It counts from ``clientSpeaking off``."""
    driver = answered(LONG)
    Ear(driver, True).cut("We open")
    driver.nothing_for(3.0)
    driver.client(False)
    driver.nothing_for(1.9)
    driver.wait(0.2)
    assert driver.rounds == [StartTurn(2)]


def test_a_caller_who_speaks_for_long_is_not_talked_over() -> None:
    """A peer that reports ``off`` is believed when it reports ``on``."""
    driver = answered(LONG)
    driver.client(True)
    driver.client(False)
    Ear(driver, True).cut("We open")
    driver.nothing_for(12.0)
    driver.prompt("A long story.")
    assert driver.rounds == [StartTurn(2)]


def test_a_peer_that_never_reports_off_is_not_believed_for_ever() -> None:
    """Nothing came of the voice it heard: the call goes on."""
    driver = answered(LONG)
    Ear(driver, True).cut("We open")
    driver.wait(8.0)
    assert driver.rounds == [StartTurn(2)]


def noisy(driver: Driver, seconds: float, until: Callable[[], object]) -> None:
    """Something is heard again and again, and no words follow; never quiet for as long as a prompt would take."""
    end = driver.now + seconds
    while driver.now < end and not until():
        driver.client(True)
        driver.wait(0.5)
        driver.client(False)
        driver.wait(0.5)


def test_noise_after_noise_does_not_hold_the_wait_for_ever() -> None:
    """A television behind the caller: after an interrupt silence is never the end."""
    driver = answered(LONG)
    Ear(driver, True).cut("We open")
    cut = driver.now
    noisy(driver, NOISE_LIMIT + 5.0, lambda: driver.rounds)
    assert driver.rounds == [StartTurn(2)] and driver.now - cut > NOISE_LIMIT - 5.0


def test_a_noise_long_ago_takes_nothing_from_the_patience_with_the_next_words() -> None:
    """What was heard before words, or before a quiet, has nothing to do with what is heard now."""
    driver = answered(LONG)
    noisy(driver, NOISE_LIMIT, lambda: False)
    driver.prompt("Tell me again")
    driver.say(LONG)
    Ear(driver, True, driver.now).cut("We open")
    driver.client(False)
    driver.client(True)
    driver.nothing_for(12.0)


def test_partial_prompts_hold_the_wait() -> None:
    """The caller is in the middle of a sentence."""
    driver = answered(LONG)
    Ear(driver, False).cut("We open")
    for _ in range(10):
        driver.wait(1.0)
        driver.prompt("I would", last=False)
    assert driver.rounds == []
    driver.wait(10.0)
    assert driver.rounds == [StartTurn(2)]


def test_a_prompt_ends_the_wait() -> None:
    """It is answered at once, and nothing is asked for again."""
    driver = answered(LONG)
    Ear(driver, False).cut("We open")
    driver.prompt("Stop")
    driver.say("Yes?")
    driver.nothing_for(30.0)
    assert driver.story[-1] == "agent (done): Yes?"


def test_what_is_asked_for_again_is_told_where_it_was_cut() -> None:
    """The note follows the heard words, and is an item of its own: the words stay exactly those that were heard."""
    driver = answered(LONG)
    Ear(driver, False).cut("We open")
    driver.wait(2.1)
    _, reply, note = driver.items
    assert reply == AssistantItem("We open", "interrupted", 0, EPOCH)
    assert isinstance(note, NoteItem) and "cut off" in note.text


def test_an_apology_that_is_cut_does_not_leave_silence() -> None:
    """The model is asked again."""
    driver = started()
    driver.prompt("Hi")
    driver.fail()
    driver.now = 1.0
    driver.interrupt("Sorry,")
    driver.wait(2.1)
    assert driver.rounds == [StartTurn(2)]


def test_a_second_interrupt_during_the_second_try_is_its_own() -> None:
    """Each reply can be cut once."""
    driver = answered(LONG)
    Ear(driver, False).cut("We open")
    driver.wait(2.1)
    began = driver.now
    driver.delta("As I said, we open at nine.")
    Ear(driver, False, began).cut("As I")
    assert driver.rounds == []
    assert driver.story[-1] == "agent (interrupted): As I"
    driver.wait(2.1)
    assert driver.rounds == [StartTurn(3)]


def test_no_frame_of_the_cut_words_follows_an_interrupt() -> None:
    """At most one empty closing frame."""
    driver = started()
    driver.prompt("Hi")
    driver.delta("We open")
    driver.now = 1.0
    sent = len(driver.frames)
    driver.interrupt("We")
    driver.delta(" at nine.", turn=1)
    driver.end_round(turn=1)
    driver.wait(1.9)
    assert driver.frames[sent:] == [CLOSE]


def test_an_interrupt_between_two_rounds_of_silence_keeps_the_order() -> None:
    """Words before a tool, cut; words after it, sent later: each at its own place."""
    driver = started()
    driver.prompt("Hi")
    driver.say("One moment please.", call("look_up"))
    driver.now = 0.8
    driver.interrupt("One moment")
    driver.wait(2.1)
    driver.finish("look_up")
    driver.say("It is nine.")
    assert driver.story == [
        "user: Hi",
        "agent (interrupted): One moment",
        "tool (done): look_up",
        "agent (open): It is nine.",
    ]
    assert driver.turns == [TurnEnded(1, "interrupted")]
    assert driver.call.phase is Phase.TALKING


def test_info_frames_are_believed_when_they_have_been_seen() -> None:
    """What was asked for in the TwiML does not matter."""
    driver = answered(LONG)
    assert not driver.call.speaking.info
    driver.agent(True)
    assert driver.call.speaking.info
    assert Say(0, "x") not in driver.played("We open at nine.")
