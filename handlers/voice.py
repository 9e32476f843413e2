"""The two webhooks of a phone call: ``POST /voice/incoming`` starts it, ``POST /voice/action`` says how it goes on
when a ConversationRelay session is over (conversation-relay.md 2.4, 9.1; call-rules.md, Resumption).

Neither needs Redis: the ticket is signed, and how often a call was resumed stands in the action URL, which Twilio's
signature covers. So any process answers any delivery, and answers a repeated one alike.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Literal, Protocol
from urllib.parse import urlencode

import orjson
import structlog
from aiohttp import web
from multidict import MultiMapping

from channels.twilio import twiml
from channels.twilio.tickets import Tickets
from handlers.guard import TwilioGate
from relay.store.people import person_id

INCOMING = "/voice/incoming"
ACTION = "/voice/action"
RELAY = "/voice/relay"

TICKET = "ticket"
ATTEMPT = "attempt"
PROVIDER = "provider"
"""Names in ``setup.customParameters``: the ticket always; the attempt (1, 2 ...) where a conversation goes on; the
provider (``SECOND``) once the first provider of speech has failed in this call."""

SECOND = "second"

LOOKUP_DEADLINE = 0.3
HANDOFF_LIMIT = 16 * 1024
DELIVERIES = 10_000

Outcome = Literal["completed", "hangup", "transfer", "nobody", "resume", "given_up"]
"""How a session's end was answered. All but ``resume`` end our part of the call."""

_CALL_SID = re.compile(r"CA[0-9A-Za-z]{1,62}", re.ASCII)
# Attributes it does not take, in its check and in its set-up; no speech made, or none understood.
_PROVIDER_ERRORS = frozenset({"64101", "64106", "64111", "64112", "64114"})
_OVER = frozenset({"completed", "busy", "failed", "no-answer", "canceled"})

log = structlog.get_logger(__name__)


class Says(Protocol):
    def line(self, name: str, lang: str, /) -> str: ...


class VoiceAgent(twiml.RelayAgent, Protocol):
    """What of an agent's definition (``config/agents.py``) these webhooks use."""

    @property
    def name(self) -> str: ...
    @property
    def greeting(self) -> str: ...
    @property
    def says(self) -> Says: ...


class Person(Protocol):
    @property
    def agent(self) -> str: ...


class People(Protocol):
    async def get(self, person: str, /) -> Person | None:
        """Who is known under this key; raises StoreError when the store does not answer."""
        ...


class VoiceWebhooks:
    """``agents`` by name, ``default_agent`` among them. ``people`` None: nobody is looked up.

    ``ended``: called once for each session's end however often it is delivered, with CallSid and outcome.
    ``draining``: True once no new calls are taken (503); sessions that end are still answered.
    ``now``: epoch seconds.
    """

    def __init__(
        self,
        gate: TwilioGate,
        agents: Mapping[str, VoiceAgent],
        default_agent: str,
        tickets: Tickets,
        *,
        people: People | None = None,
        transfer_to: str = "",
        resume_limit: int = 3,
        lookup_deadline: float = LOOKUP_DEADLINE,
        ended: Callable[[str, Outcome], None] = lambda call_sid, outcome: None,
        draining: Callable[[], bool] = lambda: False,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._gate = gate
        self._agents = agents
        self._default = agents[default_agent]
        self._tickets = tickets
        self._people = people
        self._transfer_to = transfer_to
        self._resume_limit = resume_limit
        self._lookup_deadline = lookup_deadline
        self._ended = ended
        self._draining = draining
        self._now = now
        self._delivered = Deliveries()

    async def incoming(self, request: web.Request) -> web.Response:
        """A call rings: TwiML that connects it to the websocket. A cancel leaves nothing behind."""
        form = await self._gate.form(request)
        call_sid = _call_sid(form)
        if self._draining():
            raise web.HTTPServiceUnavailable(text="This process is leaving and takes no new calls.\n")
        wanted = request.query.get("agent", "") or await self._chosen_by(form, call_sid)
        return _xml(self._connect(request, self._named(wanted), call_sid, attempt=0))

    async def action(self, request: web.Request) -> web.Response:
        """A session is over. A cancel after the count leaves the outcome remembered for the next delivery."""
        form = await self._gate.form(request)
        call_sid = _call_sid(form)
        attempt = _attempt(request.query.get("attempt", ""))
        agent = self._named(request.query.get("agent", ""))
        second = request.query.get(PROVIDER) == SECOND or (bool(agent.second) and provider_failed(form))
        keys = [f"session {call_sid} {form.get('SessionId', '')} {attempt}"]
        if token := request.headers.get("I-Twilio-Idempotency-Token"):
            keys.append(f"token {call_sid} {token[:200]}")
        outcome = self._delivered.get(keys)
        if outcome is None:
            # Changing to the other provider is no attempt to mend a broken call: it is not counted, and happens once.
            limit = self._resume_limit + second
            outcome = decide(form, attempt, resume_limit=limit, can_transfer=bool(self._transfer_to))
            self._delivered.put(keys, outcome)
            self._ended(call_sid, outcome)
            log.info("session ended", call_sid=call_sid, attempt=attempt, outcome=outcome, **_reported(form))
        return _xml(self._answer(request, agent, call_sid, attempt, outcome, second=second))

    def _answer(
        self, request: web.Request, agent: VoiceAgent, call_sid: str, attempt: int, outcome: Outcome, *, second: bool
    ) -> str:
        language = agent.relay.get("ttsLanguage") or agent.relay.get("language") or "en-US"
        match outcome:
            case "resume":
                return self._connect(request, agent, call_sid, attempt + 1, second=second)
            case "transfer":
                return twiml.dial(self._transfer_to)
            case "nobody":
                return twiml.say_and_hangup(agent.says.line("nobody", language), language=language)
            case "given_up" if self._transfer_to:
                return twiml.dial(
                    self._transfer_to, first=agent.says.line("trouble_bridge", language), language=language
                )
            case "given_up":
                return twiml.say_and_hangup(agent.says.line("trouble", language), language=language)
            case "hangup":
                return twiml.say_and_hangup()
            case "completed":
                return twiml.empty()

    def _connect(
        self, request: web.Request, agent: VoiceAgent, call_sid: str, attempt: int, *, second: bool = False
    ) -> str:
        address = self._gate.address(request)
        parameters = {TICKET: self._tickets.mint(call_sid, agent.name, self._now())}
        query = {"attempt": str(attempt), "agent": agent.name}
        if attempt:
            parameters[ATTEMPT] = str(attempt)
        if second:
            parameters[PROVIDER] = query[PROVIDER] = SECOND
        return twiml.connect(
            agent,
            relay_url=address.ws(RELAY),
            action_url=address.http(f"{ACTION}?{urlencode(query)}"),
            parameters=parameters,
            greeting=None if attempt else agent.greeting,
            second=second,
        )

    def _named(self, name: str) -> VoiceAgent:
        """The agent of that name, or the default one; for a name nobody bears with a warning to the operator."""
        if name and name not in self._agents:
            log.warning("no such agent: the default one answers", agent=name[:80])
        return self._agents.get(name, self._default)

    async def _chosen_by(self, form: MultiMapping[str], call_sid: str) -> str:
        """The agent the person once chose, or "". Whatever goes wrong on the way, the call is taken as a stranger's."""
        number = other_end(form.get("From", ""), form.get("To", ""), form.get("Direction", ""))
        key = person_id("phone", number, call_sid)
        if self._people is None or not key.startswith("phone:"):
            return ""  # a withheld number is a stranger; there is nothing to look up
        try:
            async with asyncio.timeout(self._lookup_deadline):
                person = await self._people.get(key)
        except Exception as error:
            log.warning("person not looked up", error=type(error).__name__)
            return ""
        return person.agent if person else ""


def other_end(from_: str, to: str, direction: str) -> str:
    """The address of the person on the line: on a call we placed (``outbound-api``) the one that was called."""
    return to if direction.startswith("outbound") else from_


def own_end(from_: str, to: str, direction: str) -> str:
    """The address of ours on the line."""
    return from_ if direction.startswith("outbound") else to


def decide(form: MultiMapping[str], attempt: int, *, resume_limit: int, can_transfer: bool) -> Outcome:
    """How the call goes on after a session, from what Twilio reports of it; the same for every delivery."""
    status, call_over = form.get("SessionStatus", ""), form.get("CallStatus", "") in _OVER
    reason = handoff(form).get("reasonCode", "")
    if status == "completed":
        return "completed"
    if reason == "live-agent-handoff":
        return "transfer" if can_transfer else "nobody"
    if status == "failed" or reason == "resume":
        if call_over:
            return "completed"
        return "resume" if attempt < resume_limit else "given_up"
    return "hangup"


def provider_failed(form: MultiMapping[str]) -> bool:
    """Whether the session ended because a provider of speech did not work: we said so, or Twilio does."""
    return handoff(form).get(PROVIDER) == SECOND or form.get("ErrorCode", "") in _PROVIDER_ERRORS


def handoff(form: MultiMapping[str]) -> dict[str, str]:
    """What a session that we ended handed over: the texts of its HandoffData, which is a JSON object of sensible size;
    nothing for anything else."""
    handoff_data = form.get("HandoffData", "") if form.get("SessionStatus") == "ended" else ""
    if len(handoff_data) > HANDOFF_LIMIT:
        return {}
    try:
        data = orjson.loads(handoff_data)
    except orjson.JSONDecodeError:
        return {}
    return {name: text for name, text in data.items() if isinstance(text, str)} if isinstance(data, dict) else {}


class Deliveries:
    """Outcomes of the callbacks answered lately, under each of the keys a repeated delivery may be known by."""

    def __init__(self, limit: int = DELIVERIES) -> None:
        self._limit = limit
        self._outcomes: OrderedDict[str, Outcome] = OrderedDict()

    def __len__(self) -> int:
        return len(self._outcomes)

    def get(self, keys: list[str]) -> Outcome | None:
        return next((self._outcomes[key] for key in keys if key in self._outcomes), None)

    def put(self, keys: list[str], outcome: Outcome) -> None:
        for key in keys:
            self._outcomes[key] = outcome
        while len(self._outcomes) > self._limit:
            self._outcomes.popitem(last=False)


def _call_sid(form: MultiMapping[str]) -> str:
    given = form.getall("CallSid", [])
    if len(given) != 1 or not _CALL_SID.fullmatch(given[0]):
        raise web.HTTPBadRequest(text="CallSid is missing or is not one of Twilio's (CA and 32 digits).\n")
    return given[0]


def _attempt(text: str) -> int:
    return int(text) if re.fullmatch(r"[0-9]{1,6}", text) else 0


def _reported(form: MultiMapping[str]) -> dict[str, str]:
    """The words of Twilio's report that are its own, not the caller's."""
    names = {"SessionStatus": "session_status", "CallStatus": "call_status", "ErrorCode": "error_code"}
    return {ours: form[theirs][:40] for theirs, ours in names.items() if theirs in form}


def _xml(document: str) -> web.Response:
    return web.Response(text=document, content_type="text/xml", charset="utf-8")
