"""One websocket, one call: carries out what ``Call`` decides, and tells it what happened.

Tasks of a session, all inside one group and gone when ``run`` returns: the reader (``run`` itself), ``prepare``, at
most one ``round`` (a model request) and one ``speculation`` (a request ahead of its turn), ``person`` (a look-up, at
the beginning and whenever more is known), and the tools that belong to a turn. Tools with a side effect belong to the
process.

    reader --frame--> Call.receive --actions--> here --> socket, model, tools, history, timers
       ^                                                        |
       '------- Delta, RoundEnded, ToolFinished, timers --------'

Words leave at one place, ``_say``: the turn's number is compared and the frame is written with nothing in between that
could suspend, so nothing stale can follow an interrupt.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine, Mapping, Sequence
from contextvars import Context, copy_context
from typing import Any

import structlog

from relay.call import Call
from relay.errors import Fenced, InvalidFrame
from relay.events import (
    Action,
    CancelTimer,
    CancelTool,
    CancelTurn,
    Carry,
    Close,
    CloseSocket,
    Delta,
    DigitsCollected,
    Drain,
    DropSpeculation,
    End,
    Event,
    LateResult,
    Mark,
    Noted,
    Operator,
    Order,
    Play,
    Prepared,
    Put,
    Reconnected,
    Say,
    SetLanguage,
    SocketClosed,
    Speculate,
    StartTimer,
    StartTool,
    StartTurn,
    TimerFired,
    ToolFinished,
    TurnEnded,
)
from relay.flood import PROMPTS_PER_SECOND, Rate
from relay.frames import (
    ClientSpeaking,
    Dtmf,
    Incoming,
    Interrupt,
    PeerError,
    Prompt,
    Setup,
    Unknown,
    parse_incoming,
)
from relay.items import AssistantItem, Item, ToolItem
from relay.operator import Refusal
from relay.outgoing import Outgoing, Socket
from relay.parts import SessionParts
from relay.replay import HIDDEN_KEY, WINDOW, Gate, digest
from relay.rounds import Rounds
from relay.rules import CallRules
from relay.stage import Stage
from relay.tally import Tally
from relay.timers import Timers
from relay.toolbox import (
    Change,
    PersonChanged,
    SendDigits,
    SwitchAgent,
)
from relay.toolruns import ToolRuns
from relay.trace import SessionTrace
from relay.turn import window
from relay.writer import Prepared as Before

log = structlog.get_logger()

LOST = frozenset({"dropped", "error", "slow"})  # ways a socket ends after which another may come for its session


class CallSession:
    """Serves one call on one socket, after its ``setup`` has been read and checked. Use once."""

    def __init__(
        self,
        socket: Socket,
        setup: Setup,
        rules: CallRules,
        parts: SessionParts,
        *,
        resumed: bool = False,
        handed: bool = False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._socket = socket
        self._setup = setup
        self._parts = parts
        self._rules = rules
        self._resumed, self._handed = resumed, handed
        self._clock = clock
        self._t0 = clock()
        self.call = Call(rules)
        self._trace = SessionTrace(
            parts.trail,
            epoch=rules.epoch,
            begun=self._t0,
            clock=clock,
            given=self.call.speaking.given,
            agent=lambda: self.call.manner.agent,
            place=parts.writer.position,
            spans=parts.spans,
        )
        self._out = Outgoing(socket, self._slow, self._trace.wrote)
        self._telemetry = parts.telemetry
        self._rounds = Rounds(
            parts.model, parts.telemetry, self._trace, self._receive, self._spawn, clock, parts.allowance
        )
        self._tally = Tally(parts.writer, self._rounds.total, self._trace)
        self._stage = Stage(self.call, parts.cast, parts.tools, parts.writer, self._out, self._rounds)
        self._person: asyncio.Task[None] | None = None  # a look-up of what is new
        self._gate = Gate() if parts.reconnects else None
        self._noted = ("", False)  # what a later socket is to know: the marks of what was told, and ``unfinished``
        self._timers = Timers(self._fired)
        self._group: asyncio.TaskGroup | None = None
        self._context: Context | None = None  # of the task that runs the session
        self._tasks: set[asyncio.Task[None]] = set()
        self._tools = ToolRuns(
            self.call, parts, self._trace, self._receive, self._told, self._spawn, self._gate, lambda: self._alive
        )
        self._reason = ""
        self._closing: asyncio.Task[None] | None = None
        self._rejected = 0
        self._rate, self._prompts = Rate(), Rate(PROMPTS_PER_SECOND)

    # -- life

    async def run(self) -> str:
        """Serves the call until its socket is closed, and returns why it ended. A cancel ends all that belongs to the
        call and leaves what was heard on its way to the history."""
        log.info("call started", resumed=self._resumed, direction=self._setup.direction)
        self._telemetry.calls_active.inc()
        try:
            async with asyncio.TaskGroup() as group:
                self._group, self._context = group, copy_context()
                try:
                    self._receive(self._setup)
                    self._spawn(self._prepare(), "prepare")
                    await self._read()
                finally:
                    self._stop()
        finally:
            self._group = None
            self._telemetry.calls_active.dec()
            reason = self._why()
            self._trace.ended(reason, self._rounds.total.turns, unsaid=self.call.unsaid)
            self._tally.session_ended(reason)
            if reason not in LOST:
                self._parts.writer.end()
            self._telemetry.calls_ended.labels(reason).inc()
            total = self._rounds.total
            log.info(
                "call ended",
                reason=reason,
                seconds=round(self._clock() - self._t0, 3),
                turns=total.turns,
                frames_rejected=self._rejected,
                **total.fields(),
            )
            self._let_go()
        return reason

    def _let_go(self) -> None:
        """From now on the session lives as long as its writer may have something to tell, or a tool goes on."""
        for part in (self._rounds, self._timers, self._tools, self._out, self._trace):
            part.let_go()
        self._context = None

    def late(self, item: ToolItem) -> None:
        """A side effect begun by an earlier session of this call has ended."""
        self._receive(LateResult(item))

    def hand_on(self, limit: float) -> None:
        """The process leaves: within ``limit`` seconds the call is handed back to Twilio, and another process goes on
        with it. A call that has ended stays as it is."""
        self._receive(Drain(limit))

    def operate(self, order: Order) -> Refusal:
        """Somebody who watches the call has it do this; returns why it does not, "" where it does."""
        if self._context is None or not self._alive:
            return "ended"
        refusal = self.call.refusal(order)
        if not refusal:
            self._context.run(self._receive, Operator(order))  # what it begins is the call's, in the log too
        return refusal

    def fenced(self) -> None:
        """A newer session, or a newer socket of this one, owns the conversation: this one ends quietly."""
        self._close(1000, "fenced")

    def _why(self) -> str:
        return self._reason or ("completed" if self._socket.closed_cleanly else "dropped")

    async def _read(self) -> None:
        async for raw in self._socket:
            if self._closing is not None:
                return  # what had arrived before the peer learnt of it is not acted on
            if isinstance(raw, bytes):
                self._reject("binary")
                self._close(1003, "binary")
                return
            now = self._clock()
            over = self._rate.over(now)
            if over and not self._spare():
                if self._rate.hopeless:
                    self._give_up()
                    return
                continue
            try:
                frame = parse_incoming(raw)
            except InvalidFrame:
                self._reject("malformed")
                continue
            if isinstance(frame, Prompt) and frame.last and self._prompts.over(now):
                if not over and not self._spare():
                    continue
                over = True
            if self._gate is None:
                self._frame(frame, now)
            else:
                self._let_in(self._gate.take(frame, over), self._gate)

    def _spare(self) -> bool:
        """Whether a frame over the rate is read all the same: it may be a replay. Else it is dropped."""
        if self._gate is not None and self._gate.spare():
            return True
        self._reject("flood")
        return False

    def _give_up(self) -> None:
        """Such a peer is left without a word: reading even its goodbye would cost the other calls."""
        log.warning("peer floods")
        self._reason = self._reason or "flood"
        self._out.stopped = True
        self._socket.abort()

    def _let_in(self, frames: Sequence[Incoming], gate: Gate) -> None:
        """Acts on what is no replay."""
        for frame in frames:
            hidden = isinstance(frame, Dtmf) and self.call.collecting
            gate.told.add(HIDDEN_KEY if hidden else digest(frame))
            self._frame(frame, self._clock())

    def _note(self, gate: Gate) -> None:
        """Notes what a later socket is not to answer again, once it is on record, and whether it is to go on."""
        told, unfinished = self._noted
        if not self.call.unrecorded:
            told = gate.told.text
        if not self._out.stopped:
            unfinished = self.call.unfinished
        if self._noted != (told, unfinished):
            self._noted = told, unfinished
            self._parts.writer.note(told=told, unfinished=int(unfinished))

    def _frame(self, frame: Incoming, read: float) -> None:
        self._trace.read(frame, read)
        if isinstance(frame, ClientSpeaking | Interrupt | Dtmf) or (isinstance(frame, Prompt) and not frame.last):
            self._parts.foreseen()
        match frame:
            case Setup():
                self._reject("repeated_setup")
            case Unknown():
                if frame.type != "info":
                    self._reject("unknown")
            case PeerError():
                # Only ConversationRelay's own codes are labels: any number in the text could be taken for one.
                known = 64000 <= frame.code < 65000
                self._telemetry.peer_errors.labels(str(frame.code) if known else "other").inc()
                log.warning("twilio reported an error", code=frame.code)
                self._receive(frame)
            case Interrupt():
                self._receive(frame)
                self._telemetry.interrupts.inc()
                self._telemetry.interrupt.observe(self._clock() - read)
            case Prompt(last=True):
                if frame.voice_prompt.strip():
                    self._rounds.prompted(read)
                self._receive(frame)
                self._stage.keep()
            case _:
                self._receive(frame)

    def _stop(self) -> None:
        """The reader has ended: so does everything that belongs to the session."""
        self._out.stopped = True
        self._receive(SocketClosed(plays_on=self._gate is not None and self._why() in LOST))
        self._rounds.stop()
        self._timers.stop()
        for task in self._tasks:
            if task is not self._closing:
                task.cancel()
        self._tools.stop()
        self._group = None  # what is told from now on, such as that another session has the call, begins nothing

    def _close(self, code: int, reason: str) -> None:
        """Closes the socket from our side; the reader then ends."""
        self._reason = self._reason or reason
        self._out.stopped = True
        if self._closing is None and self._group is not None:
            self._closing = self._spawn(self._socket.close(code, reason), "close")
            self._rounds.stop()  # nobody will hear it

    async def _prepare(self) -> None:
        """Admission, then history and prompt at once; the call goes on with what is there in time."""
        deadline = self._rules.prepare_deadline
        try:
            # First, by itself: loading the history fences the session that has the conversation now.
            if not await self._parts.admitted():
                log.warning("ticket used before")
                self._parts.writer.close()  # the conversation is another session's: nothing of this one is written
                self._close(1008, "ticket")
                return
            person = self._spawn(self._parts.cast.look_up(), "person")
            before = await self._parts.writer.prepare(deadline)
            await asyncio.wait([person])
        except Fenced:
            self.fenced()
            return
        except Exception as error:
            self._crashed(error)
            return
        context, epoch = self._parts.context, self._parts.writer.epoch
        begun = before.state.get("begun", "")
        self._restore(before.state)
        self._parts.writer.note(
            agent=self.call.manner.agent,
            agents=self._stage.agents,
            channel=context.channel,
            person=context.person,
            begun=begun or str(epoch),
        )
        self._parts.writer.note(**{"from": self._setup.from_, "to": self._setup.to, "worker": self._parts.worker})
        self._tally.take_up(before.state)
        self._trace.session(self._setup.session_id, resumed=self._resumed or bool(begun))
        if not begun:
            self._parts.begun(epoch)
        if before.same:
            self._reconnected(before)
        if self._gate is not None:
            self._open(self._gate, before)
        elapsed = max(0, epoch - int(begun)) / 1000 if begun.isdecimal() else 0.0
        if self._parts.returned and not before.same:
            self._receive(Noted(self._parts.returned))  # before, so that the first turn is about it
        self._receive(Prepared(before.items, self._resumed or bool(before.items), elapsed, self._handed))

    def _reconnected(self, before: Before) -> None:
        unfinished = before.state.get("unfinished") == "1"
        log.info("socket of a session replaced", unfinished=unfinished)
        last = before.playing[-1][1] if before.playing else None
        # Nobody has closed the talk cycle of a reply that was being sent.
        open_reply = isinstance(last, AssistantItem) and last.status == "open" and not last.origin
        self._out.cycle_open = unfinished and open_reply
        self._out.close_cycle()
        self._receive(Reconnected(before.playing, unfinished))

    def _open(self, gate: Gate, before: Before) -> None:
        """Now it is known what may be told again. Before the call goes on, so that it goes on from what is new."""
        told = before.state.get("told", "") if before.same else None
        self._noted = before.state.get("told", ""), before.state.get("unfinished") == "1"
        frames, dropped = gate.open(told)
        for _ in range(dropped):
            self._reject("flood")
        self._let_in(frames, gate)
        self._note(gate)
        self._timers.start("replay", WINDOW)

    # -- between the call and the world

    def _receive(self, event: Event) -> None:
        if self._closing is not None and not isinstance(event, ToolFinished | LateResult | SocketClosed):
            return  # all that is left is to write down how it ended
        try:
            for action in self.call.receive(event, self._clock() - self._t0):
                self._perform(action)
            if self._gate is not None and type(event) is not Delta:
                self._note(self._gate)
        except Exception as error:
            self._crashed(error)

    def _crashed(self, error: Exception) -> None:
        """The machine itself failed: the action callback connects the call anew."""
        log.error("bug in a call", error=type(error).__name__, exc_info=error)
        self._close(1011, "error")

    def _perform(self, action: Action) -> None:
        match action:
            case Say():
                self._say(action)
            case Close():
                self._out.close_cycle()
            case Play():
                self._out.sound(action.source, preemptible=action.preemptible, interruptible=action.interruptible)
            case Put():
                item = self._parts.masks.item(action.position, action.item)
                self._parts.writer.put(action.position, item, urgent=action.urgent)
            case StartTurn() | Speculate() | StartTool() | StartTimer() if self._closing is not None:
                pass
            case StartTurn():
                instructions = self._stage.instructions(action.language)
                self._rounds.start(action, self._shown(), instructions, self._person)
            case CancelTurn():
                self._rounds.cancel()
            case Speculate():
                language = self.call.told(action.words.lang)
                self._rounds.speculate(self._shown(action.words), self._stage.instructions(language)())
            case DropSpeculation():
                self._rounds.drop()
            case TurnEnded():
                self._turn_ended(action)
            case Carry(change=SendDigits(digits)):
                self._out.tones(digits)
            case Carry():
                self._carry(action.change)
            case SetLanguage():
                self._out.language(action.spoken, action.understood)
            case Mark():
                self._out.mark(action.language)
            case StartTool():
                self._tools.start(action)
            case CancelTool():
                self._tools.cancel(action.key)
            case DigitsCollected():
                self._tools.collected(action)
            case StartTimer(name="reader"):
                self._timers.start_behind_reader(action.name)
            case StartTimer():
                self._timers.start(action.name, action.delay)
            case CancelTimer():
                self._timers.cancel(action.name)
            case End():
                self._reason = action.reason
                self._out.end(self._masked(action.handoff))
            case CloseSocket():
                self._close(1000, self._reason or "ended")

    # -- changes

    def _carry(self, change: Change) -> None:
        """Does what is left of a change, which the call goes by already."""
        if isinstance(change, SwitchAgent):
            self._parts.talking(change.agent)
            log.info("agent switched")
        elif isinstance(change, PersonChanged) and self._group is not None and self._closing is None:
            if self._person is not None:
                self._person.cancel()  # what it has read may be what was before
            self._person = self._spawn(self._parts.cast.look_up(), "person")
        self._stage.follow()

    def _restore(self, state: Mapping[str, str]) -> None:
        """Takes up what an earlier session of the call has left."""
        restored = self._stage.left(state)
        if restored is not None:
            self._receive(restored)
            self._parts.talking(restored.manner.agent)
        self._stage.follow()

    # -- frames out

    def _say(self, action: Say) -> None:
        if not self.call.current(action.turn):
            self._telemetry.ghosts.inc()
        elif action.aside:
            self._out.aside(action.text)
        elif self._out.words(action.text) and action.turn:
            self._rounds.written()

    def _masked(self, handoff: dict[str, str] | None) -> dict[str, str] | None:
        """Twilio keeps what it is handed, and so do we for whoever takes the call: none of it holds keys."""
        return handoff and {name: self._parts.masks.text(value) for name, value in handoff.items()}

    def _slow(self) -> None:
        log.warning("peer does not read")
        self._close(1013, "slow")

    def _reject(self, reason: str) -> None:
        self._rejected += 1
        self._telemetry.frames_rejected.labels(reason).inc()

    # -- the model

    def _shown(self, *more: Item) -> list[Item]:
        """What the model is shown of the conversation, and of what may follow it."""
        return window([*self.call.conversation(), *more], self._rules.history_tokens)

    def _turn_ended(self, action: TurnEnded) -> None:
        if action.outcome == "done":
            self._parts.effects.settle()
        if action.shortened:
            log.warning("reply ended at REPLY_MAX_CHARS", turn=action.turn)
        self._rounds.ended(action)
        self._trace.turn_ended(action.turn, action.outcome, closed=self._out.stopped)
        self._tally.turn_ended()

    # -- tools

    def _told(self, text: str) -> None:
        if self._group is not None:
            self._receive(Noted(text))

    @property
    def _alive(self) -> bool:
        return self._group is not None and self._closing is None

    # -- timers and tasks

    def _fired(self, name: str) -> None:
        if name == "replay" and self._gate is not None:
            self._let_in(self._gate.settle(), self._gate)
            if self._gate.recognised:
                log.info("events told again", count=self._gate.recognised)
        else:
            self._receive(TimerFired(name))

    def _spawn(self, coroutine: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None]:
        assert self._group is not None
        task = self._group.create_task(coroutine, name=f"{name} {self._setup.call_sid}")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task
