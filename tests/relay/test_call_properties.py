"""What always holds, whatever comes in whatever order: random calls against the invariants of architecture.md.

A random session is honest: it reports what it was asked for (rounds, tools, timers at their time) and nothing else,
while the caller and Twilio may send any frame at any moment.
"""

from __future__ import annotations

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from relay.confirm import ASK_FIRST
from relay.events import (
    Carry,
    Close,
    Delta,
    Put,
    RoundEnded,
    Say,
    SayLine,
    StartTimer,
    StartTool,
    StartTurn,
    ToolFinished,
    ToolProgress,
    TurnFailed,
)
from relay.frames import PeerError
from relay.heard import words
from relay.items import AssistantItem, ToolItem, UserItem
from relay.keypad import Key
from relay.manner import Manner
from relay.models.base import ToolCall
from relay.rules import Phase
from relay.toolbox import (
    Change,
    ChangeKeys,
    ChangeTools,
    EndCall,
    PersonChanged,
    SwitchAgent,
    SwitchLanguage,
    ToolOutcome,
    Transfer,
)
from tests.relay.driver import CLOSE, LONG_DEADLINE, Driver, canonical, done
from tests.scale import scaled

KEYS = {
    "1": Key(say="We open at nine."),
    "2": Key(tool="look_up"),
    "3": Key(say="I will book it.", tool="book"),
    "6": Key(tool="wire"),
}
FILLERS = ("One moment.", "Let me see.")
GREETING = "Welcome to the hotel by the sea."
TURN_DEADLINE = 6.0
OTHERS = {
    "bar": Manner(
        agent="bar", line=lambda name, language: f"{name} {language}", keys={"1": Key(say="Cheers.")}, tools=()
    ),
    "taberna": Manner(agent="taberna", line=lambda name, language: name, language="es-US", transcription="es-US"),
    "anyone": Manner(
        agent="anyone",
        line=lambda name, language: name,
        fillers=lambda language: FILLERS,
        language="multi",
        transcription="multi",
        follow_language=True,
    ),
}
CHANGES: list[Change] = [
    *map(SwitchAgent, [*OTHERS, "nobody"]),
    *map(SwitchLanguage, ["es", "en-US", "fr", "multi"]),
    ChangeTools(add=("look_up", "pay"), remove=("book",)),
    ChangeKeys(add={"5": Key(say="Five.")}, remove=("1",)),
    PersonChanged(),
]
BESIDE = {"silence", "time_warning", "time_up", "settle"}  # timers that lead to nothing by themselves but the first

_pieces = st.lists(st.sampled_from(["We", " open", " at nine.", " We", " close", " 你好", " - ", "  "]), min_size=1)
_calls = st.lists(
    st.builds(
        lambda name, number: ToolCall("", name, f'{{"n":{number}}}'),
        st.sampled_from(["look_up", "search", "book", "pay", "wire", "end_call", "transfer", "unknown"]),
        st.integers(0, 1),
    ),
    max_size=3,
)


class RandomCall(RuleBasedStateMachine):
    driver: Driver

    def __init__(self) -> None:
        super().__init__()
        self.cut: set[int] = set()  # turns whose words an interrupt has cut while they were generated
        self.sent: dict[int, str] = {}  # by position of the history: what was sent for it
        self.spoken: list[str] = []  # what Twilio still has to play, in order
        self.wishes: set[str] = set()  # side effects running, by what they do
        self.calls = 0
        self.inputs = 0  # times the caller said or keyed something
        self.asked: dict[str, int] = {}  # what the model was told to ask about, and the inputs by then
        self.carried: list[Change] = []

    # -- the beginning

    @initialize(
        interruptible=st.booleans(),
        preemptible=st.booleans(),
        greeting=st.sampled_from(["", GREETING]),
        prepared=st.booleans(),
        info=st.booleans(),
        speculation=st.booleans(),
        fillers=st.booleans(),
        silence=st.sampled_from([2.0, 8.0, 1e6]),
        time=st.sampled_from([20.0, 1e7]),
        follow=st.booleans(),
        transfer=st.booleans(),
    )
    def begin(
        self,
        interruptible: bool,
        preemptible: bool,
        greeting: str,
        prepared: bool,
        info: bool,
        speculation: bool,
        fillers: bool,
        silence: float,
        time: float,
        follow: bool,
        transfer: bool,
    ) -> None:
        self.info = info
        self.driver = Driver(
            {
                "interruptible": interruptible,
                "preemptible": preemptible,
                "greeting": greeting,
                "keys": KEYS,
                "turn_deadline": TURN_DEADLINE,
                "tool_rounds": 2,
                "speculation": speculation,
                "speculation_limit": 2,
                "fillers": lambda language: FILLERS if fillers else (),
                "hold_sound": "https://example.com/hold.mp3",
                "silence_after": silence,
                "max_call_seconds": time,
                "reply_max_chars": 60,
                "can_switch": info,
                "agent": "house",
                "languages": ("en-US", "es-US"),
                "follow_language": follow,
                "manners": OTHERS.get,
                "can_transfer": transfer,
            }
        )
        self.act(self.driver.setup())
        if greeting:
            self.sent[0] = greeting
        if prepared:
            self.act(self.driver.prepared())

    def act(self, actions: list[object]) -> None:
        """Follows what was done: which words belong to which position."""
        position, asked = -1, False
        for action in actions:
            match action:
                case StartTurn():
                    asked = True
                case Carry(change):
                    assert not asked, "the request was made before what it is to go by"
                    self.carried.append(change)
                case Put(number, AssistantItem()):
                    position = number
                case Say(turn, text):
                    assert turn not in self.cut, "words of a turn that was cut"
                    if turn == 0:
                        self.sent[position] = text
                    else:
                        utterance = self.driver.call.turn.utterance  # type: ignore[union-attr]
                        assert utterance is not None
                        self.sent[utterance.position] = self.sent.get(utterance.position, "") + text
                    self.spoken.append(text)
                case Put(_, ToolItem() as item) if item.output == ASK_FIRST.output:
                    self.asked[item.arguments] = self.inputs
                case StartTool(_, call) if call.name == "wire" and not call.call_id.startswith("key_"):
                    assert self.asked[call.arguments] < self.inputs, "nobody has agreed"
                case Close():
                    pass

    @property
    def over(self) -> bool:
        return self.driver.ended is not None or self.driver.closed

    # -- the caller, and Twilio

    @rule(
        text=st.sampled_from(["Hi", "When are you open?", " ", ""]),
        last=st.booleans(),
        lang=st.sampled_from(["", "", "en-US", "es", "fr"]),
    )
    def prompt(self, text: str, last: bool, lang: str = "") -> None:
        self.inputs += bool(text.strip())
        self.act(self.driver.prompt(text, lang, last=last or bool(text.strip())))

    @rule(text=st.sampled_from(["Wh", "When are you", "When are you open?", "When are you open? And", ""]))
    def partial(self, text: str) -> None:
        self.act(self.driver.prompt(text, last=False))

    @rule(digit=st.sampled_from("12356#*"))
    def press(self, digit: str) -> None:
        self.inputs += 1
        self.act(self.driver.press(digit))

    @rule(words_=st.integers(0, 6), invented=st.booleans())
    def interrupt(self, words_: int, invented: bool) -> None:
        turn = self.driver.call.turn
        text = "zebra" if invented else " ".join("".join(self.spoken).split()[-words_:] if words_ else [])
        actions = self.driver.interrupt(text)
        self.act(actions)
        if turn is not None and not self.driver.call.current(turn.number):
            self.cut.add(turn.number)
        if actions:
            self.spoken.clear()

    @rule()
    def played(self) -> None:
        if self.info and self.spoken:
            self.act(self.driver.played(self.spoken.pop(0)))

    @rule(on=st.booleans(), agent=st.booleans())
    def speaking(self, on: bool, agent: bool) -> None:
        if self.info:
            self.act(self.driver.agent(on) if agent else self.driver.client(on))

    @rule()
    def prepared(self) -> None:
        if "prepare" in self.driver.timers:
            self.act(self.driver.prepared(UserItem("Before"), AssistantItem("Then")))

    @rule(code=st.sampled_from([64111, 64114, 64107]))
    def error(self, code: int) -> None:
        self.act(self.driver.send(PeerError("", code)))

    # -- an operator

    @rule(text=st.sampled_from(["The pool is closed today.", "One more thing."]))
    def operator_says(self, text: str) -> None:
        self.act(self.driver.order(SayLine(text)))

    @rule(agent=st.sampled_from([*OTHERS, "nobody"]))
    def operator_switches(self, agent: str) -> None:
        self.act(self.driver.order(SwitchAgent(agent)))

    @precondition(lambda self: len(self.driver.turns) > 2)
    @rule(order=st.sampled_from([EndCall(), Transfer("asked", "")]))
    def operator_ends(self, order: EndCall | Transfer) -> None:
        refusal = self.driver.call.refusal(order)
        self.act(self.driver.order(order))
        if not refusal:
            assert self.driver.call.phase in (Phase.ENDING, Phase.ENDED)

    # -- the model

    @precondition(lambda self: self.driver.rounds)
    @rule(pieces=_pieces)
    def delta(self, pieces: list[str]) -> None:
        for piece in pieces:
            if self.driver.rounds:
                self.act(self.driver.send(Delta(self.driver.rounds[0].turn, piece)))

    @precondition(lambda self: self.driver.rounds)
    @rule(calls=_calls)
    def round_ended(self, calls: list[ToolCall]) -> None:
        self.calls_made(calls)

    @precondition(lambda self: self.driver.rounds and self.asked)
    @rule(data=st.data())
    def the_model_asks_or_acts(self, data: st.DataObject) -> None:
        """What makes a call that is to be confirmed happen at all."""
        arguments = data.draw(st.sampled_from(sorted(self.asked)))
        if data.draw(st.booleans()):
            self.act(self.driver.send(Delta(self.driver.rounds[0].turn, "Shall I?")))
            self.calls_made([])
            self.prompt("Yes", last=True)
        if self.driver.rounds:
            self.calls_made([ToolCall("", "wire", arguments)])

    def calls_made(self, calls: list[ToolCall]) -> None:
        turn = self.driver.rounds.pop().turn
        named = []
        for call in calls:
            self.calls += 1
            named.append(ToolCall(f"call_{self.calls}", call.name, call.arguments))
        self.act(self.driver.send(RoundEnded(turn, "tools" if named else "stop", tuple(named))))

    @precondition(lambda self: self.driver.rounds)
    @rule()
    def failed(self) -> None:
        self.act(self.driver.send(TurnFailed(self.driver.rounds.pop().turn, "bug")))

    @rule(turn=st.integers(0, 9))
    def stale(self, turn: int) -> None:
        """What a task reports that was cancelled a moment too late."""
        if self.driver.rounds and self.driver.rounds[0].turn == turn:
            return
        for event in (Delta(turn, "Ghost"), RoundEnded(turn), TurnFailed(turn, "bug")):
            current = self.driver.call.turn
            if current is None or current.number != turn:
                actions = self.driver.send(event)
                assert all(isinstance(a, Put | StartTimer) for a in actions), "more than what time settles"

    # -- tools and time

    @precondition(lambda self: self.driver.tools)
    @rule(ok=st.booleans(), data=st.data())
    def tool_finished(self, ok: bool, data: st.DataObject) -> None:
        key = data.draw(st.sampled_from(sorted(self.driver.tools)))
        name = self.driver.tools[key].call.name
        ends = {"end_call": (EndCall(),), "transfer": (Transfer("asked", ""),)}.get(name, ())
        effects = (*ends, *data.draw(st.lists(st.sampled_from(CHANGES), max_size=2)))
        sound = data.draw(st.sampled_from(["", "https://example.com/note.mp3"]))
        self.act(self.driver.finish(key, ToolOutcome('"done"', ok, effects if ok else (), play=sound)))

    @precondition(lambda self: self.driver.tools)
    @rule(text=st.sampled_from(["We close soon.", "Two so far.", ""]), data=st.data())
    def tool_reports(self, text: str, data: st.DataObject) -> None:
        key = data.draw(st.sampled_from(sorted(self.driver.tools)))
        self.act(self.driver.send(ToolProgress(key, text)))

    @rule(seconds=st.sampled_from([0.0, 0.1, 0.5, 1.0, 2.5, 7.0]))
    def wait(self, seconds: float) -> None:
        self.act(self.driver.wait(seconds))

    @rule(key=st.integers(-1, 40))
    def unknown_result(self, key: int) -> None:
        if key not in self.driver.tools:
            self.act(self.driver.send(ToolFinished(key, done('"ghost"'))))

    # -- the end

    @precondition(lambda self: len(self.driver.turns) > 3)
    @rule()
    def hang_up(self) -> None:
        self.driver.hang_up()

    # -- what always holds

    @invariant()
    def the_history_written_is_the_history(self) -> None:
        """Putting every item at its position gives the conversation, in order."""
        if not hasattr(self, "driver"):
            return
        driver = self.driver
        assert driver.call.record.in_order() == [driver.stored[n] for n in sorted(driver.stored)]

    @invariant()
    def the_agents_words_are_a_whole_word_prefix_of_what_was_sent(self) -> None:
        if not hasattr(self, "driver"):
            return
        for position, item in self.driver.stored.items():
            if isinstance(item, AssistantItem):
                sent = self.sent[position]
                ends = {len(sent)} | {end for _, end in words(sent)}
                assert sent.startswith(item.text), "never sent"
                # A reply still being sent may be on record as it stood a moment ago.
                assert item.status == "open" or len(item.text) in ends, "half a word"

    @invariant()
    def every_tool_call_has_exactly_one_result(self) -> None:
        if not hasattr(self, "driver"):
            return
        ids = [item.call_id for item in self.driver.stored.values() if isinstance(item, ToolItem)]
        assert len(ids) == len(set(ids))
        running = {
            item.call_id
            for item in self.driver.stored.values()
            if isinstance(item, ToolItem) and item.status == "running"
        }
        assert {tool.call.call_id for tool in self.driver.tools.values()} <= running

    @invariant()
    def the_same_side_effect_never_runs_twice_at_once(self) -> None:
        """In turns of their own: a call made again is answered by the first."""
        if not hasattr(self, "driver"):
            return
        owned = [tool for tool in self.driver.tools.values() if tool.owned]
        turns: dict[str, int] = {}
        for tool in owned:
            wish = tool.call.name + canonical(tool.call.name, tool.call.arguments)
            assert turns.setdefault(wish, tool.turn) == tool.turn

    @invariant()
    def something_always_follows(self) -> None:
        """A turn in progress has a request, a tool or a timer to wait for: never silence for good."""
        if not hasattr(self, "driver") or self.over:
            return
        driver = self.driver
        turn = driver.call.turn
        if turn is None:
            return
        assert driver.rounds or driver.tools or driver.timers
        if not turn.said:
            assert "turn" in driver.timers, "no deadline until the first words"
            assert driver.timers["turn"] <= driver.now + TURN_DEADLINE + (LONG_DEADLINE if turn.filled else 0.0)

    @invariant()
    def what_is_carried_out_is_what_the_call_goes_by(self) -> None:
        """Whoever follows the changes from outside, as the session does, has the agent, tools, keys and language."""
        if not hasattr(self, "driver"):
            return
        call = self.driver.call
        manner = call.rules.manner
        for change in self.carried:
            match change:
                case SwitchAgent(agent):
                    manner = OTHERS[agent]
                case ChangeTools():
                    manner = manner.with_tools(change)
                case ChangeKeys():
                    manner = manner.with_keys(change)
        assert manner == call.manner
        assert self.driver.spoken == call.spoken == call.manner.declared(call.spoken)

    @invariant()
    def words_are_marked_with_a_declared_language_or_not_at_all(self) -> None:
        if not hasattr(self, "driver"):
            return
        assert {mark for mark, _ in self.driver.marks} <= {"", "en-US", "es-US"}

    @invariant()
    def what_is_asked_ahead_does_not_stay(self) -> None:
        """It has a deadline until the final prompt comes, and then its turn has one."""
        if not hasattr(self, "driver") or self.over:
            return
        if self.driver.ahead is not None:
            assert "speculation" in self.driver.timers or self.driver.call.turn is not None

    @invariant()
    def silence_is_broken(self) -> None:
        """Where nobody does anything something is said, or the call ends, before long."""
        if not hasattr(self, "driver") or self.over:
            return
        driver = self.driver
        assert driver.call.phase is Phase.ENDING or "time_up" in driver.timers
        if driver.call.phase is Phase.TALKING and driver.call.turn is None and set(driver.timers) <= BESIDE:
            assert "silence" in driver.timers, "nothing will ever happen again"

    @invariant()
    def a_reply_is_no_longer_than_allowed(self) -> None:
        if not hasattr(self, "driver"):
            return
        assert all(len(text) <= 60 for turn, text in self.driver.said.items() if turn)

    @invariant()
    def an_ending_call_ends(self) -> None:
        if not hasattr(self, "driver") or self.over:
            return
        if self.driver.call.phase is Phase.ENDING:
            assert self.driver.timers["goodbye"] <= self.driver.now + 15.0
            assert self.driver.call.turn is None

    def teardown(self) -> None:
        """Left alone with a model and tools that answer, the call comes to rest; a last prompt is answered."""
        if not hasattr(self, "driver"):
            return
        driver = self.driver
        if not self.over:
            self.rest()
        if self.over:
            driver.wait(60.0)
        else:
            frames = len(driver.frames)
            driver.prompt("Hello?")
            assert driver.call.turn is not None
            driver.wait(TURN_DEADLINE + 0.1)
            assert len(driver.frames) > frames, "silence"
        driver.hang_up()
        for key in list(driver.tools):
            driver.finish(key)
        self.the_history_written_is_the_history()
        self.the_agents_words_are_a_whole_word_prefix_of_what_was_sent_now()
        assert all(not isinstance(i, ToolItem) or i.status != "running" for i in driver.stored.values())
        assert all(not isinstance(i, AssistantItem) or i.status != "open" for i in driver.stored.values())

    def rest(self) -> None:
        driver = self.driver
        for _ in range(60):
            if driver.rounds:
                turn = driver.rounds.pop().turn
                self.act(driver.send(Delta(turn, "Fine.")))
                self.act(driver.send(RoundEnded(turn)))
            elif driver.tools:
                self.act(driver.finish(next(iter(driver.tools))))
            elif driver.call.turn is not None or driver.call.phase is Phase.ENDING or driver.timers:
                if self.over:
                    return
                self.act(driver.wait(1.0))
            else:
                break
        assert self.over or (driver.call.turn is None and not driver.rounds and not driver.tools)
        assert self.over or not driver.ordered, "an operator's line is never said"

    def the_agents_words_are_a_whole_word_prefix_of_what_was_sent_now(self) -> None:
        for position, item in self.driver.stored.items():
            if isinstance(item, AssistantItem) and position in self.sent:
                assert self.sent[position].startswith(item.text)


RandomCall.TestCase.settings = settings(
    max_examples=scaled(300, 100),
    stateful_step_count=40,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)
TestRandomCall = RandomCall.TestCase


def test_frames_of_a_closed_cycle() -> None:
    """The driver's account of talk cycles: opened by words, closed once."""
    driver = Driver()
    driver.setup()
    driver.prepared()
    driver.prompt("Hi")
    driver.delta("Hello.")
    driver.perform(Close())
    driver.perform(Close())
    assert driver.frames == ["Hello.", CLOSE]
