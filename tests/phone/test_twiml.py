"""TwiML documents as the phone reads them."""

from __future__ import annotations

import pytest

from phone.twiml import (
    BadTwiml,
    ConversationRelay,
    Dial,
    Enqueue,
    Hangup,
    Other,
    Pause,
    Recording,
    Redirect,
    Say,
    parse_twiml,
)


def test_a_connected_session() -> None:
    """Attributes, languages and parameters of ConversationRelay come as written, unescaped."""
    (verb,) = parse_twiml(
        b"""<?xml version="1.0" encoding="UTF-8"?><Response><Connect action="https://a.example/x?attempt=1&amp;b=2">
        <ConversationRelay url="wss://a.example/voice/relay" welcomeGreeting="Hi &amp; hello" interruptible="true"
            preemptible="true" events="speaker-events tokens-played" transcriptionLanguage="es-ES">
        <Language code="es-ES" voice="x"/><Parameter name="ticket" value="&lt;t&gt;"/></ConversationRelay>
        </Connect></Response>"""
    )
    assert isinstance(verb, ConversationRelay)
    assert (verb.url, verb.action, verb.method) == (
        "wss://a.example/voice/relay",
        "https://a.example/x?attempt=1&b=2",
        "POST",
    )
    assert verb.attributes["welcomeGreeting"] == "Hi & hello"
    assert (verb.mode("interruptible", "none"), verb.mode("welcomeGreetingInterruptible", "any")) == ("any", "any")
    assert (verb.flag("preemptible"), verb.flag("dtmfDetection")) == (True, False)
    assert verb.events == {"speaker-events", "tokens-played"}
    assert verb.transcription_language == verb.prompt_language == "es-ES"
    assert (verb.parameters, verb.languages) == ({"ticket": "<t>"}, ({"code": "es-ES", "voice": "x"},))


def test_the_other_verbs_in_order() -> None:
    """Dial finds its number inside a noun too; a verb without meaning here is kept by name."""
    assert parse_twiml(
        b"<Response><Say language='es-ES'>Un momento</Say><Pause length='2'/><Gather/>"
        b"<Dial><Number>+15550001</Number></Dial><Redirect method='GET'>/again</Redirect><Hangup/></Response>"
    ) == (
        Say("Un momento", "es-ES"),
        Pause(2.0),
        Other("Gather"),
        Dial("+15550001"),
        Redirect("/again", "GET"),
        Hangup(),
    )


def test_ways_to_a_person() -> None:
    """A dialled number with what goes with it, a queue with its task, the beginning of a recording."""
    document = (
        b"<Response><Start><Recording channels='dual'/></Start>"
        b"<Dial action='/dialled' timeout='20'><Sip url='/whisper'>sip:a@b.example</Sip></Dial>"
        b"<Enqueue workflowSid='WW1' action='/dialled'><Task>{\"reason\": \"asked\"}</Task></Enqueue></Response>"
    )
    assert parse_twiml(document) == (
        Recording(),
        Dial("sip:a@b.example", "/dialled", "/whisper", {"action": "/dialled", "timeout": "20"}),
        Enqueue("WW1", '{"reason": "asked"}', "/dialled"),
    )


RELAY = b"<Response><Connect><ConversationRelay %s/></Connect></Response>"


@pytest.mark.parametrize(
    ("document", "code"),
    [
        (b"not xml", 12100),
        (b"<Reply/>", 12100),
        (b"<!DOCTYPE r [<!ENTITY a 'b'>]><Response><Say>&a;</Say></Response>", 12100),
        (b"<Response>" + b" " * 70_000 + b"</Response>", 11750),
        (RELAY % b"", 64102),
        (RELAY % b"url='https://a.example'", 64102),
        (RELAY % b"url='wss://a.example' interruptible='sometimes'", 64101),
        (RELAY % b"url='wss://a.example' preemptible='yes'", 64101),
        (b"<Response><Dial timeout='2'>+15550001</Dial></Response>", 13212),
        (b"<Response><Dial><Sip>+15550001</Sip></Dial></Response>", 13221),
        (b"<Response><Enqueue workflowSid='WW1'><Task>[]</Task></Enqueue></Response>", 14220),
    ],
)
def test_what_twilio_would_refuse(document: bytes, code: int) -> None:
    """A document that cannot be carried out raises with Twilio's code."""
    with pytest.raises(BadTwiml) as caught:
        parse_twiml(document)
    assert caught.value.twilio_code == code
