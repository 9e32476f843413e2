"""What Twilio's callbacks of a call have in common: where they are, what their forms say, how they are answered."""

from __future__ import annotations

import re
from collections import OrderedDict
from typing import Generic, Literal, TypeVar

import orjson
from aiohttp import web
from multidict import MultiMapping

INCOMING = "/voice/incoming"
FALLBACK = "/voice/fallback"
ACTION = "/voice/action"
RELAY = "/voice/relay"
DIALLED = "/voice/dialled"
WHISPER = "/voice/whisper"
STATUS = "/voice/status"
AMD = "/voice/amd"
OUTBOUND = "/voice/outbound"

PROVIDER = "provider"
SECOND = "second"
"""Where the first provider of speech has failed: the name of a parameter, and its value."""

HANDOFF_LIMIT = 16 * 1024
DELIVERIES = 10_000

Outcome = Literal[
    "completed",  # the caller has hung up
    "hangup",  # we have
    "transfer",  # a person is being called, or waited for
    "transferred",  # a person had the call, or another program has it
    "returned",  # nobody took the call: the agent has it again
    "nobody",  # nobody took it, and it ends
    "resume",  # the session broke, or handed the call back: the next one follows
    "given_up",  # it broke too often
    "voicemail",  # a machine answered: the agent's text is left on it
    "machine",  # the same, and nothing is left
    "busy",
    "no-answer",
    "failed",
    "canceled",  # of a call we placed and nobody answered
]
"""What became of a call when something ended: a session, the call of a person, or the call itself."""

GOES_ON = frozenset({"transfer", "returned", "resume"})
"""Outcomes that do not end our part of the call."""

OVER = frozenset({"completed", "busy", "failed", "no-answer", "canceled"})
"""CallStatus of a call that is over."""

_CALL_SID = re.compile(r"CA[0-9A-Za-z]{1,62}", re.ASCII)
# Attributes it does not take, in its check and in its set-up; no speech made, or none understood.
_PROVIDER_ERRORS = frozenset({"64101", "64106", "64111", "64112", "64114"})

T = TypeVar("T")


def call_sid_of(form: MultiMapping[str]) -> str:
    """The call a form is about; raises HTTPBadRequest where it names none, or two."""
    given = form.getall("CallSid", [])
    if len(given) != 1 or not is_call_sid(given[0]):
        raise web.HTTPBadRequest(text="CallSid is missing or is not one of Twilio's (CA and 32 digits).\n")
    return given[0]


def is_call_sid(text: str) -> bool:
    return _CALL_SID.fullmatch(text) is not None


def is_outbound(form: MultiMapping[str]) -> bool:
    """Whether we have placed the call."""
    return form.get("Direction", "").startswith("outbound")


def other_end(from_: str, to: str, direction: str) -> str:
    """The address of the person on the line: on a call we placed (``outbound-api``) the one that was called."""
    return to if direction.startswith("outbound") else from_


def own_end(from_: str, to: str, direction: str) -> str:
    """The address of ours on the line."""
    return from_ if direction.startswith("outbound") else to


def decide(form: MultiMapping[str], attempt: int, *, resume_limit: int, can_transfer: bool) -> Outcome:
    """How the call goes on after a session, from what Twilio reports of it; the same for every delivery."""
    status, call_over = form.get("SessionStatus", ""), form.get("CallStatus", "") in OVER
    reason = handoff(form).get("reasonCode", "")
    if status == "completed":
        return "completed"
    if call_over and (status == "failed" or reason in ("live-agent-handoff", "resume")):
        return "completed"
    if reason == "live-agent-handoff":
        return "transfer" if can_transfer else "nobody"
    if status == "failed" or reason == "resume":
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


class Deliveries(Generic[T]):
    """How the callbacks of late were answered, under each of the keys a repeated delivery may be known by."""

    def __init__(self, limit: int = DELIVERIES) -> None:
        self._limit = limit
        self._answers: OrderedDict[str, T] = OrderedDict()

    def __len__(self) -> int:
        return len(self._answers)

    def get(self, keys: list[str]) -> T | None:
        return next((self._answers[key] for key in keys if key in self._answers), None)

    def put(self, keys: list[str], answer: T) -> None:
        for key in keys:
            self._answers[key] = answer
        while len(self._answers) > self._limit:
            self._answers.popitem(last=False)

    def forget(self, keys: list[str]) -> None:
        for key in keys:
            self._answers.pop(key, None)


def delivery_keys(request: web.Request, call_sid: str, *parts: object) -> list[str]:
    """The keys of a delivery: what it is about, and Twilio's token, which a retry carries again."""
    keys = [" ".join(("about", call_sid, *map(str, parts)))]
    if token := request.headers.get("I-Twilio-Idempotency-Token"):
        keys.append(f"token {call_sid} {token[:200]}")
    return keys


def reported(form: MultiMapping[str]) -> dict[str, str]:
    """The words of Twilio's report that are its own, not the caller's."""
    names = {
        "SessionStatus": "session_status",
        "CallStatus": "call_status",
        "ErrorCode": "error_code",
        "DialCallStatus": "dial_status",
        "QueueResult": "queue_result",
    }
    return {ours: form[theirs][:40] for theirs, ours in names.items() if theirs in form}


def xml(document: str) -> web.Response:
    return web.Response(text=document, content_type="text/xml", charset="utf-8")
