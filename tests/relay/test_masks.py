"""Masks: what callers key in for a tool stands in nothing that is stored."""

from __future__ import annotations

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.items import AssistantItem, Item, NoteItem, ToolItem, UserItem
from relay.masks import LEAST, MASK, NOT_KEPT, Masks

OWN = 7  # the position of the tool's item


def masks(*keys: str) -> Masks:
    made = Masks()
    for number, each in enumerate(keys):
        made.add(OWN + number, each)
    return made


def tool(output: str, arguments: str = "{}") -> ToolItem:
    return ToolItem("c1", "pay", arguments, output)


@pytest.mark.parametrize(
    "text",
    [
        "1234",
        "1 2 3 4",
        "1-2-3-4",
        "1, 2, 3, 4",
        "12 34",
        "1. 2. 3. 4",
        "1 - 2 - 3 - 4",
        "00123456",
        "PIN1234x",
        "(12)34",
    ],
)
def test_the_keys_however_they_are_written(text: str) -> None:
    """With anything between them, and inside longer numbers."""
    masked = masks("1234").text(f"It is {text}, is it?")
    assert MASK in masked
    assert not {"1", "2", "3", "4"} & set(masked)


@pytest.mark.parametrize("text", ["4321", "1 2 3", "124", "In 1984 we had 3 rooms", "", "one two three four"])
def test_other_digits_are_left(text: str) -> None:
    """Also those that only begin alike, in the middle of a text."""
    said = f"{text} is what I have."
    assert masks("1234").text(said) == said


def test_keys_with_signs() -> None:
    """Where no terminator was agreed on, # and * are keys like others."""
    assert masks("1*2#").text("Was it 1*2#?") == f"Was it {MASK}?"


def test_a_text_that_breaks_off_in_the_keys() -> None:
    """A reply on its way, or cut: its beginning would tell most of them."""
    made = masks("123456")
    assert made.text("You keyed 1 2 3 4") == f"You keyed {MASK}"
    assert made.text("You keyed 12345.") == f"You keyed {MASK}"
    assert made.text("You keyed 1 2") == "You keyed 1 2"


def test_two_of_them() -> None:
    """Also where one is part of the other."""
    assert masks("234", "12345").text("12345 and 234") == f"{MASK} and {MASK}"


@pytest.mark.parametrize(
    ("item", "masked"),
    [
        (UserItem("It is 1 2 3 4.", "en"), UserItem(f"It is {MASK}.", "en")),
        (NoteItem("The caller pressed 1 2 3 4."), NoteItem(f"The caller pressed {MASK}.")),
        (AssistantItem("Is 1234 right?", "done", 0, 5), AssistantItem(f"Is {MASK} right?", "done", 0, 5)),
        (tool('{"ok":true}', '{"pin":"1234"}'), tool('{"ok":true}', f'{{"pin":"{MASK}"}}')),
        (tool('{"pin": 1234, "n": [1234.5, 1, null, true]}'), tool(f'{{"pin":"{MASK}","n":["{MASK}",1,null,true]}}')),
        (tool('{"1234": {"a": "x"}}'), tool(f'{{"{MASK}":{{"a":"x"}}}}')),
        (tool("not JSON 1234", "nor [1234"), tool(f"not JSON {MASK}", f"nor [{MASK}")),
        (None, None),
    ],
)
def test_every_kind_of_item(item: Item | None, masked: Item | None) -> None:
    """What is JSON stays JSON, for a model's API refuses what is not."""
    assert masks("1234").item(0, item) == masked


def test_an_item_without_them_is_left_as_it_is() -> None:
    """The very object: its JSON is not written anew."""
    item = tool('{ "a" : 1.50 }', '{"b": "ü"}')
    assert masks("1234").item(0, item) is item
    assert Masks().item(0, item) is item


def test_a_number_has_lost_its_zeros() -> None:
    """A model may hand the keys on as a number."""
    made = masks("00123")
    assert made.json('{"account":123}') == f'{{"account":"{MASK}"}}'
    assert made.json('{"account":1230}') == '{"account":1230}'
    assert masks("0012").json('{"account":12}') == '{"account":12}'


def test_a_number_longer_than_any_machine_counts() -> None:
    """It is masked, not rounded."""
    keys = "12345678901234567890123456789012"
    assert masks(keys).json(f'{{"account":{keys}}}') == f'{{"account":"{MASK}"}}'


def test_few_keys_are_masked_in_the_tools_own_result() -> None:
    """Elsewhere they are anything; and there only where they are all of a value."""
    made = masks("12")
    output = '{"digits":"12","message":"All 12 of 12."}'
    item = made.item(OWN, tool(output))
    assert isinstance(item, ToolItem)
    assert orjson.loads(item.output) == {"digits": MASK, "message": "All 12 of 12.", "not_kept": NOT_KEPT}
    assert made.item(OWN + 1, tool(output)) == tool(output)
    assert made.text("12 rooms") == "12 rooms"


def test_whoever_reads_the_result_later_is_told() -> None:
    """A model that goes on with the call elsewhere is to ask again, not to use the mask."""
    item = masks("1234").item(OWN, tool('{"digits":"1234","complete":true}'))
    assert isinstance(item, ToolItem)
    assert orjson.loads(item.output) == {"digits": MASK, "complete": True, "not_kept": NOT_KEPT}


def test_what_was_heard_is_counted_in_the_masked_words() -> None:
    """A socket that takes the reply up finds its place in what is stored."""
    said = AssistantItem("You keyed 1 2 3 4 just now.", "open", 6)
    masked = AssistantItem(f"You keyed {MASK} just now.", "open", 2)
    assert masks("1234").item(0, said) == masked
    assert masks("1234").item(0, AssistantItem("You keyed 1 2 3 4 just now.", "open", 7)) == AssistantItem(
        f"You keyed {MASK} just now.", "open", 3
    )


def test_nothing_is_nothing_to_mask() -> None:
    """A tool that got no keys."""
    made = masks("")
    assert made.item(OWN, tool('{"digits":"","complete":false}')) == tool('{"digits":"","complete":false}')


@given(
    keys=st.text("0123456789*#", min_size=LEAST, max_size=32),
    between=st.sampled_from(["", " ", "-", ", ", " - "]),
    before=st.text(max_size=20),
    after=st.text(max_size=20),
)
def test_they_are_never_there(keys: str, between: str, before: str, after: str) -> None:
    """In words, in JSON strings and as a JSON document's only value."""
    made, written = masks(keys), between.join(keys)
    text = f"{before}{written}{after}"
    assert MASK in made.text(text)
    document = orjson.dumps({"a": [text.encode("utf-8", "replace").decode()]}).decode()
    assert MASK in made.json(document)
    orjson.loads(made.json(document))
