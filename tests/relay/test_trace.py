"""The trace of a session, put together by a clock of the test's own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from relay.frames import AgentSpeaking, ClientSpeaking, Dtmf, Incoming, Interrupt, Prompt, Setup, Unknown
from relay.heard import Utterance
from relay.models.base import ToolCall, Usage
from relay.trace import MOST_FRAMES, Entry, NoTrail, Round, SessionTrace

EPOCH = 1_800_000_000_000
BEGUN = 50.0  # by the clock


class Kept(list[Entry]):
    """A trail that keeps what it gets."""

    def add(self, entry: Entry, /) -> None:
        self.append(entry)


class Stage:
    """A session's trace, and what it asks."""

    def __init__(self) -> None:
        self.now = BEGUN
        self.agent = "desk"
        self.given: list[Utterance] = []
        self.kept = Kept()
        self.trace = SessionTrace(
            self.kept,
            epoch=EPOCH,
            begun=BEGUN,
            clock=lambda: self.now,
            given=self._take,
            agent=lambda: self.agent,
            place=lambda number: 100 + number,
        )

    def _take(self) -> list[Utterance]:
        given, self.given = self.given, []
        return given

    def at(self, seconds: float) -> SessionTrace:
        """So many seconds after the session's beginning."""
        self.now = BEGUN + seconds
        return self.trace

    def reads(self, seconds: float, frame: Incoming) -> None:
        self.at(seconds).read(frame, self.now)
        if isinstance(frame, Prompt) and frame.last:
            self.trace.prompted(self.now)

    def says(self, position: int, seconds: float, *pieces: str, origin: str = "") -> Utterance:
        utterance = Utterance(position, started=seconds, origin=origin)
        for piece in pieces:
            utterance.append(piece)
        self.given.append(utterance)
        return utterance

    def asks(self, seconds: float, model: str = "gpt") -> Round:
        asked = Round(model, BEGUN + seconds)
        self.at(seconds).asked(asked)
        return asked


@pytest.fixture
def stage() -> Stage:
    made = Stage()
    made.trace.session("VX1", resumed=False)
    return made


def frames(entry: Entry) -> list[tuple[float, str, str, int]]:
    return [(each["at_ms"], each["way"], each["type"], each["count"]) for each in entry["frames"]]


def test_a_turn(stage: Stage) -> None:
    """Everything counts from the prompt read; words are counted by the utterance, frames are in order."""
    stage.reads(1.0, Prompt("Hel", last=False))
    stage.reads(1.1, Prompt("Hello", last=False))
    stage.reads(1.2, Prompt("Hello?"))
    stage.at(1.25).begin(1)
    asked = stage.asks(1.25)
    asked.first = BEGUN + 1.5
    stage.at(1.55).first_text(0.35, {"queue": 0.05, "model": 0.3})
    stage.says(3, 1.55, "Good ", "morning, ", "you.")
    asked.end(BEGUN + 1.8, "stop", Usage(100, 60, 9))
    stage.at(1.7).wrote("language")
    stage.at(1.8).turn_ended(1, "done")
    assert stage.kept == [
        {
            "v": 1,
            "kind": "session",
            "at": EPOCH,
            "session": "VX1",
            "resumed": False,
            "agent": "desk",
        },
        {
            "v": 1,
            "kind": "turn",
            "at": EPOCH + 1200,
            "turn": 1,
            "agent": "desk",
            "outcome": "done",
            "first_text_ms": 350.0,
            "segments_ms": {"queue": 50.0, "model": 300.0},
            "rounds": [
                {
                    "at_ms": 50.0,
                    "ms": 550.0,
                    "first_ms": 250.0,
                    "model": "gpt",
                    "outcome": "stop",
                    "input": 100,
                    "cached": 60,
                    "output": 9,
                    "hedged": False,
                    "further": [],
                }
            ],
            "tools": [],
            "speech": [{"at_ms": 350.0, "ms": 1285.7, "origin": "", "chars": 18, "position": 103}],
            "frames": [
                {"at_ms": -200.0, "way": "in", "type": "prompt", "count": 2},
                {"at_ms": 0.0, "way": "in", "type": "prompt", "count": 1},
                {"at_ms": 350.0, "way": "out", "type": "text", "count": 3},
                {"at_ms": 500.0, "way": "out", "type": "language", "count": 1},
            ],
        },
    ]
    assert stage.trace.slowest == 0.35


def test_the_next_turn_begins_anew(stage: Stage) -> None:
    """Nothing of a turn is told again in the one after it, which is the agent's that has the call then."""
    stage.reads(1.0, Prompt("One"))
    stage.at(1.0).begin(1)
    stage.asks(1.0).end(BEGUN + 2, "stop")
    stage.at(1.5).first_text(0.5, None)
    stage.agent = "kitchen"
    stage.at(2.0).turn_ended(1, "done")
    stage.at(4.0).begin(2)
    stage.at(5.0).turn_ended(2, "failed")
    first, second = stage.kept[1:]
    assert (first["agent"], second["agent"]) == ("desk", "kitchen")
    assert (second["at"], second["first_text_ms"], second["rounds"], second["frames"]) == (EPOCH + 4000, None, [], [])


def test_what_lies_between_two_turns_is_in_the_next(stage: Stage) -> None:
    """With times before its beginning."""
    stage.says(0, 0.0, "Welcome.", origin="greeting")
    stage.reads(0.5, Interrupt("Wel", 200))
    stage.reads(1.0, Dtmf("1"))
    stage.says(1, 1.2, "Hold on.", origin="keypad")
    stage.at(2.0).begin(1)
    stage.at(3.0).turn_ended(1, "done")
    entry = stage.kept[-1]
    assert frames(entry) == [
        (-1500.0, "in", "interrupt", 1),
        (-1000.0, "in", "dtmf", 1),
        (-800.0, "out", "text", 1),
    ]
    assert [(each["origin"], each["at_ms"]) for each in entry["speech"]] == [("greeting", -2000.0), ("keypad", -800.0)]


def test_a_prompt_that_supersedes_belongs_to_the_turn_it_begins(stage: Stage) -> None:
    """It was read before the turn before it was over."""
    stage.reads(1.0, Prompt("One"))
    stage.at(1.0).begin(1)
    stage.asks(1.0)
    stage.reads(2.0, Prompt("Two"))
    stage.at(2.0).turn_ended(1, "superseded")
    stage.at(2.1).begin(2)
    stage.at(3.0).turn_ended(2, "done")
    first, second = stage.kept[1:]
    assert frames(first) == frames(second) == [(0.0, "in", "prompt", 1)]
    assert second["at"] == EPOCH + 2000


def test_words_joined_by_others_before_anything_came_of_them(stage: Stage) -> None:
    """They have no entry of their own: the turn that has both prompts has their frames."""
    stage.reads(1.0, Prompt("One"))
    stage.says(0, 0.0, "Welcome.", origin="greeting")
    stage.reads(1.5, Prompt("Two"))
    stage.at(1.5).turn_ended(1, "superseded")
    stage.at(1.6).begin(2)
    stage.at(2.0).turn_ended(2, "done")
    (entry,) = stage.kept[1:]
    assert (entry["turn"], entry["at"], len(entry["speech"])) == (2, EPOCH + 1500, 1)
    assert frames(entry) == [(-500.0, "in", "prompt", 1), (0.0, "in", "prompt", 1)]


def test_a_turn_that_fails_before_it_asks_is_told_of(stage: Stage) -> None:
    """It may have waited all of its time."""
    stage.reads(1.0, Prompt("One"))
    stage.at(16.0).turn_ended(1, "failed")
    assert (stage.kept[-1]["outcome"], stage.kept[-1]["at"]) == ("failed", EPOCH + 1000)


def test_an_interrupted_reply_is_as_long_as_it_was_heard(stage: Stage) -> None:
    """All of it was sent, which ``chars`` tells."""
    stage.at(1.0).begin(1)
    utterance = stage.says(0, 1.0, "One two three four five six seven.")
    utterance.cut, utterance.heard_words = True, 2
    stage.at(2.0).turn_ended(1, "interrupted")
    assert stage.kept[-1]["speech"] == [{"at_ms": 0.0, "ms": 500.0, "origin": "", "chars": 34, "position": 100}]


def test_requests_of_a_turn(stage: Stage) -> None:
    """One asked ahead began before it; one that was closed has no end of its own; why others were made beside one."""
    stage.reads(1.0, Prompt("One"))
    stage.at(1.0).begin(1)
    ahead = stage.asks(0.7)
    ahead.end(BEGUN + 0.9, "tools")
    ahead.end(BEGUN + 5.0, "cancelled")
    late = stage.asks(1.2)
    late.further += ["late", "stall"]
    stage.at(2.0).turn_ended(1, "interrupted")
    found = [(each["at_ms"], each["ms"], each["outcome"], each["hedged"]) for each in stage.kept[-1]["rounds"]]
    assert found == [(-300.0, 200.0, "tools", False), (200.0, None, "", True)]
    assert stage.kept[-1]["rounds"][1]["further"] == ["late", "stall"]


def test_a_tool_that_outlives_its_turn(stage: Stage) -> None:
    """It runs in its turn's entry, is not in those while it runs, and has its end in the next one after that."""
    stage.at(1.0).tool(7, ToolCall("c7", "book", "{}"), 1)
    stage.at(1.2).tool(8, ToolCall("c8", "look_up", "{}"), 1)
    stage.at(1.5).tool_over(8, "interrupted")
    stage.at(2.0).turn_ended(1, "superseded")
    stage.at(3.0).begin(2)
    stage.at(4.0).turn_ended(2, "done")
    stage.at(5.0).tool_over(7, "unknown")
    stage.at(5.1).tool_over(7, "done")
    stage.at(6.0).begin(3)
    stage.at(7.0).turn_ended(3, "done")
    tools = [
        [(each["name"], each["at_ms"], each["ms"], each["outcome"]) for each in entry["tools"]]
        for entry in stage.kept[1:]
    ]
    assert tools == [
        [("book", 0.0, None, "running"), ("look_up", 200.0, 300.0, "interrupted")],
        [],
        [("book", -5000.0, 4000.0, "unknown")],
    ]


def test_the_end_of_a_session(stage: Stage) -> None:
    """It has what was in no turn, and counts from its own moment."""
    stage.at(1.0).tool(7, ToolCall("c7", "book", "{}"), 1)
    stage.at(2.0).turn_ended(1, "done")
    stage.says(3, 2.5, "Bye.", origin="goodbye")
    stage.at(2.6).tool_over(7, "done")
    stage.reads(2.7, Prompt("Bye"))
    stage.at(3.0).wrote("end")
    stage.at(4.0).ended("completed", 1)
    entry = stage.kept[-1]
    assert (entry["kind"], entry["at"], entry["reason"]) == ("ended", EPOCH + 4000, "completed")
    assert (entry["seconds"], entry["turns"]) == (4.0, 1)
    assert entry["tools"] == [{"name": "book", "at_ms": -3000.0, "ms": 1600.0, "outcome": "done"}]
    assert frames(entry) == [(-1500.0, "out", "text", 1), (-1300.0, "in", "prompt", 1), (-1000.0, "out", "end", 1)]


def test_nothing_is_told_of_a_session_that_was_not_admitted() -> None:
    """What came before it was known to be one is told once it is, in order."""
    stage = Stage()
    stage.at(1.0).begin(1)
    stage.at(2.0).turn_ended(1, "done")
    assert stage.kept == []
    stage.trace.session("VX1", resumed=True)
    assert [(each["kind"], each["at"]) for each in stage.kept] == [("session", EPOCH), ("turn", EPOCH + 1000)]
    stranger = Stage()
    stranger.at(1.0).turn_ended(1, "failed")
    stranger.at(2.0).ended("ticket", 0)
    assert stranger.kept == []


def test_frames_that_come_in_rows_are_one(stage: Stage) -> None:
    """Reports of who speaks and partial prompts, and only those of a kind; frames nobody acts on are left out."""
    for at, frame in enumerate(
        [
            AgentSpeaking(True),
            ClientSpeaking(True),
            Unknown("info", "roundTripDelayMs"),
            Setup("VX1", "CA1"),
            Prompt("O", last=False),
            Prompt("On", last=False),
            AgentSpeaking(False),
            Dtmf("1"),
            Dtmf("1"),
        ]
    ):
        stage.reads(float(at), frame)
    stage.at(9.0).ended("dropped", 0)
    assert [(kind, count) for _, _, kind, count in frames(stage.kept[-1])] == [
        ("info", 2),
        ("prompt", 2),
        ("info", 1),
        ("dtmf", 1),
        ("dtmf", 1),
    ]


def test_an_entry_is_bounded(stage: Stage) -> None:
    """A flood of frames is counted, not kept; so are requests without end, of which the last are."""
    for _ in range(MOST_FRAMES + 25):
        stage.reads(1.0, Dtmf("1"))
    for number in range(80):
        stage.asks(1.0, str(number))
    stage.at(2.0).turn_ended(1, "failed")
    stage.at(3.0).turn_ended(2, "failed")
    entry, after = stage.kept[1:]
    assert (len(entry["frames"]), entry["frames_left_out"]) == (MOST_FRAMES, 25)
    assert (len(entry["rounds"]), entry["rounds"][-1]["model"]) == (50, "79")
    assert "frames_left_out" not in after


def words_in(value: Any) -> Iterator[str]:
    match value:
        case str():
            yield value
        case dict():
            for each in value.values():
                yield from words_in(each)
        case list():
            for each in value:
                yield from words_in(each)


@pytest.mark.parametrize(
    "frame", [Prompt("secret"), Prompt("secret", last=False), Dtmf("9"), Interrupt("secret", 10)], ids=str
)
def test_no_word_is_in_a_trace(stage: Stage, frame: Incoming) -> None:
    """Neither what is said nor what is pressed."""
    stage.reads(1.0, frame)
    stage.says(1, 1.5, "a secret")
    stage.at(2.0).turn_ended(1, "done")
    assert {"secret", "a secret", "9"}.isdisjoint(words_in([*stage.kept]))


def test_a_relay_nobody_looks_into(stage: Stage) -> None:
    """It has a trail that leads nowhere."""
    add: Callable[[Entry], None] = NoTrail().add
    trace = SessionTrace(NoTrail(), epoch=EPOCH, begun=BEGUN, clock=lambda: BEGUN)
    trace.session("VX1", resumed=False)
    trace.ended("completed", 0)
    add({})
