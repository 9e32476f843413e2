"""The attributes of ``<ConversationRelay>`` and ``<Language>`` an agent file may set, with what they may be.

A wrong value is found here, at the start, and not by a caller: Twilio ends a session whose attributes do not fit
(errors 64101 and 64106). Source: Twilio's reference of ConversationRelay's attributes. Where it names no values, any
text is taken.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

Check = Callable[[str], str]
"""Takes the value as text and returns "" or what is expected instead."""

WHEN = ("none", "dtmf", "speech", "any")


def _text(value: str) -> str:
    return "" if value.strip() else "must not be empty"


def _one_of(*allowed: str) -> Check:
    def check(value: str) -> str:
        return (
            "" if value.casefold() in {each.casefold() for each in allowed} else f"must be one of {', '.join(allowed)}"
        )

    return check


def _flags(*allowed: str) -> Check:
    def check(value: str) -> str:
        return "" if set(value.split()) <= set(allowed) else f"must be of {', '.join(allowed)}, separated by spaces"

    return check


def _between(low: float, high: float, *, otherwise: str = "") -> Check:
    def check(value: str) -> str:
        try:
            fits = value == otherwise or low <= float(value) <= high
        except ValueError:
            fits = False
        return "" if fits else f"must be a number from {low:g} to {high:g}" + (f" or {otherwise}" if otherwise else "")

    return check


_boolean = _one_of("true", "false")

ATTRIBUTES: Mapping[str, Check] = {
    "welcomeGreeting": _text,
    "welcomeGreetingInterruptible": _one_of(*WHEN),
    "language": _text,
    "ttsLanguage": _text,
    "ttsProvider": _one_of("Google", "Amazon", "ElevenLabs"),
    "voice": _text,
    "transcriptionLanguage": _text,
    "transcriptionProvider": _one_of("Google", "Deepgram"),
    "speechModel": _text,
    "eotThreshold": _between(0.5, 0.9),
    "partialPrompts": _boolean,
    "deepgramSmartFormat": _boolean,
    "speechTimeout": _between(600, 5000, otherwise="auto"),
    "turnDetection": _text,
    "interruptible": _one_of(*WHEN),
    "interruptSensitivity": _one_of("low", "medium", "high"),
    "ignoreBackchannel": _boolean,
    "echoPromptFiltering": _text,
    "reportInputDuringAgentSpeech": _one_of(*WHEN),
    "preemptible": _boolean,
    "dtmfDetection": _boolean,
    "hints": _text,
    "profanityFilter": _boolean,
    "backgroundNoiseReduction": _text,
    "elevenlabsTextNormalization": _one_of("on", "auto", "off"),
    "events": _flags("speaker-events", "tokens-played"),
    "debug": _flags("debugging", "speaker-events", "tokens-played"),
    "intelligenceService": _text,
    "conversationConfiguration": _text,
    "conversationId": _text,
    "applicationReconnect": _boolean,
}
LANGUAGE_ATTRIBUTES: Mapping[str, Check] = {
    "code": _text,
    **{name: ATTRIBUTES[name] for name in ("ttsProvider", "voice", "transcriptionProvider", "speechModel")},
}

DEFAULTS: Mapping[str, str] = {"events": "speaker-events tokens-played"}
"""The heard part of a reply is known exactly only with these frames."""

_LISTS = {"hints": ",", "events": " ", "debug": " "}
_WHEN_OF = {"true": "any", "false": "none"}


def attribute_text(name: str, value: object) -> str | None:
    """The value as TwiML writes it, None if it is no kind of value an attribute can have.

    Booleans become ``true`` and ``false``, or ``any`` and ``none`` where an attribute says when; lists are joined.
    """
    if isinstance(value, list) and name in _LISTS and all(isinstance(each, str) for each in value):
        return _LISTS[name].join(value)
    if isinstance(value, bool):
        value = str(value).lower()
    if not isinstance(value, str | int | float):
        return None
    text = str(value)
    return _WHEN_OF.get(text, text) if name in ("interruptible", "welcomeGreetingInterruptible") else text
