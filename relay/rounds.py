"""The model's side of a session: one round at a time, from the request to words for the ear, timed and counted."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import structlog

from relay.events import Delta, Event, RoundEnded, StartTurn, TurnEnded, TurnFailed
from relay.items import Item
from relay.models.base import Finished, LanguageModel, ModelRequest, ToolCall, Usage
from relay.speech import Speech
from relay.telemetry import Telemetry
from relay.timing import TurnTiming
from relay.turn import run_round

log = structlog.get_logger()


@dataclass(slots=True)
class Counted:
    """Tokens, and what they were spent on."""

    turns: int = 0
    usage: Usage = field(default_factory=Usage)

    def add(self, usage: Usage) -> None:
        before = self.usage
        self.usage = Usage(before.input + usage.input, before.cached + usage.cached, before.output + usage.output)

    def fields(self) -> dict[str, int]:
        """As a log record tells it."""
        return {
            "tokens_in": self.usage.input,
            "tokens_cached": self.usage.cached,
            "tokens_out": self.usage.output,
        }


class Rounds:
    """``template``: what is the same in every request of the call. ``report``: takes what the call is to know.
    ``spawn``: starts a task of the session's."""

    def __init__(
        self,
        model: LanguageModel,
        template: ModelRequest,
        telemetry: Telemetry,
        report: Callable[[Event], None],
        spawn: Callable[[Coroutine[Any, Any, None], str], asyncio.Task[None]],
        clock: Callable[[], float],
    ) -> None:
        self._model = model
        self._template = template
        self._telemetry = telemetry
        self._report = report
        self._spawn = spawn
        self._clock = clock
        self._running: asyncio.Task[None] | None = None
        self._turn = 0
        self._carry: tuple[bytes, ...] = ()  # provider-only items of the turn's earlier rounds
        self._asked: float | None = None  # when the words were read that no turn has begun with
        self._timing: TurnTiming | None = None
        self._first_text: float | None = None
        self._in_turn = Counted()
        self.total = Counted()

    # -- what the session tells

    def prompted(self, read: float) -> None:
        """A final prompt was read: the turn it leads to is timed from here."""
        self._asked = read

    def start(self, action: StartTurn, items: Sequence[Item], instructions: str) -> None:
        """Asks the model."""
        now = self._clock()
        if action.turn != self._turn:
            self._turn, self._carry = action.turn, ()
            self._in_turn, self._first_text = Counted(), None
            self.total.turns += 1
            self._timing = TurnTiming(now if self._asked is None else self._asked)
            self._asked = None
            self._timing.begun(now)
        if action.round and self._timing is not None:
            self._timing.later_round()
        sink = _Sink(self, action.turn)
        request = replace(
            self._template,
            instructions=instructions,
            items=items,
            tool_choice="auto" if action.tools else "none",
            carry=self._carry,
            on_sent=sink.sent,
        )
        if self._timing is not None:
            self._timing.items(self._clock())
        self._running = self._spawn(run_round(self._model, request, sink), "round")

    def cancel(self) -> None:
        """Closes the request, if one is running."""
        if self._running is not None:
            self._running.cancel()
            self._running = None

    def written(self) -> None:
        """Words of the turn went out."""
        if self._timing is not None and self._timing.written(self._clock()):
            self._first_text = self._timing.observe(self._telemetry)
            self._timing = None

    def ended(self, action: TurnEnded) -> None:
        """Says in one line what became of the turn."""
        first = None if self._first_text is None else round(self._first_text, 4)
        log.info("turn ended", turn=action.turn, outcome=action.outcome, first_text=first, **self._in_turn.fields())

    # -- what the round tells

    def mark(self, mark: Callable[[TurnTiming, float], None]) -> None:
        if self._timing is not None:
            mark(self._timing, self._clock())

    def words(self, turn: int, text: str) -> None:
        self._report(Delta(turn, text))

    def finished(self, turn: int, calls: tuple[ToolCall, ...], finished: Finished) -> None:
        usage = finished.usage
        self.total.add(usage)
        for kind, count in (("input", usage.input), ("cached", usage.cached), ("output", usage.output)):
            self._telemetry.tokens.labels(kind).inc(count)
        if turn == self._turn:
            self._in_turn.add(usage)
            self._carry += finished.carry
        self._report(RoundEnded(turn, finished.reason, calls))

    def failed(self, turn: int, code: str) -> None:
        self._telemetry.turn_failures.labels(code).inc()
        self._report(TurnFailed(turn, code))


class _Sink:
    """Makes one round's text fit for the ear."""

    __slots__ = ("_released", "_rounds", "_seen", "_speech", "_turn")

    def __init__(self, rounds: Rounds, turn: int) -> None:
        self._rounds = rounds
        self._turn = turn
        self._speech = Speech()
        self._seen = self._released = False

    def sent(self) -> None:
        self._rounds.mark(TurnTiming.sent)

    def delta(self, text: str) -> None:
        if not self._seen:
            self._seen = True
            self._rounds.mark(TurnTiming.delta)
        if words := self._speech.feed(text):
            self._words(words)

    def finished(self, calls: tuple[ToolCall, ...], finished: Finished) -> None:
        if words := self._speech.finish():
            self._words(words)
        self._rounds.finished(self._turn, calls, finished)

    def failed(self, code: str) -> None:
        self._rounds.failed(self._turn, code)

    def _words(self, words: str) -> None:
        if not self._released:
            self._released = True
            self._rounds.mark(TurnTiming.word)
        self._rounds.words(self._turn, words)
