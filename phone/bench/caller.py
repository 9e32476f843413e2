"""One caller of the load: prompts, listens, now and then interrupts at a random word, pauses, and so on."""

from __future__ import annotations

import asyncio
import random
from array import array
from collections import Counter
from dataclasses import dataclass, field

from phone.bench.door import Visit
from phone.bench.words import Heard, heard
from phone.endpoint.strain import Delay
from phone.load import CallLost, LoadCall
from relay.frames import Interrupt, Prompt, Text

ANSWER_SECONDS = 30.0
PING_SECONDS = 5.0
WORD_MS = 300  # a word of speech
ROOM = 100_000  # turns a call
NO_WORDS = f"no words within {ANSWER_SECONDS:g} s"
NO_END = f"an answer without an end within {ANSWER_SECONDS:g} s"
NO_PONG = "an interrupt whose ping was not answered"
REFUSED = "frames Twilio would refuse"


@dataclass(frozen=True, slots=True)
class Plan:
    """``seconds``: how long prompts are sent, once all calls are open. ``think``: seconds between the end of an answer
    and the next prompt. ``interrupt_rate``: share of the turns. ``tokens``: an answer's length, as far as is known."""

    calls: int
    seconds: float
    think: Delay
    interrupt_rate: float
    tokens: int
    seed: int


@dataclass(frozen=True, slots=True)
class Answered:
    """A turn with words. Seconds: ``at`` of the run, its prompt was sent; ``first``, until its first words; ``added``,
    of them those that were not the model's, None where the words do not tell."""

    at: float
    first: float
    added: float | None
    interrupted: bool


@dataclass(slots=True)
class Tally:
    """What all callers saw. ``ghosts``: frames with text of an interrupted answer behind the pong for the ping that
    followed the interrupt; what is asked for anew, to take a turn up again, is none. ``errors``: by what went wrong.
    ``transit``: seconds from each token's writing to its arrival. ``clocked``: the words are those of our endpoint."""

    begun: float = 0.0
    answered: list[Answered] = field(default_factory=list)
    ghosts: int = 0
    interrupts: int = 0
    errors: Counter[str] = field(default_factory=Counter)
    failed_at: list[float] = field(default_factory=list)
    transit: array[float] = field(default_factory=lambda: array("d"))
    clocked: bool = False

    def error(self, kind: str, at: float, count: int = 1) -> None:
        self.errors[kind] += count
        self.failed_at += [at - self.begun] * count


class _Turn:
    """``stop``: interrupt it once so many words were heard, 0 to hear it to its end. ``over`` is done at either."""

    __slots__ = ("first", "model", "number", "over", "sent", "stop", "text", "words")

    def __init__(self, number: int, stop: int) -> None:
        self.number = number
        self.stop = stop
        self.sent = self.first = 0.0
        self.model: float | None = None
        self.words = 0
        self.text = ""
        self.over: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def take(self, token: str, mine: list[Heard], at: float) -> None:
        if not self.first:
            self.first = at
            self.model = mine[0].model if mine else None
        self.words += len(mine) or len(token.split())
        if self.stop:
            self.text += token
            if self.words >= self.stop:
                self.end()

    def end(self) -> None:
        if not self.over.done():
            self.over.set_result(None)


class BenchCaller:
    """``hear`` is for the call's frames from its opening on. ``number``: the caller's, from 0."""

    def __init__(self, plan: Plan, tally: Tally, number: int) -> None:
        self._plan = plan
        self._tally = tally
        self._rng = random.Random(f"{plan.seed} {number}")
        self._next = number * ROOM
        self._turn: _Turn | None = None
        self._open = False  # a talk cycle has begun and is not closed
        # Answers asked for before this moment, for turns up to this one, must not be heard any more.
        self._forbidden, self._silent_from = 0, 0.0
        self._silenced = False  # an interrupt was read in the midst of a talk cycle, which is not closed yet

    async def run(self, visit: Visit, until: float) -> None:
        """Until that moment of the call's clock, or until the call is lost. A cancel leaves the call open."""
        call, plan, rng = visit.call, self._plan, self._rng
        try:
            await asyncio.sleep(rng.uniform(0, max(plan.think.median, 0.5)))  # nobody begins with the others
            while call.clock() < until:
                await self._ask(visit)
                await asyncio.sleep(min(plan.think.sample(rng), max(0.0, until - call.clock())))
        except CallLost:
            why = f" ({call.closed_with})" if call.closed_with else ""
            kind = "calls the server hung up" if call.ended else f"calls lost: the server closed the websocket{why}"
            self._tally.error(kind, call.clock())
        if call.faults:
            self._tally.error(REFUSED, call.clock(), call.faults)

    def hear(self, frame: Text, at: float) -> None:
        turn, tally = self._turn, self._tally
        if frame.token.strip():
            words = heard(frame.token)
            mine = [word for word in words if turn is not None and word.turn == turn.number]
            if words:
                tally.clocked = True
                tally.transit.extend(word.age(at) for word in words)
            stale = any(word.turn <= self._forbidden and word.asked(self._silent_from) > 0 for word in words)
            # Without a word of ours nothing tells whose text it is but its place.
            if stale or (self._silenced and not words and not tally.clocked):
                tally.ghosts += 1
            elif turn is not None and (mine or not words):
                turn.take(frame.token, mine, at)
            self._open = True
        if frame.last:
            self._open = self._silenced = False
            if turn is not None and turn.first:
                turn.end()

    async def _ask(self, visit: Visit) -> None:
        call, tally, rng = visit.call, self._tally, self._rng
        self._next += 1
        interrupted = rng.random() < self._plan.interrupt_rate
        turn = self._turn = _Turn(self._next, rng.randint(1, self._plan.tokens) if interrupted else 0)
        self._silenced = False
        turn.sent = call.send(Prompt(f"Could you tell me a little more about number {turn.number}", "en-US"))
        if not await _within(call, turn.over, ANSWER_SECONDS):
            tally.error(NO_END if turn.first else NO_WORDS, call.clock())
            return
        if interrupted:
            await self._interrupt(call, turn)
        elif visit.speaker_events:
            call.spoken()
        first = turn.first - turn.sent
        added = None if turn.model is None else first - turn.model
        tally.answered.append(Answered(turn.sent - tally.begun, first, added, interrupted))

    async def _interrupt(self, call: LoadCall, turn: _Turn) -> None:
        """Interrupts, and waits until the server has read that: it answers the ping behind it."""
        read: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        def acknowledged() -> None:
            self._forbidden, self._silent_from = turn.number, call.clock()
            self._silenced = self._open
            if not read.done():
                read.set_result(None)

        spoken = turn.text.split()[: turn.stop]
        call.send(Interrupt(" ".join(spoken), len(spoken) * WORD_MS))
        call.after_all_before(acknowledged)
        self._tally.interrupts += 1
        if not await _within(call, read, PING_SECONDS):
            self._tally.error(NO_PONG, call.clock())


async def _within(call: LoadCall, event: asyncio.Future[None], seconds: float) -> bool:
    """Whether it comes in time. Raises CallLost when it cannot any more."""
    await asyncio.wait({event, call.gone}, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
    if not event.done() and call.lost:
        raise CallLost("the websocket was closed")
    return event.done()
