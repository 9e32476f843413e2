"""Items of a conversation: stored form and redaction."""

from __future__ import annotations

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.items import VERSION, AssistantItem, Item, NoteItem, ToolItem, UserItem, dump_item, load_item

SECRET = "my-card-is-4111"

_text = st.text()
_count = st.integers(0, 2**53)
items = st.one_of(
    st.builds(UserItem, _text, _text),
    st.builds(
        AssistantItem, _text, st.sampled_from(["open", "done", "interrupted", "superseded"]), _count, _count, _text
    ),
    st.builds(
        ToolItem,
        _text,
        _text,
        _text,
        _text,
        st.sampled_from(["running", "done", "failed", "interrupted", "unknown"]),
        st.integers(0, 100),
    ),
    st.builds(NoteItem, _text),
)


@given(items)
def test_an_item_survives_being_stored(item: Item) -> None:
    """What is loaded equals what was dumped, from bytes and from text."""
    assert load_item(dump_item(item)) == item
    assert load_item(dump_item(item).decode()) == item


def test_the_stored_form_is_one_flat_object_with_a_version() -> None:
    """Other programs, and newer ones, can read it."""
    assert orjson.loads(dump_item(UserItem("Hi", "en-US"))) == {
        "v": VERSION,
        "type": "user",
        "text": "Hi",
        "lang": "en-US",
    }


@given(items)
def test_an_item_of_a_newer_version_is_skipped(item: Item) -> None:
    """Its meaning is unknown; the rest of the history stays usable."""
    data = orjson.loads(dump_item(item)) | {"v": VERSION + 1}
    assert load_item(orjson.dumps(data)) is None


def test_fields_of_a_later_program_are_ignored_and_missing_ones_get_their_default() -> None:
    """Same version, another set of optional fields."""
    assert load_item(b'{"v":1,"type":"user","text":"Hi","mood":"good"}') == UserItem("Hi")


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"nonsense",
        b"null",
        b"7",
        b"[]",
        b'"text"',
        b"{}",
        b'{"v":1}',
        b'{"v":1,"type":"user"}',
        b'{"v":1,"type":"hologram","text":"Hi"}',
        b'{"v":"1","type":"user","text":"Hi"}',
        b'{"v":1,"type":["user"],"text":"Hi"}',
        b'{"v":1,"type":"user","text":5}',
        b'{"v":1,"type":"assistant","text":"Hi","heard":"2"}',
    ],
)
def test_what_cannot_be_read_is_skipped(raw: bytes) -> None:
    """One damaged member of a history is no reason to lose the others."""
    assert load_item(raw) is None


@pytest.mark.parametrize(
    "item",
    [
        UserItem(SECRET),
        AssistantItem(SECRET),
        NoteItem(SECRET),
        ToolItem("call_1", "pay", f'{{"card":"{SECRET}"}}', f'"{SECRET}"'),
    ],
    ids=lambda item: type(item).__name__,
)
def test_a_repr_shows_no_words(item: Item) -> None:
    """Neither the caller's words nor arguments nor results."""
    assert SECRET not in repr(item)
    assert SECRET not in f"{[item]}"


def test_what_was_sent_and_not_heard_is_stored() -> None:
    """For reports; it makes no difference to what was said."""
    cut = AssistantItem("Let me", "interrupted", sent="Let me look.")
    found = load_item(dump_item(cut))
    assert isinstance(found, AssistantItem) and found.sent == "Let me look."
    assert cut == AssistantItem("Let me", "interrupted")
