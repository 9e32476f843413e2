"""Puts a call together: agent, history, person, tools and model for one admitted websocket."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import asdict, replace
from datetime import UTC, datetime
from functools import partial

import structlog

from channels.twilio.speaking import with_voice_guidelines
from channels.twilio.tickets import Ticket
from channels.twilio.twiml import session_attributes
from config.definition import AgentDefinition
from config.prompts import render_prompt
from handlers.callbacks import PROVIDER, SECOND, other_end, own_end
from handlers.cast import CallCast
from handlers.connecting import CLOSED, CLOSED_NOTE, HANDED, LANGUAGE, is_closed, opening, returned_note
from handlers.intake import Intake
from handlers.websocket import AiohttpSocket
from relay.conversations import Conversations
from relay.errors import Fenced
from relay.events import Order
from relay.frames import Setup
from relay.items import ToolItem
from relay.jobs import Jobs
from relay.logs import Current
from relay.masks import Masks
from relay.models.base import LanguageModel
from relay.operator import Refusal
from relay.parts import SessionParts
from relay.rules import CallLimits, CallRules
from relay.session import CallSession
from relay.sideeffects import SideEffects
from relay.spans import NoSpans, Spans
from relay.store.effects import Effects
from relay.store.people import People, Person, is_known, person_id
from relay.telemetry import Telemetry
from relay.toolbox import ToolBox, ToolContext
from relay.trace import NoTrail, Trail
from relay.writer import epoch_ms

CHANNEL = "voice"


def untraced(call_sid: str, channel: str, person: str) -> Trail:
    """For calls that nobody may look at."""
    return NoTrail()


class Calls:
    """``limits``: those of every call, which an agent's own replace. ``model_name``: the model an agent's requests
    name. ``foreseen``: called when a caller is heard whose turn is to come. ``can_transfer``: there is a number to hand
    calls to. ``begun``: called when a call begins, with its CallSid, the person and the moment in ms since 1970;
    ``left``: when a session of it has ended, however. ``fresh``: awaited before its agent is looked up. ``intake``: has
    the places that calls take and the budget they use. ``trail``: where the trace of a call goes, by its CallSid, its
    channel and the person. ``worker``: the name of this process. ``spans``: of a tracing system."""

    def __init__(
        self,
        agents: Mapping[str, AgentDefinition],
        default_agent: str,
        model: LanguageModel,
        model_name: Callable[[AgentDefinition], str],
        tools: ToolBox,
        conversations: Conversations,
        effects: Effects,
        people: People,
        jobs: Jobs,
        telemetry: Telemetry,
        limits: CallLimits,
        intake: Intake,
        *,
        foreseen: Callable[[], object] = lambda: None,
        begun: Callable[[str, str, int], object] = lambda call_sid, person, at_ms: None,
        left: Callable[[str], object] = lambda call_sid: None,
        fresh: Callable[[], Awaitable[object]] | None = None,
        can_transfer: bool = False,
        trail: Callable[[str, str, str], Trail] = untraced,
        worker: str = "",
        spans: Spans | None = None,
    ) -> None:
        self._agents = agents
        self._default = default_agent
        self._model = model
        self._model_name = model_name
        self._tools = tools
        self._conversations = conversations
        self._effects = effects
        self._people = people
        self._jobs = jobs
        self._telemetry = telemetry
        self._limits = limits
        self._intake = intake
        self._foreseen = foreseen
        self._begun = begun
        self._left = left
        self._fresh = fresh
        self._can_transfer = can_transfer
        self._trail = trail
        self._worker = worker
        self._sessions: dict[str, CallSession] = {}  # of each call the newest: it has fenced the others
        self._spans = spans or NoSpans()
        self._handing_on: float | None = None

    def hand_on(self, limit: float) -> None:
        """The process leaves: every session hands its call back within ``limit`` seconds, also one that begins now."""
        self._handing_on = limit
        for session in [*self._sessions.values()]:
            session.hand_on(limit)

    def operate(self, call_sid: str, order: Order) -> Refusal | None:
        """An operator has the call do this: why it does not, "" where it does, None where it is not here."""
        session = self._sessions.get(call_sid)
        return None if session is None else session.operate(order)

    async def serve(
        self,
        socket: AiohttpSocket,
        setup: Setup,
        ticket: Ticket,
        attempt: int,
        admitted: Callable[[], Awaitable[bool]],
    ) -> str:
        """Runs the call on this socket and returns why it ended. A cancel ends it and keeps what was heard."""
        if self._fresh is not None:
            await self._fresh()
        agent = self._agents[ticket.agent if ticket.agent in self._agents else self._default]
        epoch = epoch_ms()
        second = setup.custom_parameters.get(PROVIDER) == SECOND
        closed = setup.custom_parameters.get(CLOSED) == "1"
        number = other_end(setup.from_, setup.to, setup.direction)
        person = person_id("phone", number, setup.call_sid)
        context = ToolContext(
            setup.call_sid,
            CHANNEL,
            agent.name,
            person,
            address=number if is_known(person) else "",
            own_address=own_end(setup.from_, setup.to, setup.direction),
        )

        def is_shut(other: AgentDefinition) -> bool:
            """As its caller was told where the call has begun with it; calls that we place have no hours."""
            if other.name == agent.name:
                return closed
            return not setup.direction.startswith("outbound") and is_closed(other, time.time())

        cast = CallCast(
            agent,
            self._agents,
            self._tools,
            self._model_name,
            partial(self._prompt, is_shut, context.address),
            self._people,
            person,
            deadline=self._limits.prepare_deadline,
            second=second,
            conversation=setup.call_sid,
            channel=CHANNEL,
        )
        language = setup.custom_parameters.get(LANGUAGE, "")
        talking = Current(agent.name)
        session: CallSession | None = None
        masks = Masks()

        def fenced() -> None:
            if session is not None:
                session.fenced()

        def late(item: ToolItem) -> None:
            if session is not None:
                session.late(item)

        try:
            writer = self._conversations.open(
                setup.call_sid, epoch, session=setup.session_id, on_fenced=fenced, on_late=late
            )
        except Fenced:
            await socket.close(1000, "fenced")
            return "fenced"
        spans = self._spans.call(
            setup.call_sid,
            channel=CHANNEL,
            agent=agent.name,
            direction=setup.direction,
            epoch=epoch,
            resumed=attempt > 0,
            masks=masks,
        )
        try:
            session = CallSession(
                socket,
                setup,
                self._rules(agent, cast, epoch, attempt, context, second=second, closed=closed, language=language),
                SessionParts(
                    model=self._model,
                    cast=cast,
                    tools=self._tools,
                    writer=writer,
                    effects=SideEffects(self._tools, self._effects, self._jobs, context, epoch, masks),
                    telemetry=self._telemetry,
                    admitted=admitted,
                    context=context,
                    masks=masks,
                    foreseen=self._foreseen,
                    begun=lambda at_ms: self._begun(setup.call_sid, person, at_ms),
                    talking=talking.become,
                    reconnects=session_attributes(agent, second=second).get("applicationReconnect") == "true",
                    returned=returned_note(setup.custom_parameters),
                    allowance=self._intake.budget.of(person),
                    trail=self._trail(setup.call_sid, CHANNEL, person),
                    worker=self._worker,
                    spans=spans,
                ),
                resumed=attempt > 0,
                handed=setup.custom_parameters.get(HANDED) == "1",
            )
            self._sessions[setup.call_sid] = session
            if self._handing_on is not None:  # this call was on its way in
                asyncio.get_running_loop().call_soon(session.hand_on, self._handing_on)
            with (
                structlog.contextvars.bound_contextvars(agent=talking),
                self._intake.room.inside(setup.call_sid),
                spans.inside(),
            ):
                return await session.run()
        finally:
            if session is not None and self._sessions.get(setup.call_sid) is session:
                del self._sessions[setup.call_sid]
            self._conversations.release(writer)
            self._left(setup.call_sid)

    def _rules(
        self,
        agent: AgentDefinition,
        cast: CallCast,
        epoch: int,
        attempt: int,
        context: ToolContext,
        *,
        second: bool,
        closed: bool,
        language: str,
    ) -> CallRules:
        attributes = session_attributes(agent, second=second)
        own = {name: value for name, value in agent.limits.items() if name in CallLimits.__dataclass_fields__}
        manner = cast.manner(agent.name)
        assert manner is not None
        return CallRules(
            manner=manner,
            manners=cast.manner,
            policy=self._tools.policy,
            canonical=self._tools.canonical,
            objection=lambda call, spoken: self._tools.objection(
                call.name, call.arguments, replace(context, language=spoken)
            ),
            epoch=epoch,
            greeting="" if attempt else opening(agent, closed=closed),
            language=language,
            interruptible=attributes.get("interruptible", "any") in ("any", "speech", "true"),
            preemptible=attributes.get("preemptible") == "true",
            speculation=bool(agent.speculation),
            can_transfer=self._can_transfer,
            can_switch=bool(agent.second) and not second,
            **(asdict(self._limits) | own),
        )

    def _prompt(
        self,
        is_shut: Callable[[AgentDefinition], bool],
        number: str,
        agent: AgentDefinition,
        person: Person | None,
    ) -> str:
        demos = [other for other in self._agents.values() if other.name != agent.name and not other.unlisted]
        known = asdict(person) | {"number": number} if person else None
        prompt = with_voice_guidelines(render_prompt(agent, person=known, demos=demos, now=datetime.now(UTC)))
        return f"{prompt}\n{CLOSED_NOTE}\n" if is_shut(agent) else prompt
