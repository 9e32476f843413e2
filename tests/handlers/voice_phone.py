"""Twilio's side of the voice webhooks, over a real port, for the tests of each of them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any
from xml.etree import ElementTree

from aiohttp import web
from aiohttp.test_utils import TestClient
from multidict import MultiDict
from redis.asyncio import Redis
from twilio.request_validator import RequestValidator

from channels.twilio.rest import TwilioRest
from channels.twilio.tickets import Tickets
from handlers.call_memory import CallMemory
from handlers.callbacks import ACTION, AMD, DIALLED, INCOMING, STATUS, WHISPER
from handlers.connecting import Connector
from handlers.guard import TwilioGate
from handlers.handover import Destination, Handover
from handlers.progress import CallProgress
from handlers.signatures import PublicAddress, TwilioSignatures
from handlers.voice import VoiceWebhooks
from relay.store.callstatus import CallStatus
from tests.handlers.standins import CALL, NOW, SESSION, StandInAgent, serving

TOKEN = "test_auth_token"
PUBLIC = "https://relay.example.com/phone"
TRANSFER = "+15550100900"
ACCOUNT = "AC" + "0" * 32
AGENTS = {
    "default": StandInAgent(),
    "sales": StandInAgent(name="sales", greeting="", relay={"ttsLanguage": "de-DE", "language": "multi"}),
}
TICKETS = Tickets([b"k" * 32], 120)
GATE = TwilioGate(PublicAddress.parse(PUBLIC), TwilioSignatures([TOKEN]))

INBOUND = {
    "CallSid": CALL,
    "AccountSid": ACCOUNT,
    "From": "+15550100200",
    "To": "+15550100100",
    "CallStatus": "ringing",
    "Direction": "inbound",
    "CallerName": "",
}
ENDED = {"CallSid": CALL, "SessionId": SESSION, "CallStatus": "in-progress", "SessionStatus": "ended"}
FAILED = {**ENDED, "SessionStatus": "failed", "ErrorCode": "64105", "ErrorMessage": "Websocket ended"}
COMPLETED = {**ENDED, "SessionStatus": "completed", "CallStatus": "completed"}
HANDOFF = {**ENDED, "HandoffData": '{"reasonCode":"live-agent-handoff","reason":"r","summary":"s"}'}
RESUME = {**ENDED, "HandoffData": '{"reasonCode": "resume"}'}


class Phone:
    """Twilio's side of the webhooks: signs what it posts, follows the URLs it is given."""

    def __init__(self, client: TestClient[web.Request, web.Application], outcomes: list[str]) -> None:
        self.client = client
        self.outcomes = outcomes

    async def post(self, path: str, fields: Mapping[str, str], **headers: str) -> tuple[int, str]:
        path = path.removeprefix(PUBLIC)
        form = MultiDict(fields)
        signature = RequestValidator(TOKEN).compute_signature(PUBLIC + path, form)
        response = await self.client.post(path, data=form, headers={"X-Twilio-Signature": signature, **headers})
        if response.status == 200:
            assert response.headers["Content-Type"] == "text/xml; charset=utf-8"
        return response.status, await response.text()

    async def twiml(self, path: str, fields: Mapping[str, str], **headers: str) -> ElementTree.Element:
        status, text = await self.post(path, fields, **headers)
        assert status == 200, text
        return ElementTree.fromstring(text)


@asynccontextmanager
async def phone(
    gate: TwilioGate = GATE,
    *,
    agents: Mapping[str, StandInAgent] = AGENTS,
    transfer_to: str = TRANSFER,
    destination: Destination | None = None,
    redis: Redis | None = None,
    rest: TwilioRest | None = None,
    people: Any = None,
    now: Callable[[], float] = lambda: NOW,
    pause: Callable[[], int] = lambda: 0,
    **given: Any,
) -> AsyncIterator[Phone]:
    """``redis`` None: there is no store for calls, and no routes of their statuses."""
    outcomes: list[str] = []

    def ended(call_sid: str, outcome: str) -> None:
        outcomes.append(outcome)

    statuses = CallStatus(redis, 60) if redis is not None else None
    memory = CallMemory(statuses, now=now)
    connector = Connector(gate, agents, "default", TICKETS, now=now, pause=pause)
    handover = Handover(gate, connector, memory, destination or Destination(transfer_to), people=people, ended=ended)
    voice = VoiceWebhooks(gate, connector, handover, memory, people=people, ended=ended, **given)
    routes = [
        web.post(INCOMING, voice.incoming),
        web.post(ACTION, voice.action),
        web.post(DIALLED, handover.dialled),
        web.post(WHISPER, handover.whisper),
    ]
    if statuses is not None:
        progress = CallProgress(gate, connector, statuses, memory, calls=rest, ended=ended)
        routes += [web.post(STATUS, progress.status), web.post(AMD, progress.amd)]
    async with serving(*routes) as client:
        yield Phone(client, outcomes)


def connect_of(twiml: ElementTree.Element) -> tuple[str, Mapping[str, str], Mapping[str, str]]:
    """The action URL, the attributes of the ConversationRelay and the parameters."""
    (connect,) = (verb for verb in twiml if verb.tag == "Connect")
    (relay,) = connect
    parameters = {child.attrib["name"]: child.attrib["value"] for child in relay if child.tag == "Parameter"}
    return connect.attrib["action"], relay.attrib, parameters


def without_ticket(twiml: ElementTree.Element) -> str:
    for parameter in twiml.iter("Parameter"):
        if parameter.get("name") == "ticket":
            parameter.set("value", "")
    return ElementTree.tostring(twiml, encoding="unicode")


def verbs(twiml: ElementTree.Element) -> list[str]:
    return [verb.tag for verb in twiml]
