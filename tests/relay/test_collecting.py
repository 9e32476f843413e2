"""Keys that a tool waits for: all orders of keys, interrupts and speech; and what may never follow from them."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule

from relay.collecting import LONGEST
from relay.events import Carry, CollectDigits, DigitsCollected, RoundEnded, StartTurn
from relay.frames import AgentSpeaking, ClientSpeaking, Prompt
from relay.items import OPERATOR, AssistantItem, ToolItem
from relay.keypad import LATE_POUND, Key
from relay.models.base import ToolCall
from relay.toolbox import DigitsWanted, Keyed, SendDigits
from relay.turns import CUT_NOTE
from tests.relay.driver import CLOSE, Driver, call, done, started
from tests.relay.test_call_properties import RandomCall
from tests.scale import scaled

ASK = "Please key in your number."
THANKS = "Thank you, one moment please."
KEYS = {"1": Key(say="We open at nine."), "2": Key(tool="look_up")}
both_orders = pytest.mark.parametrize("key_first", [True, False], ids=["key, interrupt", "interrupt, key"])


def asked(count: int = 4, terminator: str = "#", timeout: float = 10.0, **options: object) -> Driver:
    """A call whose agent has asked for keys, and been heard; a tool waits for them."""
    driver = started(**options)
    driver.prompt("My balance")
    driver.say(ASK, call("key_in"))
    driver.reader()
    driver.collect("key_in", count, terminator, timeout)
    driver.wait(3.0)
    return driver


def thanked(driver: Driver) -> Driver:
    """The tool has its keys, and the agent speaks of them."""
    driver.finish("key_in")
    driver.say(THANKS)
    return driver


def cut_by(driver: Driver, digit: str, heard: str, *, key_first: bool) -> None:
    if key_first:
        driver.press(digit)
        driver.interrupt(heard)
    else:
        driver.interrupt(heard)
        driver.press(digit)


# -- what the tool gets


def test_so_many_keys_are_all_of_them() -> None:
    """At once, without a wait; no key is an input of its own, whatever it means otherwise."""
    driver = asked(4, keys=KEYS)
    driver.press("1234")
    assert driver.keyed == [Keyed("1234", True)]
    assert driver.turn == 1
    assert driver.story == ["user: My balance", f"agent (open): {ASK}", "tool (running): key_in"]
    assert "digits" not in driver.timers
    assert "interdigit" not in driver.timers


def test_the_terminator_ends_them_early() -> None:
    """It is no key of them, and the caller has said that this is all."""
    driver = asked(12)
    driver.press("1234#")
    assert driver.keyed == [Keyed("1234", True)]


def test_the_terminator_alone() -> None:
    """Nothing was keyed in: the tool is told so."""
    driver = asked()
    driver.press("#")
    assert driver.keyed == [Keyed("", False)]


def test_without_a_terminator_every_key_counts() -> None:
    """Also # and *."""
    driver = asked(4, "")
    driver.press("1#*2")
    assert driver.keyed == [Keyed("1#*2", True)]


def test_too_few_keys_in_time() -> None:
    """The time begins with the last key."""
    driver = asked(4, timeout=10.0)
    driver.wait(9.0)
    driver.press("12")
    driver.wait(9.9)
    assert driver.keyed == []
    driver.wait(0.2)
    assert driver.keyed == [Keyed("12", False)]


@pytest.mark.parametrize("info", [True, False])
def test_the_time_begins_when_the_words_were_heard(info: bool) -> None:
    """Not when they were sent: a long question leaves as much time as a short one."""
    driver = started()
    driver.prompt("My balance")
    driver.say("Please " + "very " * 28 + "much.", call("key_in"))
    driver.reader()
    driver.collect("key_in", 4, timeout=5.0)
    if info:
        driver.now = 1.0
        driver.agent(True)
    driver.wait(11.0)
    if info:
        driver.agent(False)
    driver.wait(4.0)
    assert driver.keyed == []
    driver.wait(2.0)
    assert driver.keyed == [Keyed("", False)]


def test_a_caller_who_is_speaking_is_waited_for() -> None:
    """Words are on their way, which will end it; no question comes between."""
    driver = asked(timeout=2.0)
    driver.now += 1.9
    driver.prompt("I can not", last=False)
    driver.wait(4.0)
    assert driver.keyed == []
    driver.wait(2.0)
    assert driver.keyed == [Keyed("", False)]


def test_it_does_not_last_for_ever() -> None:
    """However slowly keys come."""
    driver = asked(32, timeout=60.0)
    for _ in range(8):
        driver.wait(40.0)
        driver.press("1")
    assert len(driver.keyed) == 1
    assert driver.now < LONGEST + 50.0


def test_keys_pressed_before_the_tool_began_are_its_first() -> None:
    """The caller was quicker than the model's last words."""
    driver = started()
    driver.prompt("My balance")
    driver.delta(ASK)
    driver.press("12")
    driver.end_round(call("key_in"))
    driver.reader()
    driver.collect("key_in", 4)
    driver.press("34")
    driver.nothing_for(2.0)
    assert driver.keyed == [Keyed("1234", True)]
    assert driver.turn == 1


def test_more_keys_before_the_tool_began_than_it_wants() -> None:
    """The rest is an input, as ever."""
    driver = started()
    driver.prompt("My balance")
    driver.delta(ASK)
    driver.press("123")
    driver.end_round(call("key_in"))
    driver.reader()
    driver.collect("key_in", 2)
    assert driver.keyed == [Keyed("12", True)]
    driver.wait(1.3)
    assert driver.story[-1] == "note: The caller pressed 3 on the keypad."


def test_a_second_tool_does_not_share_the_keys() -> None:
    """It is refused; the first gets all."""
    driver = started()
    driver.prompt("My balance")
    driver.say(ASK, call("key_in"), call("look_up"))
    driver.reader()
    driver.collect("key_in", 2)
    driver.collect("look_up", 2)
    driver.press("12")
    assert driver.keyed == [None, Keyed("12", True)]


def test_a_tool_that_nobody_waits_for_gets_nothing() -> None:
    """Its turn is over: keys are the caller's input again."""
    driver = started()
    driver.prompt("Book it")
    driver.say("", call("book"))
    driver.reader()
    key = driver.tool("book")
    driver.prompt("No, wait")
    assert driver.tools[key].owned
    driver.collect("book", 2)
    assert driver.keyed == [Keyed("", False)]
    driver.press("7#")
    assert driver.story[-1] == "note: The caller pressed 7 on the keypad."


def test_the_keys_are_in_no_item() -> None:
    """Nothing but the tool's own result can tell of them."""
    driver = asked()
    driver.press("12")
    driver.hang_up()
    assert not any("1" in line for line in driver.story)
    assert driver.keyed == [Keyed("", False)]


# -- the caller is left in peace


def test_no_filler_and_no_reminder_while_keys_are_awaited() -> None:
    """Nor an apology: the turn has said nothing, and has all the time the tool has."""
    driver = started(fillers=lambda language: ("One moment.",), silence_after=3.0, turn_deadline=5.0)
    driver.prompt("My balance")
    driver.say("", call("key_in"))
    driver.reader()
    driver.collect("key_in", 4, timeout=20.0)
    driver.wait(8.0)
    driver.press("1")
    driver.wait(8.0)
    driver.press("234")
    assert driver.frames == []
    assert driver.keyed == [Keyed("1234", True)]


def test_fillers_are_back_for_what_follows() -> None:
    """Another tool of the round still runs when all keys are there."""
    driver = started(fillers=lambda language: ("One moment.",))
    driver.prompt("My balance")
    driver.say(ASK, call("key_in"), call("look_up"))
    driver.reader()
    driver.collect("key_in", 2)
    driver.wait(5.0)
    driver.press("12")
    driver.finish("key_in")
    assert driver.frames == [ASK, CLOSE]
    driver.wait(2.0)
    assert driver.frames == [ASK, CLOSE, "One moment.", CLOSE]


# -- keys and interrupts


@both_orders
@pytest.mark.parametrize("interruptible", [True, False])
def test_the_first_key_may_cut_the_question(key_first: bool, interruptible: bool) -> None:
    """The turn goes on, undisturbed, and so do the keys."""
    driver = asked(2, interruptible=interruptible)
    driver.agent(True)
    cut_by(driver, "1", "Please key", key_first=key_first)
    driver.wait(3.0)
    driver.press("2")
    assert driver.keyed == [Keyed("12", True)]
    thanked(driver)
    assert driver.turns[-1].outcome == "done"
    assert driver.story == [
        "user: My balance",
        "agent (interrupted): Please key",
        "tool (done): key_in",
        f"agent (open): {THANKS}",
    ]


@both_orders
def test_the_only_key_may_cut_the_question(key_first: bool) -> None:
    """It completes the keys; the interrupt that comes with it does not reach what follows."""
    driver = asked(1)
    driver.agent(True)
    if key_first:
        driver.press("1")
        driver.finish("key_in")
        driver.delta("Thank you,")
        driver.interrupt("Please key")
        driver.delta(" one moment.")
        driver.end_round()
    else:
        cut_by(driver, "1", "Please key", key_first=False)
        driver.finish("key_in")
        driver.say("Thank you, one moment.")
    assert driver.turns[-1].outcome == "done"
    assert driver.story[-1] == "agent (open): Thank you, one moment."
    assert len(driver.turns) == 1
    driver.nothing_for(1.0)


def test_an_interrupt_by_the_voice_waits_for_words() -> None:
    """What is to follow the keys does not follow while the caller has the floor; words supersede the turn."""
    driver = asked(1)
    driver.agent(True)
    driver.interrupt("Please")
    driver.finish("key_in", done(ok=False))
    assert driver.rounds == []
    driver.prompt("I do not have it")
    assert driver.keyed == [Keyed("", False)]
    assert driver.turn == 2


@both_orders
@pytest.mark.parametrize("terminator", ["#", "*", ""])
def test_a_late_end_cuts_nothing(key_first: bool, terminator: str) -> None:
    """Twilio has stopped the reply: it is taken up again at once, and there is no input."""
    driver = asked(4, terminator)
    driver.press("1234")
    thanked(driver)
    driver.now += 1.5
    cut_by(driver, terminator or "#", "Thank you,", key_first=key_first)
    assert driver.rounds == [StartTurn(2)]
    assert driver.story[-2:] == ["agent (interrupted): Thank you,", f"note: {CUT_NOTE}"]
    driver.say("One moment please.")
    assert [turn.outcome for turn in driver.turns] == ["done", "done"]
    driver.nothing_for(5.0)


@both_orders
def test_a_late_end_in_the_middle_of_the_reply(key_first: bool) -> None:
    """What was still being generated is asked for again, at once."""
    driver = asked(4)
    driver.press("1234")
    driver.finish("key_in")
    driver.delta("Thank you, one moment")
    driver.now += 1.0
    cut_by(driver, "#", "Thank you,", key_first=key_first)
    assert driver.rounds == [StartTurn(2)]


@both_orders
def test_an_end_right_behind_the_last_key(key_first: bool) -> None:
    """The reply was quick: what stops it is not that key, which was pressed in silence."""
    driver = asked(4)
    driver.press("1234")
    driver.now += 0.1
    thanked(driver)
    driver.now += 0.3
    cut_by(driver, "#", "Thank", key_first=key_first)
    assert driver.story[-2:] == ["agent (interrupted): Thank", f"note: {CUT_NOTE}"]
    assert driver.rounds == [StartTurn(2)]


@both_orders
def test_a_late_end_over_the_next_question(key_first: bool) -> None:
    """The tool that waits for the next keys is not given it, and the caller hears the question again."""
    driver = asked(4)
    driver.press("1234")
    driver.finish("key_in")
    driver.say("Thank you. Now please key in your PIN.", call("key_in", call_id="call_2"))
    driver.reader()
    driver.collect("key_in", 2)
    driver.now += 1.5
    cut_by(driver, "#", "Thank you. Now", key_first=key_first)
    assert driver.frames[-2:] == ["Now please key in your PIN.", CLOSE]
    assert isinstance(item := driver.items[-1], AssistantItem)
    assert item.aside
    assert driver.keyed == [Keyed("1234", True)]
    driver.press("56")
    assert driver.keyed[-1] == Keyed("56", True)


def test_a_late_end_before_anything_was_said() -> None:
    """It changes nothing at all."""
    driver = asked(4)
    driver.press("1234")
    assert driver.press("#") == []
    thanked(driver)
    assert [turn.outcome for turn in driver.turns] == ["done"]


def test_a_late_end_that_comes_too_late_is_an_input() -> None:
    """So is one more of them."""
    driver = thanked_after(LATE_POUND + 0.1)
    driver.press("#")
    assert driver.story[-1] == "note: The caller pressed # on the keypad."


def thanked_after(seconds: float) -> Driver:
    driver = asked(4)
    driver.press("1234")
    thanked(driver)
    driver.wait(seconds)
    return driver


def test_a_second_terminator_is_an_input() -> None:
    """The keys were ended by the first."""
    driver = asked(4)
    driver.press("123#")
    thanked(driver)
    driver.press("#")
    assert driver.story[-1] == "note: The caller pressed # on the keypad."


def test_a_late_end_while_the_caller_speaks() -> None:
    """What it cut waits for the words."""
    driver = asked(4)
    driver.press("1234")
    thanked(driver)
    driver.now += 1.5
    driver.client(True)
    driver.press("#")
    driver.interrupt("Thank you,")
    assert driver.rounds == []
    driver.client(False)
    driver.wait(3.0)
    assert driver.rounds == [StartTurn(2)]


def test_a_key_too_many_is_an_input() -> None:
    """Only the end belongs to keys that are complete."""
    driver = asked(2)
    driver.press("123")
    driver.wait(1.3)
    assert driver.story[-1] == "note: The caller pressed 3 on the keypad."
    assert driver.turn == 2


# -- words instead of keys


def test_words_supersede_the_turn() -> None:
    """The tool is cancelled, what was keyed is forgotten, and keys are the caller's input again."""
    driver = asked(4)
    driver.press("12")
    driver.prompt("I have lost it")
    assert driver.tools == {}
    assert driver.keyed == [Keyed("", False)]
    assert driver.story[-2:] == ["tool (interrupted): key_in", "user: I have lost it"]
    driver.press("34#")
    assert driver.story[-1] == "note: The caller pressed 3 4 on the keypad."


def test_words_where_the_agent_may_not_be_interrupted() -> None:
    """They wait for the turn's end; the tool waits no longer."""
    driver = asked(4, interruptible=False)
    driver.press("12")
    driver.send(Prompt("I have lost it"))
    assert driver.keyed == [Keyed("12", False)]
    driver.finish("key_in")
    assert driver.story[-1] == "tool (done): key_in"
    driver.say("Never mind.")
    assert driver.story[-1] == "user: I have lost it"


def test_a_tool_that_gives_up_waiting() -> None:
    """The keys are the caller's input again."""
    driver = asked(4)
    driver.finish("key_in", done(ok=False))
    assert driver.keyed == [Keyed("", False)]
    driver.press("5#")
    assert driver.story[-1] == "note: The caller pressed 5 on the keypad."


# -- tones


def test_tones_are_no_words() -> None:
    """Their report is proof of nothing, though the words behind them are the same; those are proven by their own."""
    driver = started()
    driver.prompt("Call them")
    driver.say("I press it.", call("look_up"))
    driver.played("I press it.")
    actions = driver.finish("look_up", done("{}", SendDigits("1234#")))
    assert Carry(SendDigits("1234#")) in actions
    driver.say("1234, and then we wait.")
    driver.played("1234#")
    assert driver.story[-1] == "agent (open): 1234, and then we wait."
    driver.interrupt("")
    assert driver.story[-1] != "agent (interrupted): 1234,"
    assert all("1234" not in line for line in driver.story)


def test_tones_end_the_words_before() -> None:
    """Their talk cycle is closed, and nothing of them is in the history."""
    driver = started()
    driver.prompt("Call them")
    driver.say("I press it.", call("look_up"))
    driver.finish("look_up", done("{}", SendDigits("ww1")))
    assert driver.frames == ["I press it.", CLOSE]
    assert driver.story == ["user: Call them", "agent (open): I press it.", "tool (done): look_up"]
    assert driver.rounds == [StartTurn(1, 1)]


def test_speech_over_tones_is_no_interruption() -> None:
    """A machine at the other end goes on talking: the turn does not wait for its words."""
    driver = started()
    driver.prompt("Call them")
    driver.say("", call("look_up"), call("search"))
    driver.finish("look_up", done("{}", SendDigits("12")))
    driver.interrupt("")
    driver.finish("search")
    assert driver.rounds == [StartTurn(1, 1)]
    driver.say("They have answered.")
    assert driver.turns[-1].outcome == "done"


def test_tones_cut_words_that_give_way() -> None:
    """Where the agent's speech yields to its next output: what was not heard by then will not be."""
    driver = started(preemptible=True)
    driver.prompt("Call them")
    driver.say("I press it for you now.", call("look_up"))
    driver.played("I press it")
    driver.finish("look_up", done("{}", SendDigits("1")))
    assert driver.story[1] == "agent (interrupted): I press it"


# -- whatever comes in whatever order


class KeysForATool(RandomCall):
    """The random calls of ``test_call_properties``, with a tool that waits for keys: its invariants, and one more: the
    tool gets the keys pressed since it asked, in order, and none of them is anything else."""

    def __init__(self) -> None:
        super().__init__()
        self.ever = ""  # keys of the whole call
        self.pressed = ""  # since the tool has asked
        self.count = 0
        self.waiting: int | None = None

    def act(self, actions: list[object]) -> None:
        super().act(actions)
        for action in actions:
            if isinstance(action, DigitsCollected) and action.key == self.waiting:
                keyed, self.waiting = action.keyed, None
                assert keyed is not None
                # The # that ends the keys before, or nothing, may come first.
                given = self.pressed[self.pressed.startswith("#") :].partition("#")[0][: self.count]
                assert keyed.digits in (given, "")
                if keyed.complete:
                    assert keyed.digits == given != ""
                    assert len(given) == self.count or self.pressed.endswith("#")

    @precondition(lambda self: self.waiting is None and not self.over)
    @rule(count=st.integers(1, 4), timeout=st.sampled_from([1.0, 5.0]), say=st.sampled_from(["", "Key it in. Please."]))
    def the_model_wants_keys(self, count: int, timeout: float, say: str) -> None:
        if not self.driver.rounds:
            self.prompt("My balance", last=True)
        if not self.driver.rounds:
            return
        self.calls += 1
        turn = self.driver.rounds.pop().turn
        if say:
            self.act(self.driver.delta(say, turn))
        call_ = ToolCall(f"call_{self.calls}", "key_in", "{}")
        self.act(self.driver.send(RoundEnded(turn, "tools", (call_,))))
        if any(tool.call is call_ for tool in self.driver.tools.values()):
            key = next(key for key, tool in self.driver.tools.items() if tool.call is call_)
            self.waiting, self.count = key, count
            early = self.driver.call.keys_waiting  # the last ones, which are no input yet
            self.pressed = self.ever[len(self.ever) - early :]
            self.act(self.driver.send(CollectDigits(key, DigitsWanted(count, "#", timeout))))

    @precondition(lambda self: self.waiting is not None)
    @rule(
        digits=st.text("01234", min_size=1, max_size=4), end=st.booleans(), cut=st.sampled_from(["", "before", "after"])
    )
    def key_in(self, digits: str, end: bool, cut: str) -> None:
        """Several keys in a row, of which the first may stop the agent."""
        if cut == "before":
            self.interrupt(1, False)
        for at, digit in enumerate(digits + "#" * end):
            self.press(digit)
            if cut == "after" and not at:
                self.interrupt(1, False)

    def press(self, digit: str) -> None:
        waiting, turn = self.waiting, self.driver.call.turn
        if waiting is not None:
            self.pressed += digit
        self.ever += digit
        notes = self.noted()
        super().press(digit)
        if waiting is not None:
            assert self.driver.call.turn is turn, "a key for a tool has ended its turn"
            assert self.noted() == notes, "a key for a tool is on record"

    def noted(self) -> int:
        """Items on record; an operator's line may have waited for any moment."""
        return sum(getattr(item, "origin", "") != OPERATOR for item in self.driver.stored.values())


KeysForATool.TestCase.settings = settings(
    max_examples=scaled(200, 70),
    stateful_step_count=40,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)
TestKeysForATool = KeysForATool.TestCase


def test_the_random_calls_do_collect() -> None:
    """The tool of the random calls is one that runs at once and ends with its turn."""
    driver = asked(1)
    assert isinstance(driver.items[-1], ToolItem)
    assert driver.call.collecting


STEPS = st.lists(
    st.one_of(
        st.sampled_from("0123456789#"),
        st.sampled_from(
            ["interrupt", "partial", "agent on", "agent off", "client on", "client off", "played", "pause"]
        ),
    ),
    max_size=25,
)


@settings(max_examples=scaled(500, 200))
@given(steps=STEPS, count=st.integers(1, 6), interruptible=st.booleans(), proof=st.booleans())
def test_the_tool_gets_the_first_keys(steps: list[str], count: int, interruptible: bool, proof: bool) -> None:
    """Exactly those, whatever else Twilio tells in between, and its turn is the same until then and undisturbed."""
    driver = asked(count, timeout=60.0, interruptible=interruptible, turn_deadline=100.0)
    expected, complete = "", False
    for step in steps:
        if len(step) == 1:
            driver.press(step)
            expected += step if step != "#" else ""
            complete = step == "#" or len(expected) == count
        elif step == "interrupt":
            driver.interrupt("Please key")
        elif step == "partial":
            driver.prompt("I", last=False)
        elif step == "played":
            driver.played("Please" if proof else ASK)
        elif step == "pause":
            driver.now += 0.2
        else:
            driver.send((AgentSpeaking if "agent" in step else ClientSpeaking)(step.endswith("on")))
        assert (driver.turn, list(driver.tools)) == (1, [driver.tool("key_in")])
        assert not any("pressed" in line for line in driver.story)
        if complete:
            break
    assert driver.keyed == ([Keyed(expected, bool(expected))] if complete else [])
    if complete:
        driver.finish("key_in")
        driver.wait(40.0)  # for words that an interrupt or a noise may have announced
        assert driver.rounds == [StartTurn(1, 1)]
        driver.say(THANKS)
        assert driver.turns[-1].outcome == "done"


@given(
    heard=st.integers(0, 5),
    order=st.permutations(["#", "interrupt"]),
    between=st.lists(st.sampled_from(["agent off", "client off", "played", "pause"]), max_size=3),
    whole=st.booleans(),
)
def test_a_late_end_never_leaves_silence(heard: int, order: list[str], between: list[str], whole: bool) -> None:
    """Whatever of the reply was heard: what was not is asked for at once, and # is no input."""
    driver = asked(2)
    driver.press("12")
    driver.finish("key_in")
    driver.delta(THANKS)
    if whole:
        driver.end_round()
    driver.now += 1.0
    driver.agent(True)
    text = " ".join(THANKS.split()[:heard])
    if text:
        driver.played(text)
    for step in [order[0], *between, order[1]]:
        if step == "#":
            driver.press("#")
        elif step == "interrupt":
            driver.interrupt(text)
        elif step == "played" and text:
            driver.played(text)
        elif step == "pause":
            driver.now += 0.1
        elif step != "played":
            driver.send((AgentSpeaking if "agent" in step else ClientSpeaking)(False))
    all_heard = heard == len(THANKS.split())
    assert driver.rounds == ([] if whole and all_heard else [StartTurn(2)])
    assert not any("pressed" in line for line in driver.story)
