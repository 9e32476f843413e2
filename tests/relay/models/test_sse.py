"""The event splitter: any cut of a body gives the same events."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.errors import ModelCut
from relay.models.sse import EventSplitter
from tests.fakes.raw_model import in_pieces

BODY = b': keep-alive\n\ndata: {"a":1}\n\nevent: x\nid: 4\ndata: {"b":\ndata: 2}\n\n:\n\ndata:[DONE]\n\n'
EVENTS = [b'{"a":1}', b'{"b":\n2}', b"[DONE]"]


def split(pieces: list[bytes]) -> list[bytes]:
    splitter = EventSplitter()
    found = [data for piece in pieces for data in splitter.feed(piece)]
    return found + splitter.finish()


@pytest.mark.parametrize("ends", [b"\n", b"\r\n"])
def test_every_byte_boundary(ends: bytes) -> None:
    """Cut in two at any byte, or into single bytes, a body gives the same events, with either line end."""
    body = BODY.replace(b"\n", ends)
    for cut in range(len(body)):
        assert split(in_pieces(body, [cut])) == EVENTS
    assert split([bytes([byte]) for byte in body]) == EVENTS


LINES = st.sampled_from(
    [b"data: x", b"data:y", b"data: ", b"data", b"event: e", b": c", b"id: 1", b"", b"", b"retry: 5"]
)


@given(st.lists(LINES, max_size=30), st.sampled_from([b"\n", b"\r\n"]), st.lists(st.integers(0, 200), max_size=12))
def test_any_cut_gives_the_same_events(lines: list[bytes], ends: bytes, cuts: list[int]) -> None:
    """However lines follow each other and wherever a body is cut, its events are those of the whole."""
    body = ends.join(lines) + ends
    expected: list[bytes] = []
    data: list[bytes] = []
    for line in [*lines, b""]:
        if line.startswith(b"data:"):
            data.append(line[5:].removeprefix(b" "))
        elif not line and data:
            expected.append(b"\n".join(data))
            data = []
    assert split(in_pieces(body, cuts)) == expected


def test_events_come_as_soon_as_they_are_complete() -> None:
    """An event is handed on with the piece that holds its blank line, not later."""
    splitter = EventSplitter()
    assert splitter.feed(b"data: 1\n") == []
    assert splitter.feed(b"\ndata: 2\n\nda") == [b"1", b"2"]
    assert splitter.feed(b"ta: 3\r\n\r\n") == [b"3"]


def test_last_event_without_blank_line() -> None:
    """What the body ended without a blank line is handed on at the end, once."""
    splitter = EventSplitter()
    assert splitter.feed(b"data: [DONE]\n") == []
    assert splitter.finish() == [b"[DONE]"]
    assert splitter.finish() == []


def test_an_event_without_end_is_bounded() -> None:
    """More bytes than the limit without the end of an event raise ModelCut; a long event below it passes."""
    splitter = EventSplitter(limit=1000)
    assert splitter.feed(b"data: " + b"x" * 900) == []
    assert splitter.feed(b"\n\n") == [b"x" * 900]
    splitter.feed(b"y" * 900)
    with pytest.raises(ModelCut):
        splitter.feed(b"y" * 200)
