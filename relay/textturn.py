"""A turn of a text conversation: rounds of the model and the tools they call, until there is an answer.

It goes by the same models, tools, agents, budgets and traces as a turn on the phone. What makes a call difficult is
absent: nothing is heard, nothing is cut but on purpose, and what was sent was read. So this is a plain coroutine.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from typing import Literal

import structlog

from relay.cast import Cast
from relay.items import AssistantItem, Item
from relay.length import Length
from relay.masks import Masks
from relay.models.base import Finished, ModelRequest, ToolCall, Usage
from relay.parting import nobody
from relay.sideeffects import SideEffects
from relay.textparts import EMPTY, LATE, Answer, Asked, Outcome, TextParts
from relay.texttools import TextTools
from relay.timing import TurnTiming
from relay.toolbox import ToolContext
from relay.trace import Round, SessionTrace
from relay.turn import run_round, tokens_spent, window

BETWEEN = "\n\n"
"""What stands between the words of two rounds."""

log = structlog.get_logger()


class TextTurn:
    """One turn; ``run`` once. ``cast``: who may talk in it. ``on_text``: takes each piece of the answer as it comes; it
    does not wait."""

    def __init__(self, parts: TextParts, asked: Asked, cast: Cast, on_text: Callable[[str], None]) -> None:
        self._asked = asked
        self._cast = cast
        self._model = parts.model
        self._telemetry = parts.telemetry
        self._allowance = parts.budget.of(asked.person)
        self._rules = rules = parts.rules
        self._on_text = on_text
        self._clock = asyncio.get_running_loop().time
        self._agent = asked.agent
        self._language = asked.language
        self._length = Length(rules.reply_max_chars)
        self._timing = TurnTiming(asked.read)
        self._first_text: float | None = None
        self._usage = Usage()
        self._new: list[Item] = []
        self._text = ""
        self._stopped = False
        self._cut = ""  # why the round in progress was ended by us
        self._running: asyncio.Task[None] | None = None
        self._spans = parts.spans.call(
            asked.conversation,
            channel=asked.channel,
            agent=asked.agent,
            direction="inbound",
            epoch=asked.epoch,
            resumed=asked.number > 1,
            masks=Masks(),
        )
        self._trace = SessionTrace(
            parts.trail(asked.conversation, asked.channel, asked.person),
            epoch=asked.epoch,
            begun=self._clock(),
            clock=self._clock,
            agent=lambda: self._agent,
            spans=self._spans,
        )
        context = ToolContext(
            asked.conversation, asked.channel, asked.agent, asked.person, asked.language, asked.address
        )
        self._tools = TextTools(
            parts.tools,
            SideEffects(parts.tools, parts.effects, parts.jobs, context, asked.epoch),
            context,
            cast,
            self._trace,
            asked.items,
            asked.number,
        )

    def stop(self) -> None:
        """The person has read enough: what was written stands, and nothing more comes. Tools with a lasting effect that
        have begun are waited for all the same."""
        self._stopped = True
        self._end_round("stopped")
        self._tools.stop()

    async def run(self) -> Answer:
        """Raises nothing but CancelledError; that closes what is open upstream and leaves the conversation as it was.
        Tools with a lasting effect go on by themselves."""
        try:
            return await self._run()
        finally:
            self._trace.let_go()
            self._on_text = nobody  # who listens may know this turn, to stop it: a ring (relay/parting.py)

    async def _run(self) -> Answer:
        for each in self._asked.before:
            self._timing.begun(each.at)
            self._timing.items(each.at)
            self._usage += each.usage
        self._timing.begun(self._clock())
        if over := self._allowance.over():
            self._telemetry.refused.labels(over).inc()
            log.info("turn refused", conversation=self._asked.conversation, reason=over)
            self._text = self._line("budget")
            self._on_text(self._text)
            return self._answer("budget", code=over, items=(AssistantItem(self._text, origin="budget"),))
        self._trace.session(self._asked.channel, resumed=False, told=self._asked.number > 1)
        self._trace.prompted(self._asked.read)
        self._trace.begin(self._asked.number)
        for each in self._asked.before:
            self._trace.asked(each)
        with self._spans.inside():
            outcome, code = await self._told_of()
        if outcome == "failed":
            self._telemetry.turn_failures.labels(code).inc()
            if not self._tools.lasting:
                return self._answer("failed", code=code)
            # What was done stays done: the conversation has to know of it.
            self._say(self._line("apology"), apart=True)
            self._new.append(AssistantItem(self._line("apology"), origin="apology"))
        else:
            self._tools.settle()
        return self._answer(outcome, code=code, items=tuple(self._new))

    async def _told_of(self) -> tuple[Outcome, str]:
        """The rounds; however they end, it is told."""
        number, outcome, code = self._asked.number, "cancelled", ""
        try:
            answered, code = await self._rounds()
            outcome = "interrupted" if answered == "stopped" else answered
            return answered, code
        except asyncio.CancelledError:
            outcome = "superseded"
            raise
        except Exception as error:
            log.error("bug in a turn", error=type(error).__name__, exc_info=True)
            outcome, code = "failed", "bug"
            return "failed", code
        finally:
            self._trace.turn_ended(number, outcome)
            self._spans.ended(outcome, number)
            self._telemetry.turns.labels(outcome).inc()
            log.info("turn ended", turn=number, outcome=outcome, code=code, **self._told())

    async def _rounds(self) -> tuple[Outcome, str]:
        carry: tuple[bytes, ...] = ()
        asked_model = ""
        for number in range(self._rules.tool_rounds + 1):
            role = self._cast.role(self._agent)
            if role is None:
                return "failed", "unknown_agent"
            if role.request.model != asked_model:
                asked_model, carry = role.request.model, ()
            sink = _Sink(self, free=role.request.keeps_state)
            if number or self._asked.before:
                self._timing.later_round(self._clock())
            request = replace(
                role.request,
                instructions=self._cast.instructions(self._agent, self._language),
                items=window([*self._asked.items, *self._new], self._rules.history_tokens),
                tool_choice="auto" if number < self._rules.tool_rounds else "none",
                carry=carry,
                on_sent=sink.sent,
                on_further=sink.round.further.append,
                on_found=sink.round.found.__setitem__,
                conversation=self._asked.conversation,
                channel=self._asked.channel,
                language=self._language or role.request.language,
            )
            sink.round.shown = request.instructions, request.items
            self._timing.items(self._clock())
            self._trace.asked(sink.round)
            await self._ask(request, sink)
            code = self._after(sink)
            if self._is_stopped():
                return "stopped", ""
            if code:
                return "failed", code
            if not sink.calls:
                return ("done", "") if self._text else ("failed", EMPTY)
            if number >= self._rules.tool_rounds:
                return ("done", "") if sink.text else ("failed", "too_many_steps")
            carry += sink.carry
            used = await self._tools.use(sink.calls, round=number, agent=self._agent, language=self._language)
            self._new += used.items
            self._agent, self._language = used.agent, used.language
            if self._is_stopped():
                return "stopped", ""
            if used.over:
                return "done", ""
            if used.person_changed:
                await self._cast.look_up()
        raise AssertionError("the last round has no tools")

    async def _ask(self, request: ModelRequest, sink: _Sink) -> None:
        """One round, to its end or ours. A cancel closes the request upstream."""
        if self._stopped:
            return
        self._cut = ""
        loop = asyncio.get_running_loop()
        task = self._running = asyncio.create_task(run_round(self._model, request, sink), name="round")
        sink.timer = loop.call_later(self._rules.turn_deadline, self._end_round, LATE)
        try:
            await asyncio.wait([task])
        finally:
            sink.timer.cancel()
            self._running = None
            if not task.done():
                task.cancel()
            sink.settle("cancelled")

    def _after(self, sink: _Sink) -> str:
        """Takes the round's words in. Why it failed, "" where it did not."""
        if sink.text:
            status: Literal["done", "interrupted"] = "interrupted" if self._stopped else "done"
            self._new.append(AssistantItem(sink.text, status))
        if self._cut == LATE:
            return LATE
        return sink.error

    def _is_stopped(self) -> bool:
        return self._stopped

    def _end_round(self, why: str) -> None:
        if self._running is not None and not self._running.done():
            self._cut = why
            self._running.cancel()

    # -- what a round tells

    def words(self, sink: _Sink, text: str) -> None:
        """A piece of the answer, as far as there is room for it."""
        if self._cut:
            return  # what was read with the piece that was one too many
        apart = not sink.text and bool(self._text)
        if len(self._text) + len(text) > self._length.free:
            fit = self._length.fit(self._text, text, len(self._text) + len(text))
            if fit is not None:
                text = text[:fit]
                self._end_round("length")
        if not text:
            return
        sink.text += text
        self._say(text, apart=apart)

    def _say(self, text: str, *, apart: bool = False) -> None:
        if apart and self._text and not self._text[-1].isspace():
            text = BETWEEN + text
        self._text += text
        self._on_text(text)
        if self._first_text is None:
            self._timing.word(self._clock())
            self._timing.written(self._clock())
            self._first_text, segments = self._timing.observe(self._telemetry, self._asked.channel)
            self._trace.first_text(self._first_text, segments)

    def mark(self, mark: Callable[[TurnTiming, float], None]) -> None:
        mark(self._timing, self._clock())

    def asking(self) -> Round:
        role = self._cast.role(self._agent)
        return Round(role.request.model if role is not None else "", self._clock())

    def over(self, asked: Round, outcome: str, usage: Usage, tokens: int) -> None:
        asked.end(self._clock(), outcome, usage)
        self._usage += usage
        if self._allowance.limited:
            self._allowance.spend(tokens)

    @property
    def captures(self) -> bool:
        return self._trace.captures

    def now(self) -> float:
        return self._clock()

    # -- what is said of it

    def _line(self, name: str) -> str:
        role = self._cast.role(self._agent)
        return role.manner.line(name, self._language or self._asked.reads) if role is not None else ""

    def _told(self) -> dict[str, float | int | None]:
        first = None if self._first_text is None else round(self._first_text, 4)
        return {"first_text": first, **self._usage.fields()}

    def _answer(self, outcome: Outcome, *, code: str = "", items: tuple[Item, ...] = ()) -> Answer:
        return Answer(
            outcome,
            items,
            self._text,
            code,
            self._tools.signals,
            self._agent,
            self._language,
            self._first_text,
            self._usage,
        )


class _Sink:
    """Of one round (``relay.turn.Sink``). ``free``: its engine is not paid by the token."""

    def __init__(self, turn: TextTurn, *, free: bool) -> None:
        self._turn = turn
        self._settled = False
        self._sent = False
        self._seen = False
        self._free = free
        self.round = turn.asking()
        self.timer: asyncio.TimerHandle | None = None
        self.text = ""
        self.calls: tuple[ToolCall, ...] = ()
        self.carry: tuple[bytes, ...] = ()
        self.usage = Usage()
        self.error = ""

    def sent(self) -> None:
        self._sent = True
        self._turn.mark(TurnTiming.sent)

    def delta(self, text: str) -> None:
        if not self._seen:
            self._seen = True
            self.round.first = self._turn.now()
            self._turn.mark(TurnTiming.delta)
        if self._turn.captures:
            self.round.text.append(text)
        if self.text or not text.isspace():
            if self.timer is not None:
                self.timer.cancel()
            self._turn.words(self, text if self.text else text.lstrip())

    def finished(self, calls: tuple[ToolCall, ...], finished: Finished) -> None:
        self.calls, self.carry, self.usage, self.round.calls = calls, finished.carry, finished.usage, calls
        self._seen = True
        self.settle(finished.reason)

    def failed(self, code: str) -> None:
        self.error = self.round.error = code
        self._sent = self._seen  # nobody is billed for a request that was refused
        self.settle("failed")

    def settle(self, outcome: str) -> None:
        """It is over, however it has ended; only the first end counts."""
        if not self._settled:
            self._settled = True
            self._turn.over(self.round, outcome, self.usage, self._tokens())

    def _tokens(self) -> int:
        """What it has cost."""
        free = self._free or not self._sent
        return tokens_spent(self.usage, self.round.shown, len(self.text), free=free)


__all__ = ["TextTurn"]
