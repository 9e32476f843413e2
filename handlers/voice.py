"""The two webhooks of a phone call: ``POST /voice/incoming`` starts it, ``POST /voice/action`` says how it goes on
when a ConversationRelay session is over (conversation-relay.md 2.4, 9.1; call-rules.md, Resumption).

Neither needs Redis: the ticket is signed, and how often a call was resumed stands in the action URL, which Twilio's
signature covers. So any process answers any delivery, and answers a repeated one alike. Where Redis answers in time it
tells which agent the call was switched to and which language the caller speaks.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace

import structlog
from aiohttp import web
from multidict import MultiMapping

from channels.twilio import twiml
from handlers.call_memory import CallMemory, Whisper
from handlers.callbacks import (
    Deliveries,
    Outcome,
    call_sid_of,
    decide,
    delivery_keys,
    handoff,
    is_outbound,
    provider_failed,
    reported,
    xml,
)
from handlers.connecting import (
    HANDED,
    Connector,
    Place,
    VoiceAgent,
    recorded_notice,
    spoken_tag,
)
from handlers.guard import TwilioGate
from handlers.handover import LOOKUP_DEADLINE, Ended, Handover, People, Person, Transfer, look_up, person_of
from handlers.intake import Intake, Reason
from relay.ending import HANDED_ON
from relay.store.callstatus import CallState
from relay.turns import TROUBLE

OUT_OF_HOURS = "outside business hours"
"""Reasons of a hand-over that no agent has asked for, as a queue gets them."""

UNOPENED = "64102"
"""ErrorCode of a session whose websocket could not be opened: the caller has heard nothing of it."""

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class _Answer:
    """How the end of a session was answered: the same for each delivery of it."""

    outcome: Outcome
    agent: str
    language: str
    second: bool
    handed: bool
    told: bool


class VoiceWebhooks:
    """``people`` None: nobody is looked up. ``intake`` None: every call is taken.

    ``ended``: called once for each session's end however often it is delivered, with CallSid and outcome.
    ``draining``: True once no new calls are taken (503); sessions that end are still answered.
    ``fresh``: awaited before a call's agent is chosen, such as a look at the agents on disk; ends by its own deadline.
    """

    def __init__(
        self,
        gate: TwilioGate,
        connector: Connector,
        handover: Handover,
        memory: CallMemory,
        *,
        people: People | None = None,
        intake: Intake | None = None,
        resume_limit: int = 3,
        lookup_deadline: float = LOOKUP_DEADLINE,
        ended: Ended = lambda call_sid, outcome: None,
        draining: Callable[[], bool] = lambda: False,
        fresh: Callable[[], Awaitable[object]] | None = None,
    ) -> None:
        self._gate = gate
        self._connector = connector
        self._handover = handover
        self._memory = memory
        self._people = people
        self._intake = intake
        self._resume_limit = resume_limit
        self._lookup_deadline = lookup_deadline
        self._ended = ended
        self._draining = draining
        self._fresh = fresh
        self._delivered: Deliveries[_Answer] = Deliveries()

    def __len__(self) -> int:
        """How many keys of answers are remembered."""
        return len(self._delivered)

    async def incoming(self, request: web.Request) -> web.Response:
        """A call rings: TwiML that connects it to the websocket. A cancel leaves nothing behind.

        A limit that is reached (``intake.py``) turns the caller away with a kind line; on a call that we have placed it
        was looked at before that. Outside business hours an agent without a greeting for them leaves the call to a
        person, if there is a way: that is no matter of our limits.
        """
        form = await self._gate.form(request)
        call_sid = call_sid_of(form)
        if self._draining():
            raise web.HTTPServiceUnavailable(text="This process is leaving and takes no new calls.\n")
        if self._fresh is not None:
            await self._fresh()
        named = request.query.get("agent", "")
        person, refusal = await asyncio.gather(self._caller(form, call_sid, named), self._refusal(form, call_sid))
        agent = self._connector.named(named or (person.agent if person else ""))
        closed = self._connector.closed(agent, form)
        if closed and not agent.closed_greeting and self._handover.destination:
            first = twiml.Words(recorded_notice(agent), spoken_tag(agent, agent.language))
            whisper = self._line(agent, "whisper_hours", "")
            call = Transfer(agent, Place(), whisper, OUT_OF_HOURS, first, record=agent.record)
            return xml(await self._handover.transfer(request, form, call))
        if self._intake is not None and not is_outbound(form):
            # Others may have come meanwhile; between this look and the connection nobody does.
            reason: Reason | None = refusal or ("busy" if self._intake.room.full(call_sid) else None)
            if reason is not None:
                return xml(self._intake.refuse(reason, self._connector, agent, person.language if person else ""))
        return xml(self._connector.connect(request, agent, call_sid, Place(), closed=closed))

    async def action(self, request: web.Request) -> web.Response:
        """A session is over. A cancel after the count leaves the outcome remembered for the next delivery."""
        form = await self._gate.form(request)
        call_sid, place = call_sid_of(form), Place.of(request.query)
        keys = delivery_keys(request, call_sid, "session", form.get("SessionId", ""), place.attempt)
        answer = self._delivered.get(keys)
        if answer is None:
            state = await self._memory.read(call_sid)
            # Another delivery may have been answered meanwhile.
            answer = self._delivered.get(keys) or await self._decided(request, form, call_sid, place, keys, state)
        return xml(await self._document(request, form, call_sid, place, answer))

    async def _decided(
        self,
        request: web.Request,
        form: MultiMapping[str],
        call_sid: str,
        place: Place,
        keys: list[str],
        state: CallState | None,
    ) -> _Answer:
        agent = self._connector.named(state.agent if state else "", request.query.get("agent", ""))
        second = place.second or (bool(agent.second) and provider_failed(form))
        handed = handoff(form).get(HANDED) == HANDED_ON[HANDED]
        # None of these is an attempt to mend a broken call: changing to the other provider, coming back from a person,
        # being handed on by a process that leaves. They are not counted, and end by themselves.
        limit = self._resume_limit + second + place.returns + place.handed + handed
        destination = self._handover.destination
        outcome = decide(form, place.attempt, resume_limit=limit, can_transfer=bool(destination))
        machine = is_outbound(form) and state is not None and bool(state.answered_by)
        if machine:
            outcome = "voicemail" if agent.voicemail else "machine"
        elif outcome == "transfer" and destination.studio_flow:
            outcome = "transferred"  # nobody tells us of a flow's end
        language = handoff(form).get("language", "") or (state.language if state else "")
        told = handed or (place.told and form.get("ErrorCode") == UNOPENED)
        answer = _Answer(outcome, agent.name, language, second, handed, told)
        self._delivered.put(keys, answer)
        log.info("session ended", call_sid=call_sid, attempt=place.attempt, outcome=outcome, **reported(form))
        if not machine:  # what answered has told that already
            self._ended(call_sid, outcome)
            if state is not None:
                await self._memory.note(call_sid, outcome=outcome)
        return answer

    async def _document(
        self, request: web.Request, form: MultiMapping[str], call_sid: str, place: Place, answer: _Answer
    ) -> str:
        agent, language = self._connector.named(answer.agent), answer.language
        match answer.outcome:
            case "resume":
                following = replace(place.next(handed=answer.handed, told=answer.told), second=answer.second)
                closed = self._connector.closed(agent, form)
                return self._connector.connect(request, agent, call_sid, following, closed=closed, language=language)
            case "transfer" | "transferred":
                data = handoff(form)
                if data.get("reason") == TROUBLE:  # our own words, which are there in the caller's language
                    whisper = self._line(agent, "whisper_trouble", language)
                    return await self._handover.transfer(request, form, Transfer(agent, place, whisper, TROUBLE))
                whisper = Whisper(data.get("reason", ""), data.get("summary", ""), spoken_tag(agent, language))
                return await self._handover.transfer(request, form, Transfer(agent, place, whisper))
            case "given_up" if self._handover.destination:
                first = self._connector.words(agent, "trouble_bridge", language)
                call = Transfer(
                    agent, place, self._line(agent, "whisper_trouble", language), TROUBLE, first, final=True
                )
                return await self._handover.transfer(request, form, call)
            case "given_up" | "nobody":
                line = "trouble" if answer.outcome == "given_up" else "nobody"
                words = self._connector.words(agent, line, language)
                return twiml.say_and_hangup(words.text, language=words.language)
            case "voicemail":
                return voicemail(agent)
            case "hangup" | "machine":
                return twiml.say_and_hangup()
            case _:
                return twiml.empty()

    def _line(self, agent: VoiceAgent, line: str, language: str) -> Whisper:
        """One of the agent's fixed lines, to be whispered."""
        words = self._connector.words(agent, line, language)
        return Whisper(summary=words.text, language=words.language)

    async def _caller(self, form: MultiMapping[str], call_sid: str, named: str) -> Person | None:
        """Who calls, where that chooses the agent."""
        return None if named else await look_up(self._people, form, call_sid, self._lookup_deadline)

    async def _refusal(self, form: MultiMapping[str], call_sid: str) -> Reason | None:
        """Why the caller is not taken, for their own sake; a person we call is never turned away."""
        if self._intake is None or is_outbound(form):
            return None
        return await self._intake.caller(person_of(form, call_sid), call_sid)


def voicemail(agent: VoiceAgent) -> str:
    """What is left on an answering machine."""
    return twiml.say_and_hangup(agent.voicemail, language=spoken_tag(agent, agent.language))
