"""Handing a call to a person, and taking it back when nobody answers.

Where to, by the settings, the first that is set: a Studio flow (TRANSFER_STUDIO_FLOW), TaskRouter's queue
(TRANSFER_WORKFLOW_SID), a number or a SIP address (TRANSFER_TO). A number or SIP address is told first who is coming
(``POST /voice/whisper``), a queue has it in the attributes of its task, a flow is told nothing. Of a flow nobody comes
back; of the others ``POST /voice/dialled`` is asked how the call goes on.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol
from urllib.parse import quote, urlencode

import orjson
import structlog
from aiohttp import web
from multidict import MultiMapping

from channels.twilio import twiml
from config.settings import Settings
from handlers.call_memory import CallMemory, Whisper
from handlers.callbacks import (
    DIALLED,
    OVER,
    WHISPER,
    Deliveries,
    Outcome,
    call_sid_of,
    delivery_keys,
    is_call_sid,
    is_outbound,
    other_end,
    own_end,
    reported,
    xml,
)
from handlers.connecting import Connector, Place, VoiceAgent, spoken_tag
from handlers.guard import TwilioGate
from relay.store.people import person_id

RETURN_LIMIT = 2
"""Times a call comes back to its agent because nobody took it; the next time it ends."""

STUDIO = "https://webhooks.twilio.com"
LOOKUP_DEADLINE = 0.3

# The caller was put through, or somebody has taken the call out of the queue.
_TAKEN = frozenset({"bridged", "bridging-in-process", "redirected", "redirected-from-bridged"})

log = structlog.get_logger(__name__)

Ended = Callable[[str, Outcome], None]
"""Told (CallSid, outcome) once for each end, however often it is delivered to this process."""


class Person(Protocol):
    @property
    def agent(self) -> str: ...
    @property
    def language(self) -> str: ...
    @property
    def first_name(self) -> str: ...
    @property
    def last_name(self) -> str: ...


class People(Protocol):
    async def get(self, person: str, /) -> Person | None:
        """Who is known under this key; raises StoreError when the store does not answer."""
        ...


def person_of(form: MultiMapping[str], call_sid: str) -> str:
    """The id of the person on the line."""
    return person_id("phone", other_end(form.get("From", ""), form.get("To", ""), form.get("Direction", "")), call_sid)


async def look_up(people: People | None, form: MultiMapping[str], call_sid: str, deadline: float) -> Person | None:
    """The person on the line, as far as the store tells in time: whatever goes wrong, they are a stranger."""
    key = person_of(form, call_sid)
    if people is None or not key.startswith("phone:"):
        return None  # a withheld number is a stranger; there is nothing to look up
    try:
        async with asyncio.timeout(deadline):
            return await people.get(key)
    except Exception as error:
        log.warning("person not looked up", error=type(error).__name__)
        return None


@dataclass(frozen=True, slots=True)
class Destination:
    """Where calls are handed to; false where there is no way. ``studio``: the root of flows' addresses."""

    to: str = field(default="", repr=False)
    workflow_sid: str = ""
    studio_flow: str = ""
    studio: str = STUDIO

    def __bool__(self) -> bool:
        return bool(self.to or self.workflow_sid or self.studio_flow)


def destination_of(settings: Settings) -> Destination:
    """Where calls are handed to."""
    return Destination(
        settings.transfer_to or "",
        settings.transfer_workflow_sid or "",
        settings.transfer_studio_flow or "",
        settings.twilio_api_base or STUDIO,
    )


@dataclass(frozen=True, slots=True)
class Transfer:
    """A call that is to be handed over. ``whisper``: what the person is told, in the caller's language. ``reason``: for
    a queue, where the whisper has none. ``first``: words said to the caller before. ``final``: it is not taken back.
    ``record``: it is recorded from now on."""

    agent: VoiceAgent
    place: Place
    whisper: Whisper
    reason: str = ""
    first: twiml.Words = twiml.NOTHING
    final: bool = False
    record: bool = False


class Handover:
    """``people`` None: a task does not name the caller."""

    def __init__(
        self,
        gate: TwilioGate,
        connector: Connector,
        memory: CallMemory,
        destination: Destination,
        *,
        people: People | None = None,
        lookup_deadline: float = LOOKUP_DEADLINE,
        ended: Ended = lambda call_sid, outcome: None,
    ) -> None:
        self._gate = gate
        self._connector = connector
        self._memory = memory
        self._people = people
        self._lookup_deadline = lookup_deadline
        self._ended = ended
        self._delivered: Deliveries[Outcome] = Deliveries()
        self.destination = destination

    async def transfer(self, request: web.Request, form: MultiMapping[str], call: Transfer) -> str:
        """The TwiML that hands the call over. A cancel may leave the whisper kept."""
        to, call_sid = self.destination, call_sid_of(form)
        if to.studio_flow:
            account = quote(form.get("AccountSid", ""), safe="")
            url = f"{to.studio}/v1/Accounts/{account}/Flows/{to.studio_flow}"
            return twiml.redirect(url, first=call.first, record=call.record)
        query = call.place.query(call.agent.name, **({"final": "1"} if call.final else {}))
        action = self._connector.http(request, f"{DIALLED}?{query}")
        await self._memory.keep(call_sid, call.whisper)
        if to.workflow_sid:
            task = await self._task(form, call)
            return twiml.enqueue(to.workflow_sid, task, action_url=action, first=call.first, record=call.record)
        query = urlencode({"call": call_sid, "agent": call.agent.name})
        whisper = self._connector.http(request, f"{WHISPER}?{query}") if call.whisper.text else ""
        return twiml.dial(
            to.to,
            action_url=action,
            whisper_url=whisper,
            caller_id=_caller_id(form),
            first=call.first,
            record=call.record,
        )

    async def whisper(self, request: web.Request) -> web.Response:
        """A person has picked up: what they hear before they are connected, or nothing."""
        await self._gate.form(request)
        call_sid = request.query.get("call", "")
        kept = await self._memory.whisper(call_sid) if is_call_sid(call_sid) else None
        if kept is None:
            return xml(twiml.empty())
        agent = self._connector.named(request.query.get("agent", ""))
        return xml(twiml.say(twiml.Words(kept.text, spoken_tag(agent, kept.language))))

    async def dialled(self, request: web.Request) -> web.Response:
        """The person's call is over, or the queue has let the caller go: the call ends, or the agent has it again.

        What is answered follows from the URL and the form, so every delivery is answered alike by every process.
        """
        form = await self._gate.form(request)
        call_sid, place = call_sid_of(form), Place.of(request.query)
        final = request.query.get("final") == "1" or place.returns >= RETURN_LIMIT
        outcome = after_dial(form, final=final)
        over = outcome in ("transferred", "completed")
        state = None if over else await self._memory.read(call_sid)
        kept = None if over else await self._memory.whisper(call_sid)
        language = (kept.language if kept else "") or (state.language if state else "")
        agent = self._connector.named(state.agent if state else "", request.query.get("agent", ""))
        keys = delivery_keys(request, call_sid, "dialled", place.attempt)
        if self._delivered.get(keys) is None:
            self._delivered.put(keys, outcome)
            self._ended(call_sid, outcome)
            log.info("hand-over ended", call_sid=call_sid, outcome=outcome, **reported(form))
            await self._memory.note(call_sid, outcome=outcome)
        match outcome:
            case "returned":
                following = place.next(returned=True)
                closed = self._connector.closed(agent, form)
                document = self._connector.connect(
                    request, agent, call_sid, following, closed=closed, returned=_said(form), language=language
                )
            case "nobody":
                words = self._connector.words(agent, "nobody", language)
                document = twiml.say_and_hangup(words.text, language=words.language)
            case "completed":
                document = twiml.empty()
            case _:
                document = twiml.say_and_hangup()
        return xml(document)

    async def _task(self, form: MultiMapping[str], call: Transfer) -> str:
        """The attributes by which TaskRouter chooses an agent, and which the agent sees."""
        call_sid = call_sid_of(form)
        person = await look_up(self._people, form, call_sid, self._lookup_deadline)
        name = f"{person.first_name} {person.last_name}".strip() if person else ""
        attributes = {
            "call_sid": call_sid,
            "agent": call.agent.name,
            "reason": call.reason or call.whisper.reason,
            "summary": call.whisper.summary,
            "from": other_end(form.get("From", ""), form.get("To", ""), form.get("Direction", "")),
            "language": call.whisper.language,
            **({"name": name} if name else {}),
        }
        return orjson.dumps(attributes).decode()


def after_dial(form: MultiMapping[str], *, final: bool) -> Outcome:
    """What became of a hand-over, from Twilio's report of the dialled call or of the queue. ``final``: where nobody
    took it, the call ends."""
    dial = form.get("DialCallStatus", "")
    taken = dial in ("completed", "answered") and form.get("DialBridged", "") != "false"
    if taken or form.get("QueueResult", "") in _TAKEN:
        return "transferred"
    if form.get("CallStatus", "") in OVER or form.get("QueueResult") == "hangup":
        return "completed"  # the caller has not waited
    return "nobody" if final else "returned"


def _said(form: MultiMapping[str]) -> str:
    """Why nobody took it, as the session is told."""
    said = form.get("DialCallStatus") or form.get("QueueResult") or "no-answer"
    # A dialled person who hung up before being connected counts as none.
    return "no-answer" if said in ("completed", "answered") else said[:30].casefold()


def _caller_id(form: MultiMapping[str]) -> str:
    """The number a person is shown: the caller's, which is Twilio's own choice, unless it is none that may be shown or
    the call is ours."""
    key = person_id("phone", form.get("From", ""), "")
    if key.startswith("phone:") and not is_outbound(form):
        return ""
    own = own_end(form.get("From", ""), form.get("To", ""), form.get("Direction", ""))
    return own if person_id("phone", own, "").startswith("phone:") else ""
