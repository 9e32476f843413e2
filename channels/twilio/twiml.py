"""The TwiML documents we answer with, written (and escaped) by the twilio library.

Attribute names are given to the library in their own spelling: it rewrites only names that hold an underscore, so what
an agent file says under ``[relay]`` reaches the document letter for letter, also where the library knows no such name.
Source: conversation-relay.md 2.1-2.3, 2.5.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from twilio.twiml.voice_response import (
    Connect,
    ConversationRelay,
    Dial,
    Enqueue,
    Hangup,
    Language,
    Number,
    Parameter,
    Pause,
    Recording,
    Redirect,
    Say,
    Sip,
    Start,
    Task,
    VoiceResponse,
)

GREETING = "welcomeGreeting"
RELAY_DEFAULTS: Mapping[str, str] = {"events": "speaker-events tokens-played", "dtmfDetection": "true"}
"""What every session asks for unless its agent says otherwise: the heard part and the keypad depend on them."""

_OF_PROVIDER = {"ttsProvider": "voice", "transcriptionProvider": "speechModel"}
_NOT_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_SAY_LANGUAGE = re.compile(r"[a-z]{2,3}-[A-Z]{2}")

DIAL_TIMEOUT = 30
"""Seconds the telephone of a person rings before it counts as not answered."""


@dataclass(frozen=True, slots=True)
class Words:
    """Words for ``<Say>``, and the tag of their language."""

    text: str = field(default="", repr=False)
    language: str = ""


NOTHING = Words()


class RelayAgent(Protocol):
    """What of an agent's definition a ``<ConversationRelay>`` is made from."""

    @property
    def relay(self) -> Mapping[str, str]: ...
    @property
    def second(self) -> Mapping[str, str]: ...
    @property
    def languages(self) -> Sequence[Mapping[str, str]]: ...


def session_attributes(agent: RelayAgent, *, second: bool = False) -> dict[str, str]:
    """The agent's attributes of ``<ConversationRelay>``. ``second``: the first provider has failed, and what the agent
    has for that case takes its place."""
    attributes = {**RELAY_DEFAULTS, **agent.relay}
    return {**without_replaced(attributes, agent.second), **agent.second} if second else attributes


def connect(
    agent: RelayAgent,
    *,
    relay_url: str,
    action_url: str,
    parameters: Mapping[str, str],
    greeting: str | None,
    second: bool = False,
    record: bool = False,
    pause: int = 0,
) -> str:
    """``<Connect><ConversationRelay>``: hands the call to the websocket at ``relay_url``.

    ``parameters`` come back in ``setup.customParameters``. ``greeting`` is spoken by Twilio as the session opens; None
    for a session that goes on with a conversation, which would otherwise be greeted again. ``second``: as in
    ``session_attributes``; the child of the session's own language does not bring back what was replaced. ``record``:
    the call is recorded from here on. ``pause``: seconds of silence before.
    """
    attributes = {**session_attributes(agent, second=second), "url": relay_url}
    attributes.pop(GREETING, None)
    if greeting:
        attributes[GREETING] = greeting
    own = {attributes.get(name, "").casefold() for name in ("language", "ttsLanguage", "transcriptionLanguage")}
    relay = ConversationRelay(**_clean(attributes))
    for language in agent.languages:
        if second and language.get("code", "").casefold() in own:
            language = without_replaced(language, agent.second)
        relay.append(Language(**_clean(language)))
    for name, value in parameters.items():
        relay.append(Parameter(**_clean({"name": name, "value": value})))
    connection = Connect(**_clean({"action": action_url, "method": "POST"}))
    connection.append(relay)
    return _document(*_recording(record), *_pause(pause), connection)


def dial(
    destination: str,
    *,
    action_url: str,
    whisper_url: str = "",
    caller_id: str = "",
    timeout: int = DIAL_TIMEOUT,
    first: Words = NOTHING,
    record: bool = False,
) -> str:
    """``<Dial>``: passes the call on to a number or a ``sip:`` address, after saying ``first`` if there is anything.

    ``action_url`` is asked how the call goes on when the dialled one is over. ``whisper_url`` answers with what the
    person hears before the two are connected. ``caller_id`` "": the caller's own number is shown.
    """
    own = {"callerId": caller_id} if caller_id else {}
    call = Dial(**_clean({"action": action_url, "method": "POST", "timeout": str(timeout), **own}))
    noun = Sip if destination.lower().startswith(("sip:", "sips:")) else Number
    whisper = {"url": whisper_url, "method": "POST"} if whisper_url else {}
    call.append(noun(_text(destination), **_clean(whisper)))
    return _document(*_recording(record), *_spoken(first), call)


def enqueue(workflow_sid: str, task: str, *, action_url: str, first: Words = NOTHING, record: bool = False) -> str:
    """``<Enqueue>``: the call waits for an agent of TaskRouter. ``task``: the task's attributes, a JSON object."""
    queue = Enqueue(**_clean({"workflowSid": workflow_sid, "action": action_url, "method": "POST"}))
    queue.append(Task(_text(task)))
    return _document(*_recording(record), *_spoken(first), queue)


def redirect(url: str, *, first: Words = NOTHING, record: bool = False) -> str:
    """``<Redirect>``: another program answers for the call from now on."""
    return _document(*_recording(record), *_spoken(first), Redirect(_text(url), method="POST"))


def say(words: Words) -> str:
    """Says the words and nothing more, such as to a person who is about to be connected."""
    return _document(*_spoken(words))


def say_and_hangup(text: str = "", *, language: str = "") -> str:
    """Says the text, if there is any, and ends the call."""
    return _document(*_spoken(Words(text, language)), Hangup())


def empty() -> str:
    """Nothing (more) to do."""
    return _document()


def without_replaced(attributes: Mapping[str, str], second: Mapping[str, str]) -> dict[str, str]:
    """What ``second`` does not take the place of. A voice, or a model, goes with its provider: Twilio ends a session
    in which the two do not fit (64101)."""
    gone = {*second, *(theirs for provider, theirs in _OF_PROVIDER.items() if provider in second)}
    return {name: value for name, value in attributes.items() if name not in gone}


def _document(*verbs: object) -> str:
    response = VoiceResponse()
    for verb in verbs:
        response.append(verb)
    return str(response)


def _spoken(words: Words) -> tuple[Say, ...]:
    if not words.text:
        return ()
    # <Say> refuses what is no language of its own ("multi"); without one it speaks the account's default.
    known = {"language": words.language} if _SAY_LANGUAGE.fullmatch(words.language) else {}
    return (Say(_text(words.text), **known),)


def _pause(seconds: int) -> tuple[Pause, ...]:
    return (Pause(length=seconds),) if seconds else ()


def _recording(wanted: bool) -> tuple[Start, ...]:
    if not wanted:
        return ()
    start = Start()
    start.append(Recording(channels="dual"))
    return (start,)


def _clean(attributes: Mapping[str, str]) -> dict[str, str]:
    return {name: _text(value) for name, value in attributes.items()}


def _text(value: str) -> str:
    """Without the characters XML cannot carry even escaped; the library would write them and nobody could read it."""
    return _NOT_XML.sub("", value)
