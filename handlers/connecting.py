"""How a call is connected to its websocket: which agent, with which words, and what the session is to know.

What a session cannot look up stands in ``<Parameter>``s, what its end is to be judged by in the action URL's query.
Both come back under Twilio's signature, so any process can go on with the call while Redis is away.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Protocol
from urllib.parse import urlencode

import structlog
from aiohttp import web
from multidict import MultiMapping

from channels.twilio import twiml
from channels.twilio.tickets import Tickets
from config.hours import Hours
from config.prompts import zone
from config.says import primary
from handlers.callbacks import ACTION, PROVIDER, RELAY, SECOND, is_outbound
from handlers.guard import TwilioGate

TICKET = "ticket"
ATTEMPT = "attempt"
CLOSED = "closed"
RETURNED = "returned"
LANGUAGE = "language"
HANDED = "handed"
"""Names in ``setup.customParameters``: the ticket always; the attempt (1, 2 ...) where a conversation goes on; the
provider (``SECOND``) once the first provider of speech has failed in this call; ``closed`` (1) outside business hours;
what became of the attempt to reach a person, where nobody took the call; the caller's language, where it is known;
``handed`` (1) where the session before has handed the call on, and told the caller."""

RETURNED_NOTE = (
    "The call was being handed over to a person, but nobody took it ({}). The caller is with you again. Tell them that "
    "nobody could be reached, and offer what you can do yourself. Do not try again unless they ask."
)
CLOSED_NOTE = "The business is closed at the moment: nobody there can be reached. Say so where it matters."

# A region for languages that are known without one: <Say> speaks none without.
_REGIONS = {"en": "en-US", "es": "es-US", "de": "de-DE", "fr": "fr-FR", "it": "it-IT", "pt": "pt-BR", "nl": "nl-NL"}
_STATUS = re.compile(r"[a-z-]{1,30}", re.ASCII)

log = structlog.get_logger(__name__)


class Says(Protocol):
    def line(self, name: str, lang: str, /) -> str: ...
    def line_language(self, name: str, lang: str, /) -> str: ...


class VoiceAgent(twiml.RelayAgent, Protocol):
    """What of an agent's definition (``config/agents.py``) the webhooks of a call use."""

    @property
    def name(self) -> str: ...
    @property
    def greeting(self) -> str: ...
    @property
    def says(self) -> Says: ...
    @property
    def language(self) -> str: ...
    @property
    def hours(self) -> Hours | None: ...
    @property
    def timezone(self) -> str: ...
    @property
    def closed_greeting(self) -> str: ...
    @property
    def voicemail(self) -> str: ...
    @property
    def record(self) -> bool: ...


def is_closed(agent: VoiceAgent, now: float) -> bool:
    """Whether ``now`` (epoch seconds) is outside the agent's business hours."""
    if agent.hours is None:
        return False
    return not agent.hours.open_at(datetime.fromtimestamp(now, zone(agent.timezone)))


def opening(agent: VoiceAgent, *, closed: bool) -> str:
    """What Twilio speaks as a call's first session opens: the notice that it is recorded, and a greeting."""
    greeting = agent.closed_greeting if closed and agent.closed_greeting else agent.greeting
    return " ".join(part for part in (recorded_notice(agent), greeting) if part)


def recorded_notice(agent: VoiceAgent) -> str:
    return agent.says.line("recorded", agent.language) if agent.record else ""


def returned_note(parameters: Mapping[str, str]) -> str:
    """What the model is told in a session that begins because nobody took the call; "" for any other."""
    status = parameters.get(RETURNED, "")
    return RETURNED_NOTE.format(status) if _STATUS.fullmatch(status) else ""


@dataclass(frozen=True, slots=True)
class Place:
    """How far a call has come. ``attempt``: sessions before this one. ``returns``: times nobody took it. ``handed``:
    times it was handed on by a process that left. ``told``: the caller was told of that last, and has not been talked
    to since. ``second``: the first provider of speech has failed."""

    attempt: int = 0
    returns: int = 0
    handed: int = 0
    told: bool = False
    second: bool = False

    @classmethod
    def of(cls, query: Mapping[str, str]) -> Place:
        """From the query of a URL of ours; whatever makes no sense there counts as the beginning."""
        attempt, returns, handed = (_count(query.get(name, "")) for name in ("attempt", "returns", HANDED))
        return cls(attempt, returns, handed, query.get("told") == "1", query.get(PROVIDER) == SECOND)

    def next(self, *, returned: bool = False, handed: bool = False, told: bool = False) -> Place:
        returns, times = self.returns + returned, self.handed + handed
        return replace(self, attempt=self.attempt + 1, returns=returns, handed=times, told=told)

    def query(self, agent: str, **more: str) -> str:
        words = {"attempt": str(self.attempt), "agent": agent}
        if self.returns:
            words["returns"] = str(self.returns)
        if self.handed:
            words[HANDED] = str(self.handed)
        if self.told:
            words["told"] = "1"
        if self.second:
            words[PROVIDER] = SECOND
        return urlencode(words | more)


class Connector:
    """``agents`` by name, ``default_agent`` among them. ``now``: epoch seconds. ``pause``: seconds that a call which
    goes on is to wait before it is connected. ``expect``: told of each call that is on its way to a socket."""

    def __init__(
        self,
        gate: TwilioGate,
        agents: Mapping[str, VoiceAgent],
        default_agent: str,
        tickets: Tickets,
        *,
        now: Callable[[], float] = time.time,
        pause: Callable[[], int] = lambda: 0,
        expect: Callable[[str], object] = lambda call_sid: None,
    ) -> None:
        self._gate = gate
        self._agents = agents
        self._default = default_agent
        self._tickets = tickets
        self._pause = pause
        self.now = now
        self._expect = expect

    def named(self, *names: str) -> VoiceAgent:
        """The first of these agents that there is, or the default one; a name nobody bears is told to the operator."""
        for name in filter(None, names):
            if name in self._agents:
                return self._agents[name]
            log.warning("no such agent: the default one answers", agent=name[:80])
        return self._agents[self._default]

    def closed(self, agent: VoiceAgent, form: MultiMapping[str]) -> bool:
        """Whether the caller rings outside business hours; calls that we place have none."""
        return not is_outbound(form) and is_closed(agent, self.now())

    def http(self, request: web.Request, path: str) -> str:
        """The address at which Twilio reaches this path."""
        return self._gate.address(request).http(path)

    def connect(
        self,
        request: web.Request,
        agent: VoiceAgent,
        call_sid: str,
        place: Place,
        *,
        closed: bool = False,
        returned: str = "",
        language: str = "",
    ) -> str:
        """TwiML that connects the call. Only its first session is greeted, and begins the recording. ``language``: the
        caller's, as far as it is known."""
        self._expect(call_sid)
        parameters = {TICKET: self._tickets.mint(call_sid, agent.name, self.now())}
        if place.attempt:
            parameters[ATTEMPT] = str(place.attempt)
        if place.second:
            parameters[PROVIDER] = SECOND
        if closed:
            parameters[CLOSED] = "1"
        if returned:
            parameters[RETURNED] = returned
        if language:
            parameters[LANGUAGE] = language
        if place.told:
            parameters[HANDED] = "1"
        first = not place.attempt
        return twiml.connect(
            agent,
            relay_url=self._gate.address(request).ws(RELAY),
            action_url=self.http(request, f"{ACTION}?{place.query(agent.name)}"),
            parameters=parameters,
            greeting=opening(agent, closed=closed) if first else None,
            second=place.second,
            record=agent.record and first,
            pause=0 if first else self._pause(),
        )

    def words(self, agent: VoiceAgent, line: str, language: str) -> twiml.Words:
        """One of the agent's fixed lines for ``<Say>``, in the caller's language ("": the agent's) if it is there, and
        spoken as the language it is in."""
        tag = spoken_tag(agent, language)
        return twiml.Words(agent.says.line(line, tag), spoken_tag(agent, agent.says.line_language(line, tag)))


def spoken_tag(agent: VoiceAgent, language: str) -> str:
    """The tag with a region: as it is, or as the agent speaks that language; the agent's own for none."""
    own = agent.language
    if not language or language == "multi":
        return own
    if "-" in language:
        return language
    codes = [own, *(each.get("code", "") for each in agent.languages)]
    return next(
        (code for code in codes if "-" in code and primary(code) == primary(language)),
        _REGIONS.get(primary(language), language),
    )


def _count(text: str) -> int:
    return int(text) if re.fullmatch(r"[0-9]{1,6}", text) else 0
