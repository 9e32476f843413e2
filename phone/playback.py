"""The speaking end of ConversationRelay: a queue of talk cycles, played word by word at the rate of speech.

Source: Twilio's websocket message reference and live recordings (first sound 0.32 s after the first token, one
``tokensPlayed`` a clause, a preempted message silent without an ``interrupt``, the next heard 2 s later).
"""

from __future__ import annotations

import asyncio
import re
import time
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal

from phone.record import Cut, Event, Kind, Notice, Record, Silence, Utterance, Word
from phone.twiml import Mode
from relay.frames import AgentSpeaking, ClientSpeaking, Incoming, Interrupt, Play, SendDigits, Text, TokensPlayed

# A word ends where white space follows; in scripts without spaces every character is a word.
_UNSPACED = "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3005-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uff00-\uffef"
_WORD = re.compile(rf"\s*(?:[{_UNSPACED}]|[^\s{_UNSPACED}]+)")
_CLAUSE_END = re.compile(r"[.,;:!?…。、，！？：；][\"'”’)\]]*$")
# "Hi, this is Jace," is reported whole: a shorter run than this is not a clause of its own.
_SHORTEST_CLAUSE = 8


@dataclass(frozen=True, slots=True)
class Pace:
    """How time passes at the phone's end. ``speed`` divides every wait; with ``math.inf`` nothing waits at all, and
    what is heard still depends only on words, never on the wall clock."""

    characters_per_second: float = 14.0
    speed: float = 1.0
    first_sound_s: float = 0.32
    after_preempt_s: float = 2.0
    greeting_s: float = 0.7
    media_s: float = 3.0
    clock: Callable[[], float] = time.monotonic
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep

    def spoken_s(self, text: str) -> float:
        """How long saying it takes in the call, before ``speed``."""
        return len(text) / self.characters_per_second

    def later(self, seconds: float, start: float | None = None) -> float:
        """The clock's reading when so many seconds of the call have passed."""
        return (self.clock() if start is None else start) + seconds / self.speed

    async def until(self, due: float) -> None:
        await self.sleep(max(0.0, due - self.clock()))

    async def wait(self, seconds: float) -> None:
        """Lets so many seconds of the call pass."""
        await self.sleep(seconds / self.speed)


Sprung = Literal["stopped", "talked over", "silent"]


@dataclass(slots=True)
class Trap:
    """Has the caller talk after so many more words of the agent's; ``letters`` of the next one are in what Twilio
    reports. ``sprung``: speech stopped; it may not be interrupted and goes on; the agent fell silent before."""

    words: int
    letters: int
    sprung: asyncio.Future[Sprung] = field(repr=False)


class Player:
    """One session's loudspeaker. ``run`` plays until cancelled, which leaves the queue as it is; everything else may be
    called while it runs. ``send`` writes frames to the app in the order given."""

    def __init__(
        self,
        record: Record,
        pace: Pace,
        send: Callable[[Sequence[Incoming]], Awaitable[None]],
        *,
        interruptible: Mode = "any",
        preemptible: bool = False,
        cumulative: bool = False,
        listen: Callable[[Event], None] = lambda event: None,
        changed: Callable[[], None] = lambda: None,
    ) -> None:
        self._record = record
        self._pace = pace
        self._send = send
        self._defaults = (interruptible, preemptible)
        self._cumulative = cumulative
        self._listen = listen
        self._changed = changed
        self._wake = asyncio.Event()
        self._queue: deque[Utterance] = deque()
        self._open: Utterance | None = None
        self._trap: Trap | None = None
        self._clause_start = 0
        self._not_before = 0.0
        self.speaking = False
        self.stale = False
        """The talk cycle that was open at an interrupt has not been closed by the app yet."""

    @property
    def silent(self) -> bool:
        """Nothing is being played, nothing waits, and no talk cycle is open."""
        return not self.speaking and self._open is None and all(u.over for u in self._queue)

    def greet(self, text: str, interruptible: Mode) -> None:
        """Plays the welcome greeting. Once, before anything else."""
        self._not_before = self._pace.later(self._pace.greeting_s)
        self._add("greeting", text, (interruptible, False), closed=True)

    async def take(self, frame: Text | Play | SendDigits) -> Utterance | None:
        """Queues what the app sent and returns the utterance it belongs to, None for an empty frame outside a talk
        cycle. Output that opens something new cuts a preemptible head of the queue."""
        if isinstance(frame, Text):
            return await self._take_text(frame)
        await self._preempt()
        if isinstance(frame, SendDigits):
            return self._add("digits", frame.digits, self._defaults, closed=True)
        mode: Mode = "any" if frame.interruptible else "none"
        seconds = self._pace.media_s * (frame.loop or 1000)
        blank = " " * round(seconds * self._pace.characters_per_second)
        return self._add("media", blank, (mode, frame.preemptible), closed=True)

    async def _take_text(self, frame: Text) -> Utterance | None:
        utterance = self._open
        if utterance is None:
            if frame.token:
                await self._preempt()
                utterance = self._open = self._add("speech", "", self._defaults)
            elif frame.last and not self.stale:
                self._record.stray_closings += 1
        if frame.last:
            self.stale = False
        if utterance is None:
            return None
        mode, preemptible = self._defaults
        if frame.interruptible is not None:
            mode = "any" if frame.interruptible else "none"
        if frame.preemptible is not None:
            preemptible = frame.preemptible
        if frame.token:
            utterance.marks.append((len(utterance.sent), mode, preemptible))
            utterance.sent += frame.token
        if frame.last:
            utterance.closed = True
            self._open = None
        self._wake.set()
        return utterance

    def _add(self, kind: Kind, text: str, mark: tuple[Mode, bool], *, closed: bool = False) -> Utterance:
        number = len(self._record.turns) - 1
        utterance = Utterance(kind, number, self._pace.clock(), text, closed=closed)
        utterance.marks.append((0, *mark))
        self._record.turns[number].utterances.append(utterance)
        self._queue.append(utterance)
        self._wake.set()
        return utterance

    def _head(self) -> Utterance | None:
        while self._queue and self._queue[0].over:
            self._queue.popleft()
            self._clause_start = 0
        return self._queue[0] if self._queue else None

    async def run(self) -> None:
        due = self._pace.clock()
        while True:
            self._wake.clear()
            head = self._head()
            piece = _next_piece(head) if head is not None else ""
            if head is None and self.speaking:
                await self._fall_silent()
            elif head is not None and not piece and head.closed:
                await self._finish(head)
            elif head is None or not piece:
                await self._wake.wait()
                due = self._pace.clock()
            elif not self.speaking and head.kind != "digits":
                sound = self._pace.later(self._pace.first_sound_s, head.received)
                await self._pace.until(max(sound, self._not_before))
                if head.cut:
                    continue
                due = self._pace.clock()
                self.speaking = True
                await self._send([AgentSpeaking(True)])
                await self._try_trap()
            else:
                due = self._pace.later(self._duration(head, piece), due)
                await self._pace.until(due)
                if not head.cut:
                    await self._played(head, piece)

    async def _fall_silent(self) -> None:
        self.speaking = False
        self._forget_trap()
        self._listen(Silence(self._record.turn))
        self._changed()
        await self._send([AgentSpeaking(False)])

    async def _finish(self, head: Utterance) -> None:
        clause = head.sent[self._clause_start : head.played].strip()
        head.played = len(head.sent)
        head.finished = True
        self._head()
        self._changed()
        if clause and head.kind in ("greeting", "speech"):
            await self._send([TokensPlayed(clause)])

    def _duration(self, head: Utterance, piece: str) -> float:
        if head.kind == "digits":
            return sum(0.5 if digit == "w" else 0.1 for digit in piece)
        return self._pace.spoken_s(piece)

    async def _played(self, head: Utterance, piece: str) -> None:
        opens = head.begun is None
        if opens:
            head.begun = self._pace.clock()
            self._record.story.append(head)
        head.played += len(piece)
        if head.kind == "digits":
            self._listen(Notice(f"the agent pressed {piece}"))
            await self._send([TokensPlayed(piece)])
            return
        if head.kind == "media":
            self._listen(Notice("a recording was played"))
            return
        self._listen(Word(piece, self._record.turns[head.turn], opens))
        self._changed()
        if self._trap is not None:
            self._trap.words -= 1
            await self._try_trap()
        if head.cut:
            return
        clause = head.sent[self._clause_start : head.played].strip()
        if _CLAUSE_END.search(clause) and len(clause) >= _SHORTEST_CLAUSE:
            self._clause_start = head.played
            await self._send([TokensPlayed(clause)])

    async def _try_trap(self) -> None:
        if self._trap is None or self._trap.words > 0:
            return
        trap, self._trap = self._trap, None
        stopped = await self.barge_in("speech", trap.letters, [ClientSpeaking(True)])
        if not trap.sprung.done():
            trap.sprung.set_result("stopped" if stopped else "talked over")

    def _forget_trap(self) -> None:
        if self._trap is not None and not self._trap.sprung.done():
            self._trap.sprung.set_result("silent")
        self._trap = None

    def stops_at(self, by: Literal["speech", "dtmf"]) -> bool:
        """Whether the caller's voice, or a key, would stop what is being played now."""
        head = self._head() if self.speaking else None
        return head is not None and head.mark()[0] in ("any", by)

    async def barge_in(self, by: Literal["speech", "dtmf"], letters: int = 0, before: Sequence[Incoming] = ()) -> bool:
        """The caller talks, or presses a key, over what is being played. If it may be interrupted, playing stops, the
        queue is dropped and the app is told; the frames ``before`` are sent in any case. Returns whether it stopped."""
        head = self._head()
        if head is None or not self.stops_at(by):
            await self._send(before)
            return False
        fragment, utterance, ms = self._heard_of(head, letters)
        if self._open is not None:
            self.stale = True
        self._record.interrupts.append(head.heard)
        self.drop("interrupt")
        frames: list[Incoming] = [TokensPlayed(fragment)] if fragment else []
        await self._send([*before, *frames, Interrupt(utterance, ms), AgentSpeaking(False)])
        return True

    def _heard_of(self, head: Utterance, letters: int) -> tuple[str, str, int]:
        """(fragment of the clause, what the interrupt reports, its milliseconds)."""
        if head.kind == "media":
            return "", "", round(head.played / self._pace.characters_per_second * 1000)
        rest = head.sent[head.played :]
        more = rest[: len(rest) - len(rest.lstrip()) + letters] if letters else ""
        end = head.sent[: head.played] + more.rstrip()
        reported = end if self._cumulative else end[self._clause_start :]
        return end[self._clause_start :].strip(), reported.strip(), round(self._pace.spoken_s(reported) * 1000)

    async def _preempt(self) -> None:
        head = self._head()
        if head is None or not head.mark()[1]:
            return
        fragment = head.sent[self._clause_start : head.played].strip() if head.kind == "speech" else ""
        head.cut = "preempt"
        self._head()
        was_speaking, self.speaking = self.speaking, False
        frames: list[Incoming] = [TokensPlayed(fragment)] if fragment else []
        if was_speaking:
            self._not_before = self._pace.later(self._pace.after_preempt_s)
            self._listen(Silence(self._record.turns[head.turn], cut=True))
            frames.append(AgentSpeaking(False))
        await self._send(frames)

    def drop(self, cut: Cut) -> str:
        """Nothing of what is queued is played any more. Returns the words that were sent and not played."""
        unplayed = "".join(u.sent[u.played :] for u in self._queue if not u.over and u.kind != "media")
        for utterance in self._queue:
            if not utterance.over:
                utterance.cut = cut
        self._queue.clear()
        self._clause_start = 0
        self._open = None
        if self.speaking:
            self.speaking = False
            self._listen(Silence(self._record.turn, cut=bool(unplayed.strip())))
        self._forget_trap()
        self._wake.set()
        self._changed()
        return unplayed.strip()

    def set_trap(self, words: int, letters: int = 0) -> asyncio.Future[Sprung]:
        """Has the caller talk over the agent after ``words`` more words; 0: at the first sound."""
        self._forget_trap()
        self._trap = Trap(words, letters, asyncio.get_running_loop().create_future())
        return self._trap.sprung


def _next_piece(utterance: Utterance) -> str:
    """What is played next without a stop: a word, all the digits, all of a medium; "" if that is not known yet."""
    if utterance.kind in ("digits", "media"):
        return utterance.sent[utterance.played :]
    found = _WORD.match(utterance.sent, utterance.played)
    if found is None:
        return ""
    whole = utterance.closed or found.end() < len(utterance.sent) or bool(re.match(f"[{_UNSPACED}]", found[0][-1]))
    return found[0] if whole else ""
