"""What happened in a session, turn by turn: put together in memory as it happens, handed over at each turn's end.

For whoever has to find out where a slow turn spent its time. There are no words, digits, numbers or tool arguments in
it, and nothing is done for a token: words are counted by the utterance they are part of.

Entries are JSON objects with the version ``v``; ``at`` is ms since 1970, and every ``at_ms`` counts from the ``at`` of
its entry. What happened since the entry before is in the next one, so that ``at_ms`` may be below zero:

``session``   a session has begun, ``resumed`` where an earlier one of the call was cut off
``turn``      one input and its answer, from the prompt read on (where there is none, from the turn's beginning), with
              its model ``rounds``, ``tools``, ``speech`` and ``frames``. ``first_text_ms`` and ``segments_ms`` are what
              the metrics have (``timing.py``); of a turn without words they are null
``ended``     the session is over, with what was not in a turn

A round's ``further`` names why more requests were made for it (``models/steady.py``); ``hedged``: one of them for being
late. Its ``at_ms`` is below zero where it was asked ahead of its turn. ``found`` stands in it where its engine tells of
an intent. A tool that outlives its turn is ``running``
there, and stands once more, with its end, in the entry that follows that. Speech: ``position`` is its item's in the
history, ``ms`` an estimate of how long it was heard. Frames: words count once a talk cycle, with ``count`` frames, the
empty one that closes it aside; ``info`` frames and partial prompts in a row are one.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from relay.frames import (
    AgentSpeaking,
    ClientSpeaking,
    Dtmf,
    Incoming,
    Interrupt,
    PeerError,
    Prompt,
    TokensPlayed,
)
from relay.heard import CHARACTERS_PER_SECOND, Utterance
from relay.items import Item
from relay.models.base import ToolCall, Usage
from relay.spans import CallSpans, NoCallSpans, ToolSpan, TurnOver
from relay.toolbox import ToolOutcome

VERSION = 1
MOST_FRAMES = 300  # of one entry; those beyond are counted
MOST_ROUNDS = 50

Entry = dict[str, Any]
Way = Literal["in", "out"]

_TYPES: dict[type, str] = {
    Prompt: "prompt",
    Interrupt: "interrupt",
    Dtmf: "dtmf",
    PeerError: "error",
    AgentSpeaking: "info",
    ClientSpeaking: "info",
    TokensPlayed: "info",
}


class Trail(Protocol):
    """Where the trace of a conversation goes. ``add`` never waits and never raises."""

    def add(self, entry: Entry, /) -> None: ...


class NoTrail:
    """For a relay that nobody looks into."""

    def add(self, entry: Entry, /) -> None:
        pass


@dataclass(slots=True, eq=False)
class Round:
    """One request to the model, in seconds of the session's clock. ``further``: why others were made beside it.

    ``found``: what the engine told of how it came to its answer (an intent, its confidence). What the request was about
    goes into no entry: ``shown``, instructions and items; ``calls`` and, where it is kept, the ``text`` it brought.
    ``error``: the code of what failed it."""

    model: str
    at: float
    first: float | None = None
    over: float | None = None
    outcome: str = ""
    usage: Usage = field(default_factory=Usage)
    further: list[str] = field(default_factory=list)
    found: dict[str, str | float] = field(default_factory=dict)
    error: str = ""
    shown: tuple[str, Sequence[Item]] = field(default=("", ()), repr=False)
    calls: tuple[ToolCall, ...] = field(default=(), repr=False)
    text: list[str] = field(default_factory=list, repr=False)

    def end(self, now: float, outcome: str, usage: Usage | None = None) -> None:
        """Only the first end counts."""
        if self.over is None:
            self.over, self.outcome, self.usage = now, outcome, usage or self.usage


@dataclass(slots=True, eq=False)
class _Tool:
    name: str
    turn: int
    at: float
    span: ToolSpan
    over: float | None = None
    outcome: str = "running"


@dataclass(slots=True, eq=False)
class _Frame:
    way: Way
    type: str
    at: float
    count: int = 1
    joins: bool = False  # with the next of its kind


class SessionTrace:
    """``epoch``: ms since 1970 at which the session began, and ``begun`` the same moment by ``clock``, in seconds.
    ``given``: what was given to say since it was last asked. ``agent``: who has the call. ``place``: the position in
    the history of what the call counts, None if that is not known yet. ``spans``: is told the same in its own way."""

    def __init__(
        self,
        trail: Trail,
        *,
        epoch: int,
        begun: float,
        clock: Callable[[], float],
        given: Callable[[], Sequence[Utterance]] = lambda: (),
        agent: Callable[[], str] = lambda: "",
        place: Callable[[int], int | None] = lambda number: number,
        spans: CallSpans | None = None,
    ) -> None:
        self.slowest = 0.0  # seconds to first words, of all turns so far
        self._trail = trail
        self._epoch = epoch
        self._begun = begun
        self._clock = clock
        self._given = given
        self._agent = agent
        self._place = place
        self._spans = spans or NoCallSpans()
        self._spans.begun(begun)
        self._untold: list[Entry] | None = []  # what waits for the session's beginning to be told; None: it was
        self._turn = 0  # whose entry is in the making; 0: nobody's
        self._of = ""  # that turn's agent
        self._from = begun  # when it began
        self._read: float | None = None  # when the words were read that no turn has begun with
        self._first_text: float | None = None
        self._segments: dict[str, float] | None = None
        self._rounds: deque[Round] = deque(maxlen=MOST_ROUNDS)
        self._tools: dict[int, _Tool] = {}
        self._frames: list[_Frame] = []
        self._left_out = 0

    # -- what happens

    def session(self, name: str, *, resumed: bool, told: bool = False) -> None:
        """The session has begun. One that is not admitted never does, and nothing is told of it. ``told``: nor of this
        beginning, for it was told before: a text conversation goes on in one session for each turn."""
        waiting, self._untold = self._untold or [], None
        if not told:
            self._add("session", self._begun, session=name, resumed=resumed, agent=self._agent())
        for entry in waiting:
            self._trail.add(entry)

    def prompted(self, read: float) -> None:
        """Words were read that a turn will begin with."""
        self._read = read

    def begin(self, turn: int) -> None:
        """This turn is being worked on."""
        if turn != self._turn:
            self._turn, self._of = turn, self._agent()
            self._from = self._clock() if self._read is None else self._read
            self._read = None

    def asked(self, asked: Round) -> None:
        """The turn asks the model, or takes over what was asked ahead."""
        self._rounds.append(asked)

    def first_text(self, seconds: float, segments: dict[str, float]) -> None:
        self._first_text, self._segments = seconds, segments
        self.slowest = max(self.slowest, seconds)

    def wasted(self, asked: Round) -> None:
        """Nothing came of what was asked ahead."""
        self._spans.wasted(asked)

    def tool(self, key: int, call: ToolCall, turn: int) -> ToolSpan:
        """A tool begins. ``key`` names it to ``tool_over``."""
        self.begin(turn)
        now = self._clock()
        span = self._spans.tool(key, call, now, turn=turn, agent=self._of, turn_begun=self._from)
        self._tools[key] = _Tool(call.name, turn, now, span)
        return span

    def tool_over(self, key: int, outcome: str, result: ToolOutcome | None = None) -> None:
        tool = self._tools.get(key)
        if tool is not None and tool.over is None:
            tool.over, tool.outcome = self._clock(), outcome
            tool.span.end(tool.over, result)

    def read(self, frame: Incoming, at: float) -> None:
        """A frame came in."""
        if (kind := _TYPES.get(type(frame))) is not None:
            self._frame("in", kind, at, joins=kind == "info" or (isinstance(frame, Prompt) and not frame.last))

    def wrote(self, kind: str) -> None:
        """A frame without words went out."""
        self._frame("out", kind, self._clock())

    def _frame(self, way: Way, kind: str, at: float, *, joins: bool = False) -> None:
        last = self._frames[-1] if self._frames else None
        if joins and last is not None and last.joins and last.type == kind:
            last.count += 1
        elif len(self._frames) < MOST_FRAMES:
            self._frames.append(_Frame(way, kind, at, joins=joins))
        else:
            self._left_out += 1

    # -- what is handed over

    @property
    def captures(self) -> bool:
        """Whether what the model says is to be kept in its ``Round``."""
        return self._spans.captures

    def turn_ended(self, turn: int, outcome: str, *, closed: bool = False) -> None:
        """Hands the turn over. One that was not worked on before the caller went on leaves what there was to the next,
        which has its words too. ``closed``: the socket is."""
        if turn != self._turn and outcome == "superseded":
            return
        self.begin(turn)
        first = self._first_text
        fields = {
            "turn": turn,
            "agent": self._of,
            "outcome": outcome,
            "first_text_ms": None if first is None else _ms(first),
            "segments_ms": self._segments and {name: _ms(seconds) for name, seconds in self._segments.items()},
            "rounds": [self._round(each) for each in self._rounds],
        }
        spoken = self._spoken()
        self._add("turn", self._from, **fields, **self._rest(self._from, spoken))
        last = self._rounds[-1].at if self._rounds else 0.0
        said = sum(len(each.text) for each, at in spoken if each.turn == turn and not each.origin and at >= last)
        rounds = tuple(self._rounds)
        self._spans.turn(
            TurnOver(turn, self._of, self._from, self._clock(), outcome, closed, rounds, first, self._segments, said)
        )
        self._turn, self._first_text, self._segments = 0, None, None
        self._rounds.clear()

    def ended(self, reason: str, turns: int, *, unsaid: int = 0) -> None:
        """Hands over what is left; nothing is to be told of the session after that. ``unsaid``: lines of an operator's
        that it has not said."""
        now = self._clock()
        self._read = None
        fields = {"reason": reason, "seconds": round(now - self._begun, 3), "turns": turns, "unsaid": unsaid}
        self._add("ended", now, **fields, **self._rest(now, self._spoken()))
        self._spans.ended(reason, turns)

    def let_go(self) -> None:
        """Of the session, which is over (``parting.py``)."""
        self._given, self._agent, self._place = tuple, str, lambda number: number

    def _spoken(self) -> list[tuple[Utterance, float]]:
        """What was given to say since this was last asked, and when by the session's clock."""
        return [(each, each.started + self._begun) for each in self._given()]

    def _rest(self, base: float, spoken: Sequence[tuple[Utterance, float]]) -> dict[str, Any]:
        """Tools, speech and frames of the entry that begins at ``base``; what belongs to the next one stays."""
        tools = [each for each in self._tools.values() if each.turn == self._turn or each.over is not None]
        self._tools = {key: each for key, each in self._tools.items() if each.over is None}
        later = [each for each in self._frames if self._read is not None and each.at >= self._read]
        frames = [each for each in self._frames if each not in later]
        worded = [(each, at) for each, at in spoken if each.pieces and each.origin != "greeting"]
        frames += [_Frame("out", "text", at, each.pieces) for each, at in worded]
        frames.sort(key=lambda frame: frame.at)
        self._frames = later
        rest: dict[str, Any] = {
            "tools": [
                {
                    "name": each.name,
                    "at_ms": _ms(each.at - base),
                    "ms": None if each.over is None else _ms(each.over - each.at),
                    "outcome": each.outcome,
                }
                for each in tools
            ],
            "speech": [
                {
                    "at_ms": _ms(at - base),
                    "ms": _ms(len(each.heard() if each.cut else each.text) / CHARACTERS_PER_SECOND + each.seconds),
                    "origin": each.origin,
                    "chars": len(each.text),
                    "position": self._place(each.position),
                }
                for each, at in spoken
            ],
            "frames": [
                {"at_ms": _ms(each.at - base), "way": each.way, "type": each.type, "count": each.count}
                for each in frames
            ],
        }
        if self._left_out:
            rest["frames_left_out"], self._left_out = self._left_out, 0
        return rest

    def _round(self, each: Round) -> dict[str, Any]:
        fields: dict[str, Any] = {
            "at_ms": _ms(each.at - self._from),
            "ms": None if each.over is None else _ms(each.over - each.at),
            "first_ms": None if each.first is None else _ms(each.first - each.at),
            "model": each.model,
            "outcome": each.outcome,
            "input": each.usage.input,
            "cached": each.usage.cached,
            "output": each.usage.output,
            "hedged": "late" in each.further,
            "further": list(each.further),
        }
        return {**fields, "found": dict(each.found)} if each.found else fields

    def _add(self, kind: str, at: float, **fields: Any) -> None:
        since = round((at - self._begun) * 1000)
        entry: Entry = {"v": VERSION, "kind": kind, "at": self._epoch + since, **fields}
        if self._untold is None:
            self._trail.add(entry)
        else:
            self._untold.append(entry)


def _ms(seconds: float) -> float:
    return round(seconds * 1000, 1)


__all__ = ["Entry", "NoTrail", "Round", "SessionTrace", "Trail"]
