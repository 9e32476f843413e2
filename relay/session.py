"""One websocket, one call: carries out what ``Call`` decides, and tells it what happened.

Tasks of a session, all inside one group and gone when ``run`` returns: the reader (``run`` itself), ``prepare``, at
most one ``round`` (a model request), and the tools that belong to a turn. Tools with a side effect belong to the
process.

    reader --frame--> Call.receive --actions--> here --> socket, model, tools, history, timers
       ^                                                        |
       '------- Delta, RoundEnded, ToolFinished, timers --------'

Frames leave at one place, ``_say``: the turn's number is compared and the frame is written with nothing in between
that could suspend, so nothing stale can follow an interrupt.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import orjson
import structlog

from relay.call import Call
from relay.errors import Fenced, InvalidFrame
from relay.events import (
    Action,
    CancelTimer,
    CancelTool,
    CancelTurn,
    Close,
    CloseSocket,
    Delta,
    End,
    Event,
    LateResult,
    Prepared,
    Put,
    RoundEnded,
    Say,
    SocketClosed,
    StartTimer,
    StartTool,
    StartTurn,
    TimerFired,
    ToolFinished,
    TurnEnded,
    TurnFailed,
)
from relay.frames import End as EndFrame
from relay.frames import Incoming, Interrupt, PeerError, Prompt, Setup, Text, Unknown, encode, parse_incoming
from relay.items import ToolItem
from relay.models.base import Finished, LanguageModel, ModelRequest, ToolCall, ToolSpec
from relay.rules import CallRules
from relay.sideeffects import SideEffects
from relay.speech import Speech
from relay.telemetry import Telemetry
from relay.timing import TurnTiming
from relay.toolbox import ToolBox, ToolContext, ToolOutcome
from relay.turn import run_round, window
from relay.writer import ConversationWriter

log = structlog.get_logger()

WRITE_LIMIT = 256 * 1024  # bytes a peer may leave unread
FRAMES_PER_SECOND = 200
READER_HOPS = 4  # passes of the event loop after which frames that had arrived have been read


class Socket(Protocol):
    """The peer. ``send`` writes at once and never waits; iteration yields text as str, binary as bytes, and ends when
    the socket is closed; ``close`` sends a close frame and waits for the peer's, within its own deadline."""

    def send(self, data: bytes) -> None: ...

    def unread(self) -> int: ...

    def __aiter__(self) -> AsyncIterator[str | bytes]: ...

    async def close(self, code: int, reason: str = "") -> None: ...

    @property
    def closed_cleanly(self) -> bool: ...


@dataclass(frozen=True, slots=True)
class Limits:
    """Numbers of a session beside those of ``CallRules``; times in seconds."""

    history_tokens: int = 12000
    prepare_deadline: float = 1.0


@dataclass(frozen=True, slots=True)
class SessionParts:
    """What a session works with. ``prompt`` is the one for a stranger; ``instructions`` makes the person's, which takes
    its place when it is there: it is awaited once a call, in the background, and must end by its own deadline.
    ``admitted`` answers whether the call may go on (a ticket's first use)."""

    model: LanguageModel
    model_name: str
    tools: ToolBox
    writer: ConversationWriter
    effects: SideEffects
    telemetry: Telemetry
    prompt: str
    instructions: Callable[[], Awaitable[str]]
    admitted: Callable[[], Awaitable[bool]]
    context: ToolContext


@dataclass(slots=True)
class _Totals:
    turns: int = 0
    input: int = 0
    cached: int = 0
    output: int = 0
    rejected: int = 0


@dataclass(slots=True)
class _Rate:
    """Frames in the second that began with the first of them."""

    since: float = -1.0
    count: int = 0

    def over(self, now: float) -> bool:
        if now - self.since >= 1.0:
            self.since, self.count = now, 0
        self.count += 1
        return self.count > FRAMES_PER_SECOND


@dataclass(slots=True, eq=False)
class _Running:
    """The round in progress. ``carry`` goes from round to round of one turn."""

    turn: int
    task: asyncio.Task[None]
    carry: tuple[bytes, ...] = field(default=())


class _RoundSink:
    """Makes one round's text fit for the ear and reports it to the session."""

    __slots__ = ("_released", "_seen", "_session", "_speech", "_turn")

    def __init__(self, session: CallSession, turn: int) -> None:
        self._session = session
        self._turn = turn
        self._speech = Speech()
        self._seen = self._released = False

    def sent(self) -> None:
        self._session.round_mark(TurnTiming.sent)

    def delta(self, text: str) -> None:
        if not self._seen:
            self._seen = True
            self._session.round_mark(TurnTiming.delta)
        if words := self._speech.feed(text):
            self._words(words)

    def finished(self, calls: tuple[ToolCall, ...], finished: Finished) -> None:
        if words := self._speech.finish():
            self._words(words)
        self._session.round_finished(self._turn, calls, finished)

    def failed(self, code: str) -> None:
        self._session.round_failed(self._turn, code)

    def _words(self, words: str) -> None:
        if not self._released:
            self._released = True
            self._session.round_mark(TurnTiming.word)
        self._session.round_words(self._turn, words)


class CallSession:
    """Serves one call on one socket, after its ``setup`` has been read and checked. Use once."""

    def __init__(
        self,
        socket: Socket,
        setup: Setup,
        tools: Sequence[str],
        rules: CallRules,
        parts: SessionParts,
        *,
        limits: Limits = Limits(),
        resumed: bool = False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._socket = socket
        self._setup = setup
        self._parts = parts
        self._limits = limits
        self._resumed = resumed
        self._clock = clock
        self._t0 = clock()
        self.call = Call(rules)
        self._telemetry = parts.telemetry
        self._specs: tuple[ToolSpec, ...] = parts.tools.specs(tools)
        self._instructions = parts.prompt
        self._timers: dict[str, asyncio.Handle] = {}
        self._group: asyncio.TaskGroup | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._round: _Running | None = None
        self._carry: tuple[int, tuple[bytes, ...]] = (0, ())
        self._tools: dict[int, asyncio.Task[None]] = {}
        self._asked: float | None = None  # when the words were read that no turn has begun with
        self._timing: TurnTiming | None = None
        self._cycle_open = False
        self._ended = False  # `end` was sent, or the socket is gone: nothing is sent any more
        self._reason = ""
        self._closing: asyncio.Task[None] | None = None
        self._totals = _Totals()
        self._rate = _Rate()

    # -- life

    async def run(self) -> str:
        """Serves the call until its socket is closed, and returns why it ended. A cancel ends all that belongs to the
        call and leaves what was heard on its way to the history."""
        log.info("call started", resumed=self._resumed, direction=self._setup.direction)
        self._telemetry.calls_active.inc()
        try:
            async with asyncio.TaskGroup() as group:
                self._group = group
                try:
                    self._receive(self._setup)
                    self._spawn(self._prepare(), "prepare")
                    await self._read()
                finally:
                    self._stop()
        finally:
            self._group = None
            self._telemetry.calls_active.dec()
            reason = self._reason or ("completed" if self._socket.closed_cleanly else "dropped")
            self._telemetry.calls_ended.labels(reason).inc()
            totals = self._totals
            log.info(
                "call ended",
                reason=reason,
                seconds=round(self._clock() - self._t0, 3),
                turns=totals.turns,
                tokens_in=totals.input,
                tokens_cached=totals.cached,
                tokens_out=totals.output,
                frames_rejected=totals.rejected,
            )
        return reason

    def late(self, item: ToolItem) -> None:
        """A side effect begun by an earlier session of this call has ended."""
        self._receive(LateResult(item))

    def fenced(self) -> None:
        """A newer session owns the conversation: this one ends quietly."""
        self._close(1000, "fenced")

    async def _read(self) -> None:
        async for raw in self._socket:
            if self._closing is not None:
                return  # what had arrived before the peer learnt of it is not acted on
            if isinstance(raw, bytes):
                self._reject("binary")
                self._close(1003, "binary")
                return
            now = self._clock()
            if self._rate.over(now):
                self._reject("flood")
                continue
            try:
                frame = parse_incoming(raw)
            except InvalidFrame:
                self._reject("malformed")
                continue
            self._frame(frame, now)

    def _frame(self, frame: Incoming, read: float) -> None:
        match frame:
            case Setup():
                self._reject("repeated_setup")
            case Unknown():
                if frame.type != "info":
                    self._reject("unknown")
            case PeerError():
                self._telemetry.peer_errors.labels(str(frame.code)).inc()
                log.warning("twilio reported an error", code=frame.code)
            case Interrupt():
                self._receive(frame)
                self._telemetry.interrupts.inc()
                self._telemetry.interrupt.observe(self._clock() - read)
            case Prompt(last=True):
                if frame.voice_prompt.strip():
                    self._asked = read
                self._receive(frame)
            case _:
                self._receive(frame)

    def _stop(self) -> None:
        """The reader has ended: so does everything that belongs to the session."""
        self._ended = True
        self._receive(SocketClosed())
        for handle in self._timers.values():
            handle.cancel()
        self._timers.clear()
        for task in self._tasks:
            if task is not self._closing:
                task.cancel()

    def _close(self, code: int, reason: str) -> None:
        """Closes the socket from our side; the reader then ends."""
        self._reason = self._reason or reason
        self._ended = True
        if self._closing is None and self._group is not None:
            self._closing = self._spawn(self._socket.close(code, reason), "close")
            if self._round is not None:
                self._cancel_round(self._round.turn)  # nobody will hear it

    async def _know_person(self) -> None:
        self._instructions = await self._parts.instructions()

    async def _prepare(self) -> None:
        """Admission, history and prompt, at once; rule: the call goes on with what is there in time."""
        deadline = self._limits.prepare_deadline
        try:
            # First, by itself: loading the history fences the session that has the conversation now.
            if not await self._parts.admitted():
                log.warning("ticket used before")
                self._close(1008, "ticket")
                return
            before, _ = await asyncio.gather(self._parts.writer.prepare(deadline), self._know_person())
        except Fenced:
            self.fenced()
            return
        except Exception as error:
            self._crashed(error)
            return
        resumed = self._resumed or bool(before.items)
        self._receive(Prepared(before.items, resumed))
        context = self._parts.context
        self._parts.writer.note(agent=context.agent, channel=context.channel, person=context.person)

    # -- between the call and the world

    def _receive(self, event: Event) -> None:
        try:
            for action in self.call.receive(event, self._clock() - self._t0):
                self._perform(action)
        except Exception as error:
            self._crashed(error)

    def _crashed(self, error: Exception) -> None:
        """The machine itself failed: the action callback connects the call anew."""
        log.error("bug in a call", error=type(error).__name__, exc_info=error)
        self._close(1011, "error")

    def _perform(self, action: Action) -> None:
        match action:
            case Say():
                self._say(action.turn, action.text)
            case Close():
                self._close_cycle()
            case Put():
                self._parts.writer.put(action.position, action.item, urgent=action.urgent)
            case StartTurn():
                self._start_round(action)
            case CancelTurn():
                self._cancel_round(action.turn)
            case TurnEnded():
                self._turn_ended(action)
            case StartTool():
                self._start_tool(action)
            case CancelTool():
                if (task := self._tools.pop(action.key, None)) is not None:
                    task.cancel()
            case StartTimer():
                self._start_timer(action.name, action.delay)
            case CancelTimer():
                if (handle := self._timers.pop(action.name, None)) is not None:
                    handle.cancel()
            case End():
                self._end(action)
            case CloseSocket():
                self._close(1000, self._reason or "ended")

    # -- frames out

    def _say(self, turn: int, text: str) -> None:
        if not self.call.current(turn):
            self._telemetry.ghosts.inc()
            return
        if self._write(encode(Text(text))):
            self._cycle_open = True
            if turn and self._timing is not None and self._timing.written(self._clock()):
                self._timing.observe(self._telemetry)
                self._timing = None

    def _close_cycle(self) -> None:
        if self._cycle_open:
            self._cycle_open = False
            self._write(encode(Text("", last=True)))

    def _end(self, action: End) -> None:
        self._close_cycle()
        handoff = None if action.handoff is None else orjson.dumps(action.handoff).decode()
        self._write(encode(EndFrame(handoff)))
        self._reason = action.reason
        self._ended = True

    def _write(self, data: bytes) -> bool:
        if self._ended:
            return False
        if self._socket.unread() > WRITE_LIMIT:
            log.warning("peer does not read")
            self._close(1013, "slow")
            return False
        self._socket.send(data)
        return True

    def _reject(self, reason: str) -> None:
        self._totals.rejected += 1
        self._telemetry.frames_rejected.labels(reason).inc()

    # -- the model

    def _start_round(self, action: StartTurn) -> None:
        carry = self._carry[1] if self._carry[0] == action.turn else ()
        if action.round == 0:
            self._totals.turns += 1
            self._timing = TurnTiming(self._clock() if self._asked is None else self._asked)
            self._asked = None
            self._timing.begun(self._clock())
        elif self._timing is not None:
            self._timing.later_round()
        sink = _RoundSink(self, action.turn)
        request = ModelRequest(
            instructions=self._instructions,
            items=window(self.call.conversation(), self._limits.history_tokens),
            tools=self._specs,
            model=self._parts.model_name,
            tool_choice="auto" if action.tools else "none",
            cache_key=self._parts.context.agent,
            carry=carry,
            on_sent=sink.sent,
        )
        if self._timing is not None:
            self._timing.items(self._clock())
        task = self._spawn(run_round(self._parts.model, request, sink), "round")
        self._round = _Running(action.turn, task, carry)

    def _cancel_round(self, turn: int) -> None:
        if self._round is not None and self._round.turn == turn:
            self._round.task.cancel()
            self._round = None

    def _turn_ended(self, action: TurnEnded) -> None:
        if action.outcome == "done":
            self._parts.effects.settle()
        log.info("turn ended", turn=action.turn, outcome=action.outcome)

    def round_mark(self, mark: Callable[[TurnTiming, float], None]) -> None:
        if self._timing is not None:
            mark(self._timing, self._clock())

    def round_words(self, turn: int, text: str) -> None:
        self._receive(Delta(turn, text))

    def round_finished(self, turn: int, calls: tuple[ToolCall, ...], finished: Finished) -> None:
        usage, totals = finished.usage, self._totals
        for kind in ("input", "cached", "output"):
            count = getattr(usage, kind)
            setattr(totals, kind, getattr(totals, kind) + count)
            self._telemetry.tokens.labels(kind).inc(count)
        if self._round is not None and self._round.turn == turn:
            self._carry = (turn, self._round.carry + finished.carry)
            self._round = None
        self._receive(RoundEnded(turn, finished.reason, calls))

    def round_failed(self, turn: int, code: str) -> None:
        self._telemetry.turn_failures.labels(code).inc()
        self._receive(TurnFailed(turn, code))

    # -- tools

    def _start_tool(self, action: StartTool) -> None:
        if action.owned:
            self._parts.effects.start(action.call, action.key, lambda outcome: self._tool_done(action.key, outcome))
        elif self._group is not None:
            self._tools[action.key] = self._spawn(self._run_tool(action), "tool")

    async def _run_tool(self, action: StartTool) -> None:
        call = action.call
        outcome = await self._parts.tools.run(call.name, call.arguments, self._parts.context)
        self._tool_done(action.key, outcome)

    def _tool_done(self, key: int, outcome: ToolOutcome) -> None:
        self._tools.pop(key, None)
        self._receive(ToolFinished(key, outcome))

    # -- timers and tasks

    def _start_timer(self, name: str, delay: float) -> None:
        if (handle := self._timers.pop(name, None)) is not None:
            handle.cancel()
        if self._group is None:
            return
        loop = asyncio.get_running_loop()
        if name == "reader":
            self._timers[name] = loop.call_soon(self._hop, name, READER_HOPS)
        else:
            self._timers[name] = loop.call_later(delay, self._fired, name)

    def _hop(self, name: str, hops: int) -> None:
        if hops:
            self._timers[name] = asyncio.get_running_loop().call_soon(self._hop, name, hops - 1)
        else:
            self._fired(name)

    def _fired(self, name: str) -> None:
        self._timers.pop(name, None)
        self._receive(TimerFired(name))

    def _spawn(self, coroutine: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None]:
        assert self._group is not None
        task = self._group.create_task(coroutine, name=f"{name} {self._setup.call_sid}")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task
