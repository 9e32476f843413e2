"""ConversationRelay frames, both directions, as frozen dataclasses.

Only this module knows Twilio's camelCase. Source: Twilio's ConversationRelay websocket message reference and live
recordings of ``info`` frames, which that page does not list. Fields this program does not use are ignored; a type it
does not know becomes ``Unknown``, because Twilio adds frames without notice. A known type with wrong fields raises
``InvalidFrame``. The caller's words never appear in a ``repr``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson

from relay.errors import InvalidFrame

# Twilio -> us


@dataclass(frozen=True, slots=True)
class Setup:
    """First frame of a socket. Everything but the two ids may be empty; Telnyx leaves out several."""

    session_id: str
    call_sid: str
    account_sid: str = ""
    parent_call_sid: str = ""
    from_: str = field(default="", repr=False)
    to: str = field(default="", repr=False)
    direction: str = ""
    call_status: str = ""
    call_type: str = ""
    custom_parameters: dict[str, str] = field(default_factory=dict, repr=False)


@dataclass(frozen=True, slots=True)
class Prompt:
    """What the recogniser understood. Only ``last=True`` is a turn; partials are cumulative."""

    voice_prompt: str
    lang: str = ""
    last: bool = True

    def __repr__(self) -> str:
        return f"Prompt({len(self.voice_prompt)} chars, lang={self.lang!r}, last={self.last})"


@dataclass(frozen=True, slots=True)
class Dtmf:
    """One key press: 0-9, *, #, and A-D where a phone has them."""

    digit: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Interrupt:
    """The caller stopped the speech being played. The text may be empty, and may cover only the last segment."""

    utterance_until_interrupt: str = field(repr=False)
    duration_until_interrupt_ms: int = 0


@dataclass(frozen=True, slots=True)
class PeerError:
    """Twilio's ``error`` frame; ``code`` is the five-digit number found in the text, 0 if none."""

    description: str = field(repr=False)
    code: int = 0


@dataclass(frozen=True, slots=True)
class AgentSpeaking:
    on: bool


@dataclass(frozen=True, slots=True)
class ClientSpeaking:
    on: bool


@dataclass(frozen=True, slots=True)
class TokensPlayed:
    """Text (or digits) whose playing has just ended: the only live proof of what was heard."""

    text: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Unknown:
    """A type or an info name this program has no use for."""

    type: str
    name: str = ""


Incoming = Setup | Prompt | Dtmf | Interrupt | PeerError | AgentSpeaking | ClientSpeaking | TokensPlayed | Unknown

# us -> Twilio


@dataclass(frozen=True, slots=True)
class Text:
    """Words to speak. ``last`` closes the talk cycle. None leaves the TwiML's default in force."""

    token: str
    last: bool = False
    lang: str | None = None
    interruptible: bool | None = None
    preemptible: bool | None = None

    def __repr__(self) -> str:
        return f"Text({len(self.token)} chars, last={self.last})"


@dataclass(frozen=True, slots=True)
class Play:
    source: str
    loop: int = 1
    preemptible: bool = False
    interruptible: bool = True


@dataclass(frozen=True, slots=True)
class SendDigits:
    """0-9, #, * and w (half a second of silence)."""

    digits: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Language:
    """What is spoken and understood from now on; "" leaves it as it is. ``attributes``: of the language spoken, by the
    names ``<Language>`` has for them in TwiML. Twilio documents (2026-10-28) that this frame changes a language's voice
    and providers; that it names them so, nobody has seen yet."""

    tts_language: str = ""
    transcription_language: str = ""
    attributes: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class End:
    """Ends the session; ``handoff_data`` is a string (JSON text), passed on to the action callback verbatim."""

    handoff_data: str | None = field(default=None, repr=False)


Outgoing = Text | Play | SendDigits | Language | End

_CODE = re.compile(r"\b(\d{5})\b")
_DIGITS = frozenset("0123456789*#ABCD")


def _object(raw: str | bytes) -> dict[str, Any]:
    try:
        data = orjson.loads(raw)
    except ValueError as error:
        raise InvalidFrame("not JSON") from error
    if not isinstance(data, dict):
        raise InvalidFrame("not an object")
    return data


def _text(data: dict[str, Any], name: str, default: str | None = None) -> str:
    value = data.get(name, default)
    if value is None and default is not None:
        return default
    if not isinstance(value, str):
        raise InvalidFrame(f"{name} is not a string")
    return value


def _flag(data: dict[str, Any], name: str, default: bool | None) -> bool | None:
    value = data.get(name, default)
    if value is not None and not isinstance(value, bool):
        raise InvalidFrame(f"{name} is not a boolean")
    return value


def parse_incoming(raw: str | bytes) -> Incoming:
    """One frame of Twilio's. Raises InvalidFrame, whose message names a field and never repeats its value."""
    data = _object(raw)
    match _text(data, "type"):
        case "prompt":
            return Prompt(_text(data, "voicePrompt"), _text(data, "lang", ""), _flag(data, "last", True) is not False)
        case "info":
            return _info(data)
        case "interrupt":
            duration = data.get("durationUntilInterruptMs", 0)
            try:
                ms = max(0, int(float(duration or 0)))
            except (TypeError, ValueError, OverflowError):
                ms = 0
            return Interrupt(_text(data, "utteranceUntilInterrupt", ""), ms)
        case "dtmf":
            digit = _text(data, "digit")
            if digit not in _DIGITS:
                raise InvalidFrame("digit is not a key")
            return Dtmf(digit)
        case "setup":
            return _setup(data)
        case "error":
            description = _text(data, "description", "")
            found = _CODE.search(description)
            return PeerError(description, int(found[1]) if found else 0)
        case other:
            return Unknown(other)


def _info(data: dict[str, Any]) -> Incoming:
    name = _text(data, "name")
    match name:
        case "tokensPlayed":
            return TokensPlayed(_text(data, "value"))
        case "agentSpeaking" | "clientSpeaking":
            value = _text(data, "value")
            if value not in ("on", "off"):
                raise InvalidFrame("value is neither on nor off")
            return AgentSpeaking(value == "on") if name == "agentSpeaking" else ClientSpeaking(value == "on")
        case _:
            return Unknown("info", name)


def _setup(data: dict[str, Any]) -> Setup:
    parameters = data.get("customParameters") or {}
    if not isinstance(parameters, dict):
        raise InvalidFrame("customParameters is not an object")
    setup = Setup(
        session_id=_text(data, "sessionId"),
        call_sid=_text(data, "callSid"),
        account_sid=_text(data, "accountSid", ""),
        parent_call_sid=_text(data, "parentCallSid", ""),
        from_=_text(data, "from", ""),
        to=_text(data, "to", ""),
        direction=_text(data, "direction", ""),
        call_status=_text(data, "callStatus", ""),
        call_type=_text(data, "callType", ""),
        # A list or an object is none of ours, and may be too deep to be written out.
        custom_parameters={k: str(v) for k, v in parameters.items() if isinstance(v, str | int | float)},
    )
    if not setup.session_id or not setup.call_sid:
        raise InvalidFrame("sessionId and callSid are required")
    return setup


def parse_outgoing(raw: str | bytes) -> Outgoing:
    """One frame of ours, read strictly as Twilio would: raises InvalidFrame where Twilio would answer 64107."""
    data = _object(raw)
    match _text(data, "type"):
        case "text":
            return Text(
                _text(data, "token"),
                _flag(data, "last", False) is True,
                _text(data, "lang") if "lang" in data else None,
                _flag(data, "interruptible", None),
                _flag(data, "preemptible", None),
            )
        case "play":
            loop = data.get("loop", 1)
            if not isinstance(loop, int) or isinstance(loop, bool) or not 0 <= loop <= 1000:
                raise InvalidFrame("loop is not a number from 0 to 1000")
            return Play(
                _text(data, "source"),
                loop,
                _flag(data, "preemptible", False) is True,
                _flag(data, "interruptible", True) is not False,
            )
        case "sendDigits":
            digits = _text(data, "digits")
            if not digits or not set(digits) <= set("0123456789w#*"):
                raise InvalidFrame("digits are not 0-9 w # *")
            return SendDigits(digits)
        case "language":
            attributes = {name: _text(data, name) for name in LANGUAGE_ATTRIBUTES if name in data}
            language = Language(_text(data, "ttsLanguage", ""), _text(data, "transcriptionLanguage", ""), attributes)
            if not language.tts_language and not language.transcription_language:
                raise InvalidFrame("neither ttsLanguage nor transcriptionLanguage")
            return language
        case "end":
            return End(_text(data, "handoffData") if "handoffData" in data else None)
        case _:
            raise InvalidFrame("unknown type")


LANGUAGE_ATTRIBUTES = ("ttsProvider", "voice")
_TEXT, _LAST, _NOT_LAST = b'{"type":"text","token":', b',"last":true}', b',"last":false}'


class Token:
    """Encodes the words of a reply, token by token: what all their frames have in common is written once.

    ``lang``: the language they are marked with, "" for none."""

    __slots__ = ("_end",)

    def __init__(self, lang: str = "") -> None:
        self._end = b',"last":false,"lang":' + orjson.dumps(lang) + b"}" if lang else _NOT_LAST

    def encode(self, text: str) -> bytes:
        return _TEXT + orjson.dumps(text) + self._end


def encode(frame: Incoming | Outgoing) -> bytes:
    """The frame as JSON in UTF-8: ours for the wire, Twilio's for the phone end and for tests."""
    if type(frame) is Text and frame.lang is None and frame.interruptible is None and frame.preemptible is None:
        # The token path: what all such frames have in common is written already.
        return _TEXT + orjson.dumps(frame.token) + (_LAST if frame.last else _NOT_LAST)
    return orjson.dumps(_plain(frame))


def dump(frame: Incoming | Outgoing) -> str:
    """``encode`` as text, for libraries that take text frames as ``str``."""
    return encode(frame).decode()


def _plain(frame: Incoming | Outgoing) -> dict[str, Any]:
    match frame:
        case Text():
            data: dict[str, Any] = {"type": "text", "token": frame.token, "last": frame.last}
            if frame.lang is not None:
                data["lang"] = frame.lang
            if frame.interruptible is not None:
                data["interruptible"] = frame.interruptible
            if frame.preemptible is not None:
                data["preemptible"] = frame.preemptible
            return data
        case Play():
            return {
                "type": "play",
                "source": frame.source,
                "loop": frame.loop,
                "preemptible": frame.preemptible,
                "interruptible": frame.interruptible,
            }
        case SendDigits():
            return {"type": "sendDigits", "digits": frame.digits}
        case Language():
            data = {"type": "language"}
            if frame.tts_language:
                data["ttsLanguage"] = frame.tts_language
            if frame.transcription_language:
                data["transcriptionLanguage"] = frame.transcription_language
            return data | dict(frame.attributes)
        case End():
            return {"type": "end"} | ({} if frame.handoff_data is None else {"handoffData": frame.handoff_data})
        case Prompt():
            return {
                "type": "prompt",
                "voicePrompt": frame.voice_prompt,
                "lang": frame.lang,
                "last": frame.last,
            }
        case Dtmf():
            return {"type": "dtmf", "digit": frame.digit}
        case Interrupt():
            return {
                "type": "interrupt",
                "utteranceUntilInterrupt": frame.utterance_until_interrupt,
                "durationUntilInterruptMs": frame.duration_until_interrupt_ms,
            }
        case PeerError():
            return {"type": "error", "description": frame.description}
        case AgentSpeaking():
            return {"type": "info", "name": "agentSpeaking", "value": "on" if frame.on else "off"}
        case ClientSpeaking():
            return {"type": "info", "name": "clientSpeaking", "value": "on" if frame.on else "off"}
        case TokensPlayed():
            return {"type": "info", "name": "tokensPlayed", "value": frame.text}
        case Setup():
            return {
                "type": "setup",
                "sessionId": frame.session_id,
                "accountSid": frame.account_sid,
                "parentCallSid": frame.parent_call_sid,
                "callSid": frame.call_sid,
                "from": frame.from_,
                "to": frame.to,
                "forwardedFrom": "",
                "callType": frame.call_type,
                "callerName": "",
                "direction": frame.direction,
                "callStatus": frame.call_status,
                "customParameters": frame.custom_parameters,
            }
        case Unknown():
            return {"type": frame.type} | ({"name": frame.name} if frame.name else {})
