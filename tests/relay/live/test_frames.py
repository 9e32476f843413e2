"""Frames of the live chat: what is understood of a client's, and what ours look like."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from relay.errors import InvalidFrame
from relay.live.frames import (
    LONGEST_ID,
    LONGEST_NAME,
    MOST,
    Ack,
    Auth,
    Delta,
    Done,
    Failed,
    Incoming,
    Message,
    Outgoing,
    Ping,
    Pong,
    Ready,
    Reset,
    Resume,
    Stop,
    dump,
    dump_delta,
    dump_plain,
    dump_plain_error,
    ends,
    parse,
    parse_plain,
)

TEXT = st.text(st.characters(exclude_categories=["Cs"]))
NAME = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=LONGEST_NAME)
CLIENT_ID = st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), min_size=1, max_size=LONGEST_ID)
INCOMING: st.SearchStrategy[Incoming] = st.one_of(
    st.builds(Auth, NAME),
    st.builds(Message, CLIENT_ID, TEXT),
    st.builds(Stop, NAME | st.just("")),
    st.builds(Resume, NAME, st.integers(0, MOST)),
    st.just(Ping()),
    st.just(Reset()),
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=8,
)
FIELDS = st.fixed_dictionaries(
    {"type": st.sampled_from(["auth", "message", "stop", "resume", "ping", "reset", "surprise"]) | JSON},
    optional={name: JSON for name in ("ticket", "client_id", "text", "turn", "conversation", "after")},
)


@given(INCOMING)
def test_every_client_frame_survives_the_wire(frame: Incoming) -> None:
    """What is dumped is parsed to the same."""
    assert parse(dump(frame).decode()) == frame


@settings(max_examples=60)
@given(FIELDS | JSON)
def test_whatever_comes_is_a_frame_or_refused(data: Any) -> None:
    """Any JSON is one of the frames, or InvalidFrame; what was read is written as it was meant."""
    try:
        frame = parse(orjson.dumps(data).decode())
    except InvalidFrame:
        return
    assert parse(dump(frame).decode()) == frame


@given(st.text())
def test_no_text_breaks_the_parsers(text: str) -> None:
    """Neither contract raises anything else, whatever a client writes."""
    for read in (parse, parse_plain):
        try:
            read(text)
        except InvalidFrame:
            pass


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        '{"type": 5}',
        '{"type": "surprise"}',
        '{"type": "message", "client_id": "1"}',
        '{"type": "message", "client_id": "", "text": "hi"}',
        '{"type": "message", "client_id": "a b", "text": "hi"}',
        '{"type": "message", "client_id": 1, "text": "hi"}',
        '{"type": "message", "client_id": "%s", "text": "hi"}' % ("x" * (LONGEST_ID + 1)),
        '{"type": "auth"}',
        '{"type": "auth", "ticket": ""}',
        '{"type": "stop", "turn": 5}',
        '{"type": "resume", "conversation": "c"}',
        '{"type": "resume", "conversation": "c", "after": true}',
        '{"type": "resume", "conversation": "c", "after": -1}',
        '{"type": "resume", "conversation": "c", "after": 1.5}',
        '{"type": "resume", "conversation": "c", "after": 9007199254740992}',
        '{"type": "message", "client_id": "1", "text": "\\ud800"}',
    ],
)
def test_what_is_no_frame_is_refused(text: str) -> None:
    """Each field is checked, and nothing of what was sent is repeated."""
    with pytest.raises(InvalidFrame) as refused:
        parse(text)
    assert "surprise" not in str(refused.value)


def test_unknown_fields_are_ignored() -> None:
    """A newer client may say more."""
    assert parse('{"type": "ping", "at": 5}') == Ping()
    assert parse_plain('{"message": "hi", "session": "x"}') == "hi"


OURS: list[tuple[Outgoing, dict[str, Any]]] = [
    (Ready("c", 0), {"type": "ready", "conversation": "c", "seq": 0}),
    (Ready("c", 4, "v"), {"type": "ready", "conversation": "c", "seq": 4, "visitor": "v"}),
    (Ack("1", "t"), {"type": "ack", "client_id": "1", "turn": "t"}),
    (Delta("t", 5, "hi"), {"type": "delta", "turn": "t", "seq": 5, "text": "hi"}),
    (Done("t", 6, ""), {"type": "done", "turn": "t", "seq": 6, "text": ""}),
    (Done("t", 6, "x", stopped=True), {"type": "done", "turn": "t", "seq": 6, "text": "x", "stopped": True}),
    (
        Done("t", 6, "x", ended=True, handoff=True),
        {"type": "done", "turn": "t", "seq": 6, "text": "x", "ended": True, "handoff": True},
    ),
    (Failed("busy", "Wait."), {"type": "error", "code": "busy", "message": "Wait.", "retryable": False}),
    (
        Failed("lost", "m", True, "t", "1", 7),
        {
            "type": "error",
            "code": "lost",
            "message": "m",
            "retryable": True,
            "turn": "t",
            "client_id": "1",
            "seq": 7,
        },
    ),
    (Reset(), {"type": "reset"}),
    (Pong(), {"type": "pong"}),
]


@pytest.mark.parametrize(("frame", "sent"), OURS)
def test_our_frames(frame: Outgoing, sent: dict[str, Any]) -> None:
    """What they look like on the wire."""
    assert orjson.loads(dump(frame)) == sent


def test_the_quick_delta_is_the_same() -> None:
    """There are two ways to write a delta and one form of it."""
    assert dump_delta("t", 5, "hi") == dump(Delta("t", 5, "hi"))


def test_the_plain_contract() -> None:
    """Both directions, and errors."""
    assert parse_plain('{"message": "hi"}') == "hi"
    assert dump_plain("hi") == b'{"message":"hi"}'
    assert dump_plain_error("busy", "Wait.") == b'{"error":{"code":"busy","message":"Wait."}}'
    for wrong in ("hi", "[]", "{}", '{"message": 5}', '{"message": null}'):
        with pytest.raises(InvalidFrame):
            parse_plain(wrong)


def test_which_frames_end_a_turn() -> None:
    """The last frame of a turn is told from the others."""
    found = [ends(dump(frame)) for frame, _ in OURS]
    assert found == ["", "", "", "", "t", "t", "t", "", "t", "", ""]


def test_no_words_in_a_repr() -> None:
    """Frames may be shown in an error."""
    for frame in (Message("1", "secret"), Auth("secret"), Delta("t", 1, "secret"), Done("t", 1, "secret")):
        assert "secret" not in repr(frame)
