"""ConversationRelay frames: parsing, writing, redaction."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.errors import InvalidFrame
from relay.frames import (
    AgentSpeaking,
    ClientSpeaking,
    Dtmf,
    End,
    Incoming,
    Interrupt,
    Language,
    Outgoing,
    PeerError,
    Play,
    Prompt,
    SendDigits,
    Setup,
    Text,
    Token,
    TokensPlayed,
    Unknown,
    dump,
    encode,
    parse_incoming,
    parse_outgoing,
)

SECRET = "my number is 5551234"

_text = st.text()
_some = st.text(min_size=1)
_flag = st.none() | st.booleans()
_KNOWN = {"prompt", "info", "interrupt", "dtmf", "setup", "error"}

incoming = st.one_of(
    st.builds(
        Setup,
        session_id=_some,
        call_sid=_some,
        account_sid=_text,
        parent_call_sid=_text,
        from_=_text,
        to=_text,
        direction=_text,
        call_status=_text,
        call_type=_text,
        custom_parameters=st.dictionaries(_text, _text),
    ),
    st.builds(Prompt, _text, _text, st.booleans()),
    st.builds(Dtmf, st.sampled_from("0123456789*#ABCD")),
    st.builds(Interrupt, _text, st.integers(0, 10**9)),
    st.builds(AgentSpeaking, st.booleans()),
    st.builds(ClientSpeaking, st.booleans()),
    st.builds(TokensPlayed, _text),
    st.builds(Unknown, _text.filter(lambda name: name not in _KNOWN)),
    st.builds(
        Unknown,
        st.just("info"),
        _some.filter(lambda name: name not in ("tokensPlayed", "agentSpeaking", "clientSpeaking")),
    ),
)
outgoing = st.one_of(
    st.builds(Text, _text, st.booleans(), st.none() | _text, _flag, _flag),
    st.builds(Play, _text, st.integers(0, 1000), st.booleans(), st.booleans()),
    st.builds(SendDigits, st.text("0123456789w#*", min_size=1)),
    st.builds(Language, _some, _text),
    st.builds(Language, _text, _some),
    st.builds(End, st.none() | _text),
)
_json = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False) | _text,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_text, inner, max_size=3),
    max_leaves=6,
)


@given(incoming)
def test_every_incoming_frame_survives_the_wire(frame: Incoming) -> None:
    """Written as Twilio writes it and read back, as text and as bytes, it is the same."""
    assert parse_incoming(encode(frame)) == frame
    assert parse_incoming(dump(frame)) == frame


@given(outgoing)
def test_every_outgoing_frame_survives_the_wire(frame: Outgoing) -> None:
    """Read as strictly as Twilio does."""
    assert parse_outgoing(encode(frame)) == frame
    assert parse_outgoing(dump(frame)) == frame


def test_the_frames_of_the_reference() -> None:
    """As recorded, with fields nobody uses and values as strings."""
    read = {
        '{"type":"prompt","voicePrompt":"Hi!","lang":"en-US","last":true,"ts":1}': Prompt("Hi!", "en-US", True),
        '{"type":"prompt","voicePrompt":"H","lang":"en-US","last":false}': Prompt("H", "en-US", False),
        '{"type":"prompt","voicePrompt":"Hi!"}': Prompt("Hi!"),
        '{"type":"prompt","voicePrompt":"Hi!","lang":null,"last":null}': Prompt("Hi!"),
        '{"type":"dtmf","digit":"1"}': Dtmf("1"),
        '{"type":"interrupt","utteranceUntilInterrupt":"Life is","durationUntilInterruptMs":460}': Interrupt(
            "Life is", 460
        ),
        '{"type":"interrupt"}': Interrupt("", 0),
        '{"type":"info","name":"agentSpeaking","value":"on"}': AgentSpeaking(True),
        '{"type":"info","name":"clientSpeaking","value":"off","ts":1700000000000}': ClientSpeaking(False),
        '{"type":"info","name":"tokensPlayed","value":"Hi, this is Jace,"}': TokensPlayed("Hi, this is Jace,"),
        '{"type":"info","name":"roundTripDelayMs","value":"148"}': Unknown("info", "roundTripDelayMs"),
        '{"type":"configUpdated","language":{}}': Unknown("configUpdated"),
    }
    for raw, frame in read.items():
        assert parse_incoming(raw) == frame


def test_the_setup_of_twilio_and_of_telnyx() -> None:
    """Everything but the two ids may be missing or empty."""
    twilio = parse_incoming(
        '{"type":"setup","sessionId":"VX1","accountSid":"AC1","parentCallSid":"","callSid":"CA1","from":"+1800","to":'
        '"+1801","forwardedFrom":"+1802","callType":"PSTN","callerName":"","direction":"inbound","callStatus":"RINGING"'
        ',"customParameters":{"ticket":"t","count":2}}'
    )
    assert twilio == Setup(
        "VX1", "CA1", "AC1", "", "+1800", "+1801", "inbound", "RINGING", "PSTN", {"ticket": "t", "count": "2"}
    )
    telnyx = parse_incoming('{"type":"setup","sessionId":"7a7e","callSid":"v2:T02","callControlId":"v2:T02"}')
    assert telnyx == Setup("7a7e", "v2:T02")
    assert parse_incoming('{"type":"setup","sessionId":"s","callSid":"c","customParameters":null}') == Setup("s", "c")


@pytest.mark.parametrize(
    ("duration", "ms"),
    [(684, 684), ("684", 684), (684.9, 684), ("6e2", 600), (None, 0), ("soon", 0), (-5, 0), ([1], 0), ("inf", 0)],
)
def test_the_duration_of_an_interrupt_is_read_leniently(duration: Any, ms: int) -> None:
    """A number, or a string with one; anything else is no reason to miss an interrupt."""
    raw = orjson.dumps({"type": "interrupt", "utteranceUntilInterrupt": "Hi", "durationUntilInterruptMs": duration})
    assert parse_incoming(raw) == Interrupt("Hi", ms)


@pytest.mark.parametrize(
    ("description", "code"),
    [
        ("Invalid message received, code: 64107, {}", 64107),
        ("Invalid message received: { }", 0),
        ("call +18005550100 broke", 0),
        ("", 0),
    ],
)
def test_the_code_of_an_error_is_found_in_its_text(description: str, code: int) -> None:
    """Five digits on their own; a phone number is no code."""
    assert parse_incoming(encode(PeerError(description))) == PeerError(description, code)


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"{",
        b"hello",
        b"\xff\xfe",
        b"[]",
        b"null",
        b'"prompt"',
        b"{}",
        b'{"type":null}',
        b'{"type":5}',
        b'{"type":"prompt"}',
        b'{"type":"prompt","voicePrompt":null}',
        b'{"type":"prompt","voicePrompt":["Hi"]}',
        b'{"type":"prompt","voicePrompt":"Hi","lang":5}',
        b'{"type":"prompt","voicePrompt":"Hi","last":"true"}',
        b'{"type":"prompt","voicePrompt":"Hi","last":1}',
        b'{"type":"dtmf"}',
        b'{"type":"dtmf","digit":1}',
        b'{"type":"dtmf","digit":""}',
        b'{"type":"dtmf","digit":"12"}',
        b'{"type":"dtmf","digit":"w"}',
        b'{"type":"interrupt","utteranceUntilInterrupt":5}',
        b'{"type":"info"}',
        b'{"type":"info","name":5}',
        b'{"type":"info","name":"tokensPlayed"}',
        b'{"type":"info","name":"tokensPlayed","value":5}',
        b'{"type":"info","name":"agentSpeaking","value":true}',
        b'{"type":"info","name":"agentSpeaking","value":"yes"}',
        b'{"type":"info","name":"clientSpeaking"}',
        b'{"type":"error","description":{}}',
        b'{"type":"setup"}',
        b'{"type":"setup","sessionId":"VX1"}',
        b'{"type":"setup","sessionId":"","callSid":"CA1"}',
        b'{"type":"setup","sessionId":"VX1","callSid":5}',
        b'{"type":"setup","sessionId":"VX1","callSid":"CA1","from":5}',
        b'{"type":"setup","sessionId":"VX1","callSid":"CA1","customParameters":[1]}',
    ],
)
def test_a_malformed_frame_is_told_apart(raw: bytes) -> None:
    """One kind of error, whatever is wrong."""
    with pytest.raises(InvalidFrame):
        parse_incoming(raw)


@pytest.mark.parametrize(
    "raw",
    [
        "nonsense",
        '{"type":"text"}',
        '{"type":"text","token":null}',
        '{"type":"text","token":"a","last":"true"}',
        '{"type":"text","token":"a","lang":null}',
        '{"type":"text","token":"a","interruptible":"speech"}',
        '{"type":"play"}',
        '{"type":"play","source":"u","loop":-1}',
        '{"type":"play","source":"u","loop":1001}',
        '{"type":"play","source":"u","loop":true}',
        '{"type":"sendDigits","digits":""}',
        '{"type":"sendDigits","digits":"1a"}',
        '{"type":"language"}',
        '{"type":"end","handoffData":{"a":1}}',
        '{"type":"clear"}',
    ],
)
def test_what_twilio_would_refuse_is_refused(raw: str) -> None:
    """Our own frames are read as the other end reads them."""
    with pytest.raises(InvalidFrame):
        parse_outgoing(raw)


@given(st.dictionaries(st.sampled_from(["voicePrompt", "lang", "last", "digit", "value", "name", "sessionId"]), _json))
def test_any_object_is_a_frame_or_an_invalid_frame(fields: dict[str, Any]) -> None:
    """No other exception leaves the parsers."""
    for kind in [*_KNOWN, "text", "play", "sendDigits", "language", "end"]:
        raw = orjson.dumps({"type": kind, **fields})
        for parse in (parse_incoming, parse_outgoing):
            try:
                parse(raw)
            except InvalidFrame:
                pass


@given(st.binary() | st.text())
def test_any_data_is_a_frame_or_an_invalid_frame(raw: bytes | str) -> None:
    """Neither broken UTF-8 nor broken JSON raises anything else."""
    for parse in (parse_incoming, parse_outgoing):
        try:
            parse(raw)
        except InvalidFrame:
            pass


def test_parameters_that_are_no_texts_are_left_out() -> None:
    """A parameter of any depth the parser reads is no error: what is a list or an object is not one of ours."""
    deep = "[" * 1000 + "]" * 1000
    raw = '{"type":"setup","sessionId":"s","callSid":"c","customParameters":{"a":%s,"b":{"c":1},"d":null,"e":"f"}}'
    assert parse_incoming(raw % deep) == Setup("s", "c", custom_parameters={"e": "f"})


def test_an_invalid_frame_does_not_repeat_what_it_held() -> None:
    """Its message names a field, never the value."""
    for raw in ({"type": "prompt", "voicePrompt": [SECRET]}, {"type": "dtmf", "digit": SECRET}):
        with pytest.raises(InvalidFrame) as caught:
            parse_incoming(orjson.dumps(raw))
        assert SECRET not in str(caught.value)


@pytest.mark.parametrize(
    "frame",
    [
        Setup("VX1", "CA1", from_=SECRET, to=SECRET, custom_parameters={"ticket": SECRET}),
        Prompt(SECRET),
        Dtmf(SECRET),
        Interrupt(SECRET),
        PeerError(SECRET),
        TokensPlayed(SECRET),
        Text(SECRET),
        SendDigits(SECRET),
    ],
    ids=lambda frame: type(frame).__name__,
)
def test_a_repr_shows_no_words(frame: Incoming | Outgoing) -> None:
    """What a caller said, pressed or heard, numbers and tickets stay out of logs."""
    assert SECRET not in repr(frame)


def test_handoff_data_stays_out_of_a_repr() -> None:
    """It tells why somebody is handed over."""
    assert SECRET not in repr(End(SECRET))


@pytest.mark.parametrize("lang", ["", "es-US"])
def test_words_of_a_reply(lang: str) -> None:
    """Token by token the frame that ``encode`` makes, marked with a language or not."""
    for text in ("Hola,", ' "quoted" \n', "¿Qué?"):
        assert orjson.loads(Token(lang).encode(text)) == orjson.loads(encode(Text(text, lang=lang or None)))


def test_a_language_with_its_voice() -> None:
    """Its attributes stand beside the tags, by the names TwiML has for them."""
    frame = Language("es-US", "", {"ttsProvider": "Amazon", "voice": "Lupe-Neural"})
    wanted = {"type": "language", "ttsLanguage": "es-US", "ttsProvider": "Amazon", "voice": "Lupe-Neural"}
    assert orjson.loads(encode(frame)) == wanted
    assert parse_outgoing(encode(frame)) == frame
