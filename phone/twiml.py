"""TwiML as Twilio reads it: the verbs this program answers with, in order.

Source: Twilio's TwiML reference for ``<Connect>``, ``<ConversationRelay>``, ``<Dial>``, ``<Enqueue>``, ``<Start>``,
``<Say>``, ``<Pause>``, ``<Redirect>`` and ``<Hangup>``. Anything Twilio would refuse raises ``BadTwiml`` with Twilio's
error code.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Literal, cast
from xml.etree import ElementTree

from relay.errors import RelayError

MAX_BYTES = 64 * 1024

Mode = Literal["none", "dtmf", "speech", "any"]
"""What may stop speech, or be reported while it is played."""


class BadTwiml(RelayError):
    """A document Twilio would not carry out; ``twilio_code`` is the error it would report."""

    code = "bad_twiml"

    def __init__(self, message: str, twilio_code: int) -> None:
        super().__init__(f"{message} (Twilio {twilio_code})")
        self.twilio_code = twilio_code


@dataclass(frozen=True, slots=True)
class ConversationRelay:
    """``<Connect action><ConversationRelay>``: attributes and parameters as written."""

    url: str
    action: str = ""
    method: str = "POST"
    attributes: dict[str, str] = field(default_factory=dict)
    parameters: dict[str, str] = field(default_factory=dict, repr=False)
    languages: tuple[dict[str, str], ...] = ()

    def mode(self, name: str, default: Mode) -> Mode:
        """An attribute of the kind none, dtmf, speech, any; ``true`` is any and ``false`` none."""
        value = self.attributes.get(name, default)
        value = {"true": "any", "false": "none"}.get(value, value)
        if value not in ("none", "dtmf", "speech", "any"):
            raise BadTwiml(f"{name} is not none, dtmf, speech or any", 64101)
        return cast(Mode, value)

    def flag(self, name: str) -> bool:
        value = self.attributes.get(name, "false")
        if value not in ("true", "false"):
            raise BadTwiml(f"{name} is neither true nor false", 64101)
        return value == "true"

    @property
    def events(self) -> frozenset[str]:
        """The ``info`` frames subscribed to: ``speaker-events``, ``tokens-played``."""
        return frozenset(f"{self.attributes.get('events', '')} {self.attributes.get('debug', '')}".split())

    @property
    def transcription_language(self) -> str:
        return self.attributes.get("transcriptionLanguage") or self.attributes.get("language") or "en-US"

    @property
    def prompt_language(self) -> str:
        """What a prompt is told to be in: a recogniser that finds the language out tells its primary tag alone."""
        language = self.transcription_language
        if language == "multi":
            language = self.attributes.get("language", "").partition("-")[0]
        return language if language not in ("", "multi") else "en"


@dataclass(frozen=True, slots=True)
class Say:
    text: str
    language: str = ""


@dataclass(frozen=True, slots=True)
class Dial:
    """A number, or the text of whatever else is dialled. ``action`` is asked how the call goes on afterwards, ""
    for the verbs that follow; ``url`` for what the person hears before being connected."""

    number: str = field(repr=False)
    action: str = ""
    url: str = ""
    attributes: dict[str, str] = field(default_factory=dict, repr=False)


@dataclass(frozen=True, slots=True)
class Enqueue:
    """A queue of TaskRouter's. ``task``: the attributes of the task, as text."""

    workflow_sid: str
    task: str = field(repr=False)
    action: str = ""


@dataclass(frozen=True, slots=True)
class Recording:
    """``<Start><Recording>``: the call is recorded from now on."""


@dataclass(frozen=True, slots=True)
class Redirect:
    url: str
    method: str = "POST"


@dataclass(frozen=True, slots=True)
class Pause:
    seconds: float = 1.0


@dataclass(frozen=True, slots=True)
class Hangup:
    """``<Hangup/>`` or ``<Reject/>``."""


@dataclass(frozen=True, slots=True)
class Other:
    """A verb without meaning for this phone, such as ``<Gather>``."""

    name: str


_MODES = ("interruptible", "welcomeGreetingInterruptible", "reportInputDuringAgentSpeech")
_FLAGS = ("partialPrompts", "deepgramSmartFormat", "ignoreBackchannel", "preemptible", "dtmfDetection")

Verb = ConversationRelay | Say | Dial | Enqueue | Recording | Redirect | Pause | Hangup | Other


def parse_twiml(document: bytes) -> tuple[Verb, ...]:
    """The verbs of ``<Response>``. Document types are refused: they are where entities come from."""
    if len(document) > MAX_BYTES:
        raise BadTwiml("the document is larger than 64 KiB", 11750)
    if b"<!" in document.replace(b"<!--", b"").replace(b"<![CDATA[", b""):
        raise BadTwiml("the document has a document type", 12100)
    try:
        root = ElementTree.fromstring(document)
    except ElementTree.ParseError as error:
        raise BadTwiml("the document is not XML", 12100) from error
    if root.tag != "Response":
        raise BadTwiml("the document is not a Response", 12100)
    return tuple(_verb(element) for element in root)


def _verb(element: ElementTree.Element) -> Verb:
    text = "".join(element.itertext()).strip()
    match element.tag:
        case "Connect":
            return _connect(element)
        case "Say":
            return Say(text, element.get("language", ""))
        case "Dial":
            return _dial(element, text)
        case "Enqueue":
            return _enqueue(element)
        case "Start" if element.find("Recording") is not None:
            return Recording()
        case "Redirect":
            return Redirect(text, element.get("method", "POST"))
        case "Pause":
            length = element.get("length", "1")
            if not length.isdecimal():
                raise BadTwiml("the length of a Pause is no number of seconds", 12200)
            return Pause(float(length))
        case "Hangup" | "Reject":
            return Hangup()
        case other:
            return Other(other)


def _dial(dial: ElementTree.Element, text: str) -> Dial:
    timeout = dial.get("timeout", "30")
    if not timeout.isdecimal() or not 5 <= int(timeout) <= 600:
        raise BadTwiml("timeout is not 5 to 600 seconds", 13212)
    sip = dial.find("Sip")
    if sip is not None and not text.lower().startswith(("sip:", "sips:")):
        raise BadTwiml("the address in Sip is none", 13221)
    noun = sip if sip is not None else dial.find("Number")
    return Dial(text, dial.get("action", ""), noun.get("url", "") if noun is not None else "", dict(dial.attrib))


def _enqueue(enqueue: ElementTree.Element) -> Enqueue:
    task = enqueue.findtext("Task", "")
    if task:
        try:
            attributes = json.loads(task)
        except ValueError:
            attributes = None
        if not isinstance(attributes, dict):
            raise BadTwiml("the task's attributes are not a JSON object", 14220)
    return Enqueue(enqueue.get("workflowSid", ""), task, enqueue.get("action", ""))


def _connect(connect: ElementTree.Element) -> Verb:
    noun = connect.find("ConversationRelay")
    if noun is None:
        return Other("Connect")
    url = noun.get("url", "")
    if not url.startswith(("wss://", "ws://")):
        raise BadTwiml("the url of ConversationRelay is not a websocket's", 64102)
    relay = ConversationRelay(
        url=url,
        action=connect.get("action", ""),
        method=connect.get("method", "POST").upper(),
        attributes={name: value for name, value in noun.attrib.items() if name != "url"},
        parameters={child.get("name", ""): child.get("value", "") for child in noun.findall("Parameter")},
        languages=tuple(dict(child.attrib) for child in noun.findall("Language")),
    )
    for name in _MODES:
        relay.mode(name, "any")
    for name in _FLAGS:
        relay.flag(name)
    return relay
