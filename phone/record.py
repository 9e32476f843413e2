"""What happened in a call, as the caller lived it: the ground truth of what was sent, played and heard.

Times are readings of the phone's clock (``Pace.clock``), in seconds. Words never appear in a ``repr``.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from phone.twiml import Mode
from relay.frames import Incoming, Outgoing

Kind = Literal["greeting", "speech", "media", "digits"]
Cut = Literal["", "interrupt", "preempt", "end", "lost"]


@dataclass(slots=True)
class Utterance:
    """One talk cycle, greeting, medium or run of digits: what was sent of it and how far it was played.

    cut: why it was not played to its end, "" while that may still happen. begun: when its first word was audible.
    """

    kind: Kind
    turn: int
    received: float
    sent: str = field(default="", repr=False)
    played: int = 0
    closed: bool = False
    finished: bool = False
    cut: Cut = ""
    begun: float | None = None
    marks: list[tuple[int, Mode, bool]] = field(default_factory=list, repr=False)
    """From this position on: what may interrupt, and whether later output may cut it."""

    @property
    def heard(self) -> str:
        return self.sent[: self.played].strip()

    @property
    def over(self) -> bool:
        """Nothing of it will be played any more."""
        return self.finished or bool(self.cut)

    def mark(self) -> tuple[Mode, bool]:
        """(what may interrupt it, preemptible) where it is being played now."""
        found = self.marks[0]
        for position, mode, preemptible in self.marks:
            if position <= self.played:
                found = (position, mode, preemptible)
        return found[1], found[2]


@dataclass(slots=True)
class Turn:
    """One thing the caller said or keyed, and what came of it. Turn 0 is the time before the caller said anything.

    asked: when the final prompt or key was written. first_words: when the first frame with text came of a talk cycle
    that was opened after that.
    """

    said: str = field(repr=False)
    asked: float
    first_words: float | None = None
    utterances: list[Utterance] = field(default_factory=list, repr=False)

    @property
    def first_words_s(self) -> float | None:
        return None if self.first_words is None else self.first_words - self.asked

    @property
    def heard(self) -> str:
        """The agent's words the caller heard, of talk cycles opened in this turn."""
        return " ".join(u.heard for u in self.utterances if u.kind in ("greeting", "speech") and u.heard)


@dataclass(frozen=True, slots=True)
class Received:
    """A frame of the app's. ghost: text of a talk cycle the app knew to be cut. late: it came after ``end``."""

    frame: Outgoing
    at: float
    ghost: bool = False
    late: bool = False


@dataclass(frozen=True, slots=True)
class Line:
    """A line of the transcript: what was heard, by whom. ``cut``: the agent had more to say."""

    who: Literal["agent", "caller", "keys", "twilio"]
    text: str = field(repr=False)
    cut: bool = False


@dataclass(frozen=True, slots=True)
class Ending:
    """Why a session ended, in the words of the action callback."""

    status: Literal["ended", "completed", "failed"]
    handoff_data: str | None = field(default=None, repr=False)
    error_code: str = ""
    error_message: str = ""


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a call ended.

    caller: hung up. agent: ended by the app. transfer: dialled on to ``number``. lost: the session failed and was not
    taken up again; ``error`` says why.
    """

    how: Literal["caller", "agent", "transfer", "lost"]
    number: str = field(default="", repr=False)
    handoff_data: str | None = field(default=None, repr=False)
    error: str = ""


@dataclass(slots=True)
class Record:
    """Everything of one call. ``session_ids``: one for each websocket; equal for those of one session.

    interrupts: the heard text of each utterance that was cut by the caller. faults: frames Twilio would refuse, by
    reason. stray_closings: closing frames without an open talk cycle. unplayed_at_end: sent, and not played when the
    app sent ``end``. actions: the fields of each action callback. close_codes: of each websocket, by whoever closed it
    first; 1006 for a lost connection. whispers: what a person was told before they were connected. tasks: attributes of
    the tasks the call was queued with. recorded: Twilio was told to record the call. pauses: seconds it was told to
    wait.
    """

    turns: list[Turn]
    call_sid: str
    session_ids: list[str] = field(default_factory=list)
    received: list[Received] = field(default_factory=list, repr=False)
    sent: list[tuple[float, Incoming]] = field(default_factory=list, repr=False)
    story: list[Utterance | Line] = field(default_factory=list, repr=False)
    interrupts: list[str] = field(default_factory=list, repr=False)
    faults: list[str] = field(default_factory=list)
    stray_closings: int = 0
    unplayed_at_end: str = field(default="", repr=False)
    actions: list[dict[str, str]] = field(default_factory=list, repr=False)
    close_codes: list[int] = field(default_factory=list)
    whispers: list[str] = field(default_factory=list, repr=False)
    tasks: list[str] = field(default_factory=list, repr=False)
    recorded: bool = False
    pauses: list[float] = field(default_factory=list)

    @property
    def turn(self) -> Turn:
        return self.turns[-1]

    @property
    def ghosts(self) -> list[Received]:
        return [received for received in self.received if received.ghost]

    @property
    def transcript(self) -> list[Line]:
        lines: list[Line] = []
        for entry in self.story:
            if isinstance(entry, Line):
                lines.append(entry)
            elif entry.heard:
                lines.append(Line("agent", entry.heard, bool(entry.cut) and entry.heard != entry.sent.strip()))
        return lines


# What a listener is told while the call goes on.


@dataclass(frozen=True, slots=True)
class Word:
    """The next piece of speech was heard, its leading white space included. ``turn`` is the one it answers."""

    text: str = field(repr=False)
    turn: Turn
    opens: bool
    """It is the first of its utterance."""


@dataclass(frozen=True, slots=True)
class Silence:
    """The agent stopped speaking; ``cut``: before its end."""

    turn: Turn
    cut: bool = False


@dataclass(frozen=True, slots=True)
class Notice:
    """Something that is not speech: keys dialled, a medium played, a session taken up again."""

    text: str


@dataclass(frozen=True, slots=True)
class Said:
    """The caller said something or pressed keys (written with a #)."""

    text: str = field(repr=False)


Event = Word | Silence | Notice | Said
