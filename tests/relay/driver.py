"""Plays the session to a ``Call``: a clock, timers that fire when it is moved, what was sent, what is outstanding.

Nothing here decides anything; what a session is bound to (a turn's words are sent only while it is current, nothing
after ``end``) is checked with every action.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

import orjson

from relay.call import Call
from relay.events import (
    Action,
    CancelTimer,
    CancelTool,
    CancelTurn,
    Carry,
    Close,
    CloseSocket,
    CollectDigits,
    Delta,
    DigitsCollected,
    DropSpeculation,
    End,
    Event,
    Mark,
    Operator,
    Order,
    OutOfBudget,
    Play,
    Prepared,
    Put,
    Reconnected,
    RoundEnded,
    Say,
    SayLine,
    SetLanguage,
    SocketClosed,
    Speculate,
    StartTimer,
    StartTool,
    StartTurn,
    TimerFired,
    ToolFinished,
    ToolProgress,
    TurnEnded,
    TurnFailed,
)
from relay.frames import AgentSpeaking, ClientSpeaking, Dtmf, Interrupt, Prompt, Setup, TokensPlayed
from relay.items import AssistantItem, Item, NoteItem, ToolItem, UserItem
from relay.manner import Manner
from relay.models.base import FinishReason, ToolCall
from relay.rules import CallRules
from relay.toolbox import Change, DigitsWanted, Effect, Keyed, ToolOutcome, ToolPolicy

EPOCH = 1_700_000_000_000
CLOSE = "</cycle>"  # what the session sends for a ``Close`` that finds a talk cycle open

LONG_DEADLINE = 20.0
POLICIES = {
    "look_up": ToolPolicy(),
    "book": ToolPolicy(side_effect=True),
    "pay": ToolPolicy(side_effect=True),
    "end_call": ToolPolicy(terminal=True),
    "transfer": ToolPolicy(terminal=True),
    "key_in": ToolPolicy(deadline=LONG_DEADLINE),
    "search": ToolPolicy(expected=8.0, deadline=LONG_DEADLINE),
    "wire": ToolPolicy(side_effect=True, confirm=True),
    "close_account": ToolPolicy(terminal=True, confirm=True),
}
LINES = {
    "apology": "Sorry, something went wrong.",
    "goodbye": "Goodbye then.",
    "bridge": "I am connecting you.",
    "cut_off": "We were cut off. Please go on.",
    "moving": "There will be a pause.",
    "trouble": "We are in trouble.",
    "trouble_bridge": "We are in trouble. I am connecting you.",
    "still_there": "Are you there?",
    "silence_goodbye": "Nobody is there.",
    "time_warning": "Little time is left.",
    "time_up": "Our time is up.",
    "budget": "That is all for today.",
}
FOR_EVER = {"silence_after": 1e6, "max_call_seconds": 1e7}  # a test that lets time pass hears of neither unless it asks
BACKGROUND = ("silence", "time_warning", "time_up")  # timers of these two


def foreground(actions: Sequence[Action]) -> list[Action]:
    """All but the timers that run beside everything else."""
    return [a for a in actions if not (isinstance(a, StartTimer | CancelTimer) and a.name in BACKGROUND)]


def canonical(name: str, arguments: str) -> str:
    return name + orjson.dumps(orjson.loads(arguments), option=orjson.OPT_SORT_KEYS).decode()


def done(output: str = "{}", *effects: Effect, ok: bool = True) -> ToolOutcome:
    return ToolOutcome(output, ok, effects)


def call(name: str, arguments: str = "{}", call_id: str = "") -> ToolCall:
    return ToolCall(call_id or f"call_{name}", name, arguments)


@dataclass
class Driver:
    """``lines``: the agent's fixed words. ``options``: of ``CallRules`` and of its agent's ``Manner``. A new one has
    been set up and prepared."""

    options: dict[str, Any] = field(default_factory=dict)
    lines: Mapping[str, str] = field(default_factory=lambda: LINES)
    now: float = 0.0
    frames: list[str] = field(default_factory=list)  # texts sent, and CLOSE
    said: dict[int, str] = field(default_factory=dict)  # text sent, by turn
    asides: list[str] = field(default_factory=list)  # of these, what is a talk cycle of its own
    ordered: list[str] = field(default_factory=list)  # lines of an operator that are to be said
    sounds: list[Play] = field(default_factory=list)
    timers: dict[str, float] = field(default_factory=dict)  # name -> due
    rounds: list[StartTurn] = field(default_factory=list)  # asked of the model, neither ended nor cancelled
    tools: dict[int, StartTool] = field(default_factory=dict)  # begun, neither over nor cancelled
    started: list[str] = field(default_factory=list)  # names of tools begun, in order
    keyed: list[Keyed | None] = field(default_factory=list)  # what tools that wait for keys were given
    turns: list[TurnEnded] = field(default_factory=list)
    guesses: list[str] = field(default_factory=list)  # asked ahead since the last final prompt
    ahead: UserItem | None = None  # asked ahead, neither dropped nor followed by a turn
    stored: dict[int, Item] = field(default_factory=dict)  # what Put has left
    ended: End | None = None
    closed: bool = False
    cycle_open: bool = False
    changes: list[Change] = field(default_factory=list)  # carried out
    languages: list[SetLanguage] = field(default_factory=list)
    spoken: str = ""  # unless words are marked
    mark: str = ""
    marks: list[tuple[str, str]] = field(default_factory=list)  # (language words were marked with, words)

    def __post_init__(self) -> None:
        rules: dict[str, Any] = {
            "policy": lambda name: POLICIES.get(name, ToolPolicy()),
            "canonical": canonical,
            "epoch": EPOCH,
            **FOR_EVER,
        }
        manner = {each.name for each in fields(Manner)} & self.options.keys()
        own: dict[str, Any] = {"line": lambda name, language: self.lines.get(name, "")}
        rules["manner"] = Manner(**(own | {name: self.options[name] for name in manner}))
        rules |= {name: value for name, value in self.options.items() if name not in manner}
        self.call = Call(CallRules(**rules))
        self.spoken = self.call.spoken

    # -- events

    def send(self, event: Event) -> list[Action]:
        actions = self.call.receive(event, self.now)
        for action in actions:
            self.perform(action)
        return actions

    def setup(self) -> list[Action]:
        return self.send(Setup("VX1", "CA1"))

    def prepared(self, *items: Item, resumed: bool = False) -> list[Action]:
        return self.send(Prepared(items, resumed))

    def reconnected(self, *items: Item, playing: int = 0, unfinished: bool = False) -> list[Action]:
        """Another socket of the session: of the items the last ``playing`` may still be played."""
        split = len(items) - playing
        tail = tuple((number - playing, item) for number, item in enumerate(items[split:]))
        return self.send(Reconnected(tail, unfinished)) + self.send(Prepared(items[:split], resumed=True))

    def prompt(self, text: str, lang: str = "", last: bool = True) -> list[Action]:
        if last and text.strip():
            self.guesses.clear()
        return self.send(Prompt(text, lang, last))

    def interrupt(self, heard: str = "", ms: int = 0) -> list[Action]:
        return self.send(Interrupt(heard, ms))

    def press(self, digits: str) -> list[Action]:
        actions: list[Action] = []
        for digit in digits:
            actions += self.send(Dtmf(digit))
        return actions

    def played(self, text: str) -> list[Action]:
        return self.send(TokensPlayed(text))

    def agent(self, on: bool) -> list[Action]:
        return self.send(AgentSpeaking(on))

    def client(self, on: bool) -> list[Action]:
        return self.send(ClientSpeaking(on))

    @property
    def turn(self) -> int:
        """Number of the turn in progress."""
        assert self.call.turn is not None
        return self.call.turn.number

    def delta(self, text: str, turn: int | None = None) -> list[Action]:
        return self.send(Delta(self.turn if turn is None else turn, text))

    def end_round(self, *calls: ToolCall, reason: FinishReason = "stop", turn: int | None = None) -> list[Action]:
        number = self.turn if turn is None else turn
        self.rounds = [r for r in self.rounds if r.turn != number]
        return self.send(RoundEnded(number, "tools" if calls else reason, calls))

    def say(self, text: str, *calls: ToolCall) -> list[Action]:
        """The model answers with these words, and these calls, in one round."""
        actions = self.delta(text) if text else []
        return actions + self.end_round(*calls)

    def fail(self, turn: int | None = None) -> list[Action]:
        number = self.turn if turn is None else turn
        self.rounds = [r for r in self.rounds if r.turn != number]
        return self.send(TurnFailed(number, "model_unavailable"))

    def refuse(self, turn: int | None = None) -> list[Action]:
        """The budget is used up: the model is not asked."""
        number = self.turn if turn is None else turn
        self.rounds = [r for r in self.rounds if r.turn != number]
        return self.send(OutOfBudget(number))

    def tool(self, name: str) -> int:
        """Key of a running tool."""
        return next(key for key, tool in self.tools.items() if tool.call.name == name)

    def finish(self, name: str | int, outcome: ToolOutcome | None = None) -> list[Action]:
        key = self.tool(name) if isinstance(name, str) else name
        self.tools.pop(key, None)
        return self.send(ToolFinished(key, outcome or done()))

    def progress(self, name: str, text: str) -> list[Action]:
        """A running tool reports to the caller."""
        return self.send(ToolProgress(self.tool(name), text))

    def collect(self, name: str, count: int, terminator: str = "#", timeout: float = 10.0) -> list[Action]:
        """A running tool waits for keys."""
        return self.send(CollectDigits(self.tool(name), DigitsWanted(count, terminator, timeout)))

    def order(self, order: Order) -> list[Action]:
        """Somebody who watches the call has it do this."""
        if isinstance(order, SayLine) and not self.call.refusal(order):
            self.ordered.append(order.text)
        return self.send(Operator(order))

    def fire(self, name: str) -> list[Action]:
        """An armed timer fires, at its time or at once if that is past."""
        self.now = max(self.now, self.timers.pop(name))
        return self.send(TimerFired(name))

    def reader(self) -> list[Action]:
        """The reader has run: nothing had come in."""
        return self.fire("reader")

    def wait(self, seconds: float) -> list[Action]:
        """Moves the clock; timers fire at their time, in order."""
        until = self.now + seconds
        actions: list[Action] = []
        while self.timers:
            name = min(self.timers, key=lambda name: self.timers[name])
            if self.timers[name] > until:
                break
            actions += self.fire(name)
        self.now = until
        return actions

    def nothing_for(self, seconds: float) -> None:
        """Left alone, the call says nothing, asks nothing, begins nothing."""
        for action in self.wait(seconds):
            assert not isinstance(action, Say | Play | StartTurn | StartTool | End), action
        assert self.rounds == []

    def hang_up(self) -> list[Action]:
        self.closed = True
        return self.send(SocketClosed())

    # -- actions

    def perform(self, action: Action) -> None:
        if self.ended is not None or self.closed:
            assert not isinstance(action, Say | Play | StartTurn | Speculate | StartTool | End), (
                f"{action} after the end"
            )
        match action:
            case Say(turn, text, aside):
                assert text
                if aside:
                    assert not self.cycle_open, "a talk cycle inside another"
                if aside and text in self.ordered:
                    self.ordered.remove(text)
                elif aside:
                    assert self.call.turn is not None and self.call.turn.part == "tools", "a filler of no wait"
                assert self.call.current(turn), f"words of turn {turn}, which is over"
                self.frames.append(text)
                self.said[turn] = self.said.get(turn, "") + text
                assert self.mark != self.spoken, "marked with what is spoken anyway"
                self.marks.append((self.mark, text))
                self.cycle_open = True
                if aside:
                    self.asides.append(text)
                    self.perform(Close())
            case Play(source):
                assert not self.cycle_open, "a sound inside a talk cycle"
                self.frames.append(source)
                self.sounds.append(action)
            case Close():
                if self.cycle_open:
                    self.frames.append(CLOSE)
                self.cycle_open = False
            case StartTurn():
                assert not self.rounds, "one model request at a time"
                self.rounds.append(action)
                self.ahead = None
            case CancelTurn(turn):
                self.rounds = [r for r in self.rounds if r.turn != turn]
            case Speculate(words):
                assert self.call.turn is None, "asked ahead in a turn"
                assert not self.tools, "asked ahead while a tool runs"
                self.guesses.append(words.text)
                assert len(self.guesses) <= self.call.rules.speculation_limit
                self.ahead = words
            case DropSpeculation():
                self.ahead = None  # which a turn that began by itself may have done
            case TurnEnded():
                self.turns.append(action)
            case StartTool():
                assert action.key not in self.tools
                self.tools[action.key] = action
                self.started.append(action.call.name)
            case CancelTool(key):
                assert not self.tools[key].owned, "a side effect is never cancelled"
                del self.tools[key]
            case DigitsCollected(_, keyed):
                self.keyed.append(keyed)
            case Carry(change):
                self.changes.append(change)
            case SetLanguage():
                assert action.spoken or action.understood
                self.languages.append(action)
                self.spoken = action.spoken or self.spoken
            case Mark(language):
                assert language != self.mark, "marked so already"
                self.mark = language
            case StartTimer(name, delay):
                assert delay >= 0.0
                self.timers[name] = self.now + delay
            case CancelTimer(name):
                self.timers.pop(name, None)
            case Put(position, item):
                if item is None:
                    del self.stored[position]
                else:
                    self.stored[position] = item
            case End():
                self.ended = action
            case CloseSocket():
                self.closed = True

    # -- what is on record

    @property
    def items(self) -> list[Item]:
        return self.call.conversation()

    @property
    def story(self) -> list[str]:
        """The conversation in short: ``user: ..``, ``agent (status): ..``, ``tool (status): ..``, ``note: ..``."""
        return [_short(item) for item in self.items]


def _short(item: Item) -> str:
    match item:
        case UserItem(text):
            return f"user: {text}"
        case AssistantItem(text, status):
            return f"agent ({status}): {text}"
        case ToolItem():
            return f"tool ({item.status}): {item.name}"
        case NoteItem(text):
            return f"note: {text}"


def started(**options: Any) -> Driver:
    """A call that is talking, with nothing said."""
    driver = Driver(options)
    driver.setup()
    driver.prepared()
    return driver


def answered(text: str = "Hello there.", words: str = "Hi", **options: Any) -> Driver:
    """A call in which the caller has said ``words`` and the model's whole answer was sent."""
    driver = started(**options)
    driver.prompt(words)
    driver.say(text)
    return driver


def texts(items: Sequence[Item]) -> list[str]:
    return [item.text for item in items if isinstance(item, UserItem | AssistantItem | NoteItem)]
