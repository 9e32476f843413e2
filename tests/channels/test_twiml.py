"""The TwiML we answer with: attribute names letter for letter, everything escaped, always readable XML."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from xml.etree import ElementTree

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from channels.twilio import twiml

# conversation-relay.md 2.2, without the two that are not the agent file's to set.
ATTRIBUTES = (
    "welcomeGreetingInterruptible language ttsLanguage ttsProvider voice transcriptionLanguage transcriptionProvider"
    " speechModel eotThreshold partialPrompts deepgramSmartFormat speechTimeout turnDetection interruptible"
    " interruptSensitivity ignoreBackchannel echoPromptFiltering reportInputDuringAgentSpeech preemptible dtmfDetection"
    " hints profanityFilter backgroundNoiseReduction elevenlabsTextNormalization events debug intelligenceService"
    " conversationConfiguration conversationId applicationReconnect"
)


@dataclass
class Agent:
    relay: Mapping[str, str] = field(default_factory=dict)
    languages: tuple[Mapping[str, str], ...] = ()
    second: Mapping[str, str] = field(default_factory=dict)


def connected(
    agent: Agent, *, greeting: str | None = "Hello", second: bool = False, **parameters: str
) -> ElementTree.Element:
    document = twiml.connect(
        agent,
        relay_url="wss://h.example/voice/relay",
        action_url="https://h.example/voice/action?attempt=0&agent=default",
        parameters=parameters,
        greeting=greeting,
        second=second,
    )
    assert document.startswith('<?xml version="1.0" encoding="UTF-8"?><Response>')
    return ElementTree.fromstring(document.encode())


def relay_of(response: ElementTree.Element) -> ElementTree.Element:
    (connect,) = response
    (relay,) = connect
    assert (response.tag, connect.tag, relay.tag) == ("Response", "Connect", "ConversationRelay")
    return relay


def test_every_attribute_reaches_twilio_under_its_own_name() -> None:
    """All attributes of section 2.2 come out exactly as the agent file writes them, and no other does."""
    values = {name: f"value of {name}" for name in ATTRIBUTES.split()}
    assert relay_of(connected(Agent(values))).attrib == {
        **values,
        "url": "wss://h.example/voice/relay",
        "welcomeGreeting": "Hello",
    }


def test_defaults_are_the_agents_to_change() -> None:
    """Info frames and keys are asked for unless the agent says otherwise; nothing else is."""
    assert relay_of(connected(Agent(), greeting=None)).attrib == {
        "url": "wss://h.example/voice/relay",
        "events": "speaker-events tokens-played",
        "dtmfDetection": "true",
    }
    changed = relay_of(connected(Agent({"events": "speaker-events", "dtmfDetection": "false"})))
    assert (changed.get("events"), changed.get("dtmfDetection")) == ("speaker-events", "false")


def test_address_and_greeting_are_not_the_agent_files() -> None:
    """The socket's address is ours whatever the file says, and a resumed session is not greeted by either way."""
    agent = Agent({"url": "wss://evil.example/", "welcomeGreeting": "From the table"})
    assert relay_of(connected(agent)).get("url") == "wss://h.example/voice/relay"
    assert relay_of(connected(agent)).get("welcomeGreeting") == "Hello"
    assert relay_of(connected(agent, greeting=None)).get("welcomeGreeting") is None
    assert relay_of(connected(agent, greeting="")).get("welcomeGreeting") is None


def test_action_is_a_post_to_the_url_as_given() -> None:
    """The action URL survives escaping with its query, and is asked for by POST."""
    (connect,) = connected(Agent())
    assert connect.attrib == {
        "action": "https://h.example/voice/action?attempt=0&agent=default",
        "method": "POST",
    }


def test_languages_and_parameters_are_children_in_order() -> None:
    """Each language keeps its attributes, each parameter its name and value."""
    languages = (
        {"code": "es-ES", "ttsProvider": "Google", "voice": "es-ES-Standard-A"},
        {"code": "multi", "transcriptionProvider": "Deepgram", "speechModel": "nova-3-general"},
    )
    relay = relay_of(connected(Agent(languages=languages), ticket="1.2.3", attempt="1"))
    assert [(child.tag, child.attrib) for child in relay] == [
        ("Language", languages[0]),
        ("Language", languages[1]),
        ("Parameter", {"name": "ticket", "value": "1.2.3"}),
        ("Parameter", {"name": "attempt", "value": "1"}),
    ]


ACTION = "https://h.example/voice/dialled?attempt=0&agent=default"


def test_a_number_is_dialled() -> None:
    """With the address that is asked afterwards, and what the person hears before being connected."""
    (call,) = ElementTree.fromstring(
        twiml.dial("+15550100200", action_url=ACTION, whisper_url="https://h.example/voice/whisper?call=CA1")
    )
    assert call.attrib == {"action": ACTION, "method": "POST", "timeout": "30"}
    (number,) = call
    assert (number.tag, number.text) == ("Number", "+15550100200")
    assert number.attrib == {"url": "https://h.example/voice/whisper?call=CA1", "method": "POST"}


def test_a_sip_address_is_dialled_as_one() -> None:
    """In its own noun; the number shown is given where the caller's is none."""
    (call,) = ElementTree.fromstring(
        twiml.dial("sip:ada@example.com", action_url=ACTION, caller_id="+15550100100", timeout=20)
    )
    assert (call.get("callerId"), call.get("timeout")) == ("+15550100100", "20")
    assert (call[0].tag, call[0].text, call[0].attrib) == ("Sip", "sip:ada@example.com", {})


def test_dial_says_first_what_there_is_to_say() -> None:
    """The words come before the verb, in their language where <Say> knows it."""
    response = ElementTree.fromstring(
        twiml.dial("+15550100200", action_url=ACTION, first=twiml.Words("Sorry & bye", "de-DE"))
    )
    assert [verb.tag for verb in response] == ["Say", "Dial"]
    assert (response[0].text, response[0].get("language")) == ("Sorry & bye", "de-DE")


def test_a_call_is_queued_with_its_task() -> None:
    """The attributes of the task reach TaskRouter as they are, whatever they hold."""
    task = '{"summary": "wants <b> & \\"more\\""}'
    (queue,) = ElementTree.fromstring(twiml.enqueue("WW1", task, action_url=ACTION))
    assert queue.attrib == {"workflowSid": "WW1", "action": ACTION, "method": "POST"}
    assert (queue[0].tag, queue[0].text) == ("Task", task)


def test_another_program_takes_the_call() -> None:
    """A redirect posts to its address."""
    (verb,) = ElementTree.fromstring(twiml.redirect("https://h.example/v1/Flows/FW1?a=1&b=2"))
    assert (verb.tag, verb.text, verb.attrib) == (
        "Redirect",
        "https://h.example/v1/Flows/FW1?a=1&b=2",
        {"method": "POST"},
    )


def test_recording_begins_before_anything_is_said() -> None:
    """``<Start><Recording>`` is the first verb, of a call that is connected and of one that is passed on."""
    for document in (
        twiml.connect(
            Agent(), relay_url="wss://h.example/r", action_url=ACTION, parameters={}, greeting=None, record=True
        ),
        twiml.dial("+15550100200", action_url=ACTION, first=twiml.Words("Recorded."), record=True),
    ):
        first = ElementTree.fromstring(document)[0]
        assert (first.tag, first[0].tag, first[0].attrib) == ("Start", "Recording", {"channels": "dual"})


def test_words_and_nothing_more() -> None:
    """A whisper is words alone."""
    assert twiml.say(twiml.Words("Ada calls.", "en-US")).endswith(
        '<Response><Say language="en-US">Ada calls.</Say></Response>'
    )


@pytest.mark.parametrize("language", ["", "multi", "en", "x-klingon"])
def test_say_names_no_language_it_would_refuse(language: str) -> None:
    """A code <Say> does not take is left out, not passed on to fail the document."""
    assert twiml.say_and_hangup("Bye", language=language).endswith("<Response><Say>Bye</Say><Hangup /></Response>")


def test_ends_without_words() -> None:
    """Hanging up without a word, and having nothing to do."""
    assert twiml.say_and_hangup().endswith("<Response><Hangup /></Response>")
    assert twiml.empty().endswith("<Response />")


def readable(text: str) -> str:
    """What of a text XML 1.0 can carry at all."""
    return "".join(
        c for c in text if c in "\t\n\r" or " " <= c <= "\ud7ff" or "\ue000" <= c <= "\ufffd" or c >= "\U00010000"
    )


@given(st.text(st.characters(), min_size=1, max_size=30))
@example("a\ud800b\x00c\ufffe<&\"'>")
def test_any_text_survives(text: str) -> None:
    """Whatever a greeting or a spoken line holds, the document can be read and says it, as far as XML can carry it."""
    assert relay_of(connected(Agent(), greeting="." + text)).get("welcomeGreeting") == "." + readable(text)
    (say, _) = ElementTree.fromstring(twiml.say_and_hangup("." + text).encode())
    assert (say.text or "").replace("\n", "\r") == "." + readable(text).replace("\r\n", "\r").replace("\n", "\r")


def test_the_second_provider_takes_the_place_of_the_first() -> None:
    """Its attributes replace those of the same name, and what belonged to the first provider goes with it."""
    agent = Agent(
        {"language": "en-US", "ttsProvider": "ElevenLabs", "voice": "abc", "speechModel": "flux", "hints": "Ada"},
        second={"ttsProvider": "Google", "language": "en-GB"},
    )
    attributes = relay_of(connected(agent, greeting=None, second=True)).attrib
    assert {name: attributes.get(name) for name in ("language", "ttsProvider", "voice", "speechModel", "hints")} == {
        "language": "en-GB",
        "ttsProvider": "Google",
        "voice": None,
        "speechModel": "flux",
        "hints": "Ada",
    }
    assert relay_of(connected(agent)).attrib["voice"] == "abc"


def test_a_voice_of_the_second_provider() -> None:
    """Named with it; the ears are replaced alike."""
    agent = Agent(
        {"voice": "abc", "transcriptionProvider": "Deepgram", "speechModel": "flux"},
        second={"ttsProvider": "Google", "voice": "en-US-Journey-O", "transcriptionProvider": "Google"},
    )
    attributes = relay_of(connected(agent, second=True)).attrib
    assert (attributes["voice"], attributes["transcriptionProvider"]) == ("en-US-Journey-O", "Google")
    assert "speechModel" not in attributes


def test_a_child_of_the_sessions_language_does_not_bring_the_first_provider_back() -> None:
    """Other languages are as they were."""
    eleven = {"ttsProvider": "ElevenLabs", "voice": "abc", "transcriptionProvider": "Deepgram"}
    agent = Agent(
        {"language": "en-US", **eleven},
        ({"code": "EN-us", **eleven}, {"code": "es-US", **eleven}),
        {"ttsProvider": "Google"},
    )
    children = [child.attrib for child in relay_of(connected(agent, second=True)) if child.tag == "Language"]
    assert children == [{"code": "EN-us", "transcriptionProvider": "Deepgram"}, {"code": "es-US", **eleven}]
    children = [child.attrib for child in relay_of(connected(agent)) if child.tag == "Language"]
    assert children[0] == {"code": "EN-us", **eleven}
