"""The model's side of a session: one round at a time, from the request to words for the ear, timed and counted.

Beside it at most one round that was begun ahead of its turn (``speculation.py``). What it brings is kept in its sink.
The turn that asks the same takes it over, with what is kept at once and the rest as it comes, and from then on it is a
round like any other; whatever else is asked, it is dropped, and what it cost is counted as wasted.

What a request has cost is told to the conversation's budget, whatever became of it. A turn that begins when that is
used up asks nothing: the call learns that it may not.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Literal

import structlog

from relay.budget import Allowance, Over
from relay.events import Delta, Event, OutOfBudget, RoundEnded, StartTurn, TurnEnded, TurnFailed
from relay.items import Item
from relay.models.base import Finished, LanguageModel, ModelRequest, ToolCall, Usage
from relay.parting import never, nobody
from relay.speculation import same_turn
from relay.speech import Speech
from relay.telemetry import Telemetry
from relay.timing import TurnTiming
from relay.trace import Round, SessionTrace
from relay.turn import run_round, tokens_spent

log = structlog.get_logger()

SETTLING = 0.3  # seconds a request waits for instructions that are being made anew


@dataclass(slots=True)
class Counted:
    """Tokens, and what they were spent on."""

    turns: int = 0
    usage: Usage = field(default_factory=Usage)

    def add(self, usage: Usage) -> None:
        self.usage += usage

    def fields(self) -> dict[str, int]:
        """As a log record tells it."""
        return self.usage.fields()


@dataclass(slots=True)
class _Ahead:
    """A round begun ahead of its turn."""

    request: ModelRequest
    sink: _Sink
    task: asyncio.Task[None]


class Rounds:
    """``template``: what is the same in every request of the agent that has the call; to be set before the first.
    ``report``: takes what the call is to know. ``spawn``: starts a task of the session's. ``trace``: of the session."""

    def __init__(
        self,
        model: LanguageModel,
        telemetry: Telemetry,
        trace: SessionTrace,
        report: Callable[[Event], None],
        spawn: Callable[[Coroutine[Any, Any, None], str], asyncio.Task[None]],
        clock: Callable[[], float],
        allowance: Allowance,
    ) -> None:
        self.allowance = allowance
        self._model = model
        self.template = ModelRequest("", ())
        self._telemetry = telemetry
        self._trace = trace
        self._listener = _KeepingSink if trace.captures else _Sink
        self._report = report
        self._spawn = spawn
        self._clock = clock
        self._running: asyncio.Task[None] | None = None
        self._sink: _Sink | None = None  # of what is running
        self._ahead: _Ahead | None = None
        self._releasing: asyncio.Handle | None = None
        self._turn = 0
        self._carry: tuple[bytes, ...] = ()  # provider-only items of the turn's earlier rounds
        self._model_asked = ""  # the one they are of
        self._asked: float | None = None  # when the words were read that no turn has begun with
        self._timing: TurnTiming | None = None
        self._first_text: float | None = None
        self._in_turn = Counted()
        self.total = Counted()

    # -- what the session tells

    def prompted(self, read: float) -> None:
        """A final prompt was read: the turn it leads to is timed from here."""
        self._asked = read
        self._trace.prompted(read)

    def start(
        self,
        action: StartTurn,
        items: Sequence[Item],
        instructions: Callable[[], str],
        settling: asyncio.Task[None] | None = None,
    ) -> None:
        """Asks the model. ``settling``: after this the instructions may be others; it is waited for a moment."""
        now = self._clock()
        if action.turn == self._turn:
            self.mark(TurnTiming.later_round)
        else:
            self._turn, self._carry = action.turn, ()
            self._in_turn, self._first_text = Counted(), None
            self.total.turns += 1
            self._timing = TurnTiming(now if self._asked is None else self._asked)
            self._asked = None
            self._timing.begun(now)
            self._trace.begin(action.turn)
        if not action.round and (over := self.allowance.over()):
            self._refuse(action.turn, over)
            return
        if self.template.model != self._model_asked:
            self._model_asked, self._carry = self.template.model, ()  # another model's are nothing to it
        sink = self._listener(self, action.turn)
        request = replace(
            self.template,
            instructions=instructions(),
            items=items,
            tool_choice="auto" if action.tools else "none",
            carry=self._carry,
            on_sent=sink.sent,
            on_further=sink.round.further.append,
            on_found=sink.round.found.__setitem__,
            language=action.language or self.template.language,
        )
        sink.round.shown = request.instructions, items
        if self._timing is not None:
            self._timing.items(self._clock())
        if settling is not None and not settling.done():
            self.drop()
            self._begin(sink, self._ask_settled(settling, request, instructions, sink))
        elif self._ahead is not None and same_turn(self._ahead.request, request):
            self._take_over(self._ahead, action.turn)
        else:
            self.drop()
            self._begin(sink, run_round(self._model, request, sink))

    def _begin(self, sink: _Sink, running: Coroutine[Any, Any, None]) -> None:
        self._sink = sink
        self._running = self._spawn(running, "round")
        self._trace.asked(sink.round)

    def _refuse(self, turn: int, over: Over) -> None:
        """The call learns of it in a moment: it is still beginning the turn."""
        self.drop()
        self._timing = None
        self._telemetry.refused.labels(over).inc()
        log.info("turn refused", turn=turn, reason=over)
        self._releasing = asyncio.get_running_loop().call_soon(self._report, OutOfBudget(turn))

    async def _ask_settled(
        self, settling: asyncio.Task[None], request: ModelRequest, instructions: Callable[[], str], sink: _Sink
    ) -> None:
        """A cancel leaves what it waits for going on."""
        await asyncio.wait([settling], timeout=SETTLING)
        await run_round(self._model, replace(request, instructions=instructions()), sink)

    def cancel(self) -> None:
        """Closes the request, if one is running."""
        if self._releasing is not None:
            self._releasing.cancel()
            self._releasing = None
        if self._running is not None:
            self._running.cancel()
            self._running = None
        if self._sink is not None:
            self._sink.settle()
            self._sink = None

    def speculate(self, items: Sequence[Item], instructions: str) -> None:
        """Asks the model ahead of the turn these items will lead to; one that was asked so before is dropped. An engine
        that would take it for said is not asked."""
        self.drop()
        if self.template.keeps_state or self.allowance.over():
            return
        sink = self._listener(self, 0, ahead=True)
        request = replace(
            self.template,
            instructions=instructions,
            items=items,
            on_sent=sink.sent,
            on_further=sink.round.further.append,
        )
        sink.round.shown = request.instructions, items
        self._ahead = _Ahead(request, sink, self._spawn(run_round(self._model, request, sink), "speculation"))

    def drop(self) -> None:
        """Closes the request made ahead, if there is one; nothing of it is ever heard."""
        if self._ahead is not None:
            self._ahead.task.cancel()
            self._waste(self._ahead, "discarded", self._ahead.sink.tokens())

    def stop(self) -> None:
        """Closes all that is open: nobody will hear it."""
        self.cancel()
        self.drop()

    def let_go(self) -> None:
        """Of the session, which is over (``parting.py``)."""
        self._report, self._spawn = nobody, never

    def written(self) -> None:
        """Words of the turn went out."""
        if self._timing is not None and self._timing.written(self._clock()):
            self._first_text, segments = self._timing.observe(self._telemetry)
            self._trace.first_text(self._first_text, segments)
            self._timing = None

    def ended(self, action: TurnEnded) -> None:
        """Says in one line what became of the turn."""
        self._telemetry.turns.labels(action.outcome).inc()
        first = None if self._first_text is None else round(self._first_text, 4)
        log.info("turn ended", turn=action.turn, outcome=action.outcome, first_text=first, **self._in_turn.fields())

    # -- what was begun ahead

    def _take_over(self, ahead: _Ahead, turn: int) -> None:
        """It is this turn's round now. Its words follow in a moment: the call is still taking the prompt in."""
        self._ahead, self._running, self._sink = None, ahead.task, ahead.sink
        self._releasing = asyncio.get_running_loop().call_soon(ahead.sink.release, turn)
        self._trace.asked(ahead.sink.round)
        self._telemetry.speculation.labels("used").inc()

    def _waste(self, ahead: _Ahead, result: Literal["discarded", "failed"], tokens: int) -> None:
        self._ahead = None
        ahead.sink.settle()
        self._trace.wasted(ahead.sink.round)
        self._telemetry.speculation.labels(result).inc()
        self._telemetry.wasted.inc(tokens)

    def spoiled(self, sink: _Sink) -> bool:
        """Nothing usable came of what was asked ahead: the turn will ask anew. False if it is a turn's by now."""
        if self._ahead is None or self._ahead.sink is not sink:
            return False
        self._waste(self._ahead, "failed", sink.tokens())
        return True

    # -- what the round tells

    def mark(self, mark: Callable[[TurnTiming, float], None]) -> None:
        """In the turn that waits for its first words. While one is asked ahead there is none."""
        if self._timing is not None:
            mark(self._timing, self._clock())

    def asking(self) -> Round:
        """A round that begins now."""
        return Round(self.template.model, self._clock())

    def first(self, asked: Round) -> None:
        """The model has begun to answer."""
        asked.first = self._clock()
        self.mark(TurnTiming.delta)

    def over(self, asked: Round, outcome: str, usage: Usage) -> None:
        asked.end(self._clock(), outcome, usage)

    def words(self, turn: int, text: str) -> None:
        self._report(Delta(turn, text))

    def spent(self, usage: Usage) -> None:
        self.total.add(usage)

    def finished(self, turn: int, calls: tuple[ToolCall, ...], finished: Finished) -> None:
        if turn == self._turn:
            self._in_turn.add(finished.usage)
            self._carry += finished.carry
        self._report(RoundEnded(turn, finished.reason, calls))

    def failed(self, turn: int, code: str) -> None:
        self._telemetry.turn_failures.labels(code).inc()
        self._report(TurnFailed(turn, code))


class _Sink:
    """Makes one round's text fit for the ear. ``ahead``: there is no turn yet, what comes is kept for ``release``. That
    is one reply at most, and it does not wait longer than ``speculation.PATIENCE`` for a final prompt."""

    __slots__ = (
        "_free",
        "_kept",
        "_released",
        "_rounds",
        "_settled",
        "_speech",
        "_turn",
        "asked",
        "characters",
        "round",
        "seen",
        "usage",
    )

    def __init__(self, rounds: Rounds, turn: int, *, ahead: bool = False) -> None:
        self._rounds = rounds
        self._turn = turn
        self._speech = Speech()
        self._free = rounds.template.keeps_state  # such an engine is not paid by the token
        self._released = False
        self._kept: list[Callable[[], None]] | None = [] if ahead else None
        self._settled = False  # the budget knows what this has cost
        self.round = rounds.asking()
        self.asked = False  # the request was written
        self.seen = False  # something came
        self.characters = 0  # kept
        self.usage = Usage()  # as the provider told at the end, if it does

    def release(self, turn: int) -> None:
        """The turn has come: what was kept goes out, in order, and what follows goes the usual way."""
        self._turn = turn
        kept, self._kept = self._kept or [], None
        for report in kept:
            report()

    def tokens(self) -> int:
        """What it has cost."""
        free = self._free or not self.asked
        return tokens_spent(self.usage, self.round.shown, self.characters, free=free)

    def settle(self, outcome: str = "cancelled") -> None:
        """It is over, however it has ended."""
        self._rounds.over(self.round, outcome, self.usage)
        allowance = self._rounds.allowance
        if not self._settled and allowance.limited:
            allowance.spend(self.tokens())
        self._settled = True

    def sent(self) -> None:
        self.asked = True
        self._rounds.mark(TurnTiming.sent)

    def delta(self, text: str) -> None:
        if not self.seen:
            self.seen = True
            self._rounds.first(self.round)
        if words := self._speech.feed(text):
            self._words(words)

    def finished(self, calls: tuple[ToolCall, ...], finished: Finished) -> None:
        if words := self._speech.finish():
            self._words(words)
        self.seen, self.usage, self.round.calls = True, finished.usage, calls
        self._rounds.spent(finished.usage)
        self.settle(finished.reason)
        if self._kept is None:
            self._end(calls, finished)
        elif self._kept or calls or not self._rounds.spoiled(self):
            self._kept.append(partial(self._end, calls, finished))

    def failed(self, code: str) -> None:
        self.asked = self.seen  # nobody is billed for a request that was refused
        self.round.error = code
        self.settle("failed")
        if self._kept is None:
            if words := self._speech.finish():  # a reply that broke off for good keeps its last word
                self._words(words)
            self._fail(code)
        elif not self._rounds.spoiled(self):
            self._kept.append(partial(self._fail, code))

    def _words(self, words: str) -> None:
        if self._kept is not None:
            self._kept.append(partial(self._words, words))
            self.characters += len(words)
            return
        if not self._released:
            self._released = True
            self._rounds.mark(TurnTiming.word)
        self._rounds.words(self._turn, words)

    def _end(self, calls: tuple[ToolCall, ...], finished: Finished) -> None:
        self._rounds.finished(self._turn, calls, finished)

    def _fail(self, code: str) -> None:
        self._rounds.failed(self._turn, code)


class _KeepingSink(_Sink):
    """Keeps besides what the model has said, word for word."""

    __slots__ = ()

    def delta(self, text: str) -> None:
        self.round.text.append(text)
        super().delta(text)
