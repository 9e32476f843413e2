"""What is left of people's words when they are masked: nothing but their shape."""

from __future__ import annotations

import re
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from handlers.masking import BULLET, OUR_NAMES, Masking, names_in

MASK, SHOW = Masking(show=False), Masking(show=True)
SECRET = "Xq7"
ARGUMENTS = ("city", "day")

words = st.text(st.characters(codec="utf-8"), max_size=40)
hiding = st.builds("{}{}{}".format, words, st.just(SECRET), words) | words
"""Texts of any script, many with the secret inside."""

values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63)
    | st.floats(allow_nan=False, allow_infinity=False)
    | hiding,
    lambda inside: (
        st.lists(inside, max_size=4) | st.dictionaries(hiding | st.sampled_from(ARGUMENTS), inside, max_size=4)
    ),
    max_leaves=12,
)


def shape(value: Any) -> Any:
    """What must stay of JSON: what is in what, how many, and what is true."""
    match value:
        case bool() | None:
            return value
        case list():
            return [shape(each) for each in value]
        case dict():
            return [shape(each) for each in value.values()]
    return "text"


def names_and_texts(value: Any) -> list[str]:
    match value:
        case str():
            return [value]
        case list():
            return [found for each in value for found in names_and_texts(each)]
        case dict():
            return [*value, *(found for each in value.values() for found in names_and_texts(each))]
    return []


@given(hiding)
def test_no_letter_of_a_text_survives(text: str) -> None:
    """Only bullets and white space; as many words as there were, each as long as it was up to eight."""
    masked = MASK.text(text)
    assert set(re.sub(r"\s", "", masked)) <= {BULLET}
    assert [len(word) for word in masked.split()] == [min(8, len(word)) for word in text.split()]


@given(values)
def test_no_word_of_json_survives(value: Any) -> None:
    """In no text, number or name at any depth; what it is made of stays, and it is JSON still."""
    masked = orjson.loads(MASK.json(orjson.dumps(value).decode(), ARGUMENTS))
    assert shape(masked) == shape(value)
    for found in names_and_texts(masked):
        assert found in ARGUMENTS or re.fullmatch(rf"[\s{BULLET}]*( \d+)?", found)


@given(hiding)
def test_what_is_no_json_is_masked_as_text(text: str) -> None:
    """A model may have written anything for arguments."""
    masked = MASK.json("{" + text, ARGUMENTS)
    assert SECRET not in masked
    assert set(re.sub(r"\s", "", masked)) <= {BULLET}


@given(st.integers(0, 10**15))
def test_a_number_keeps_its_last_digits(number: int) -> None:
    """Of a telephone number's first and last, so much; of any other address nothing."""
    address = f"+1{number:010}"
    masked = MASK.address(f"phone:{address}")
    if len(address) <= 16:
        assert masked == f"+1{BULLET * 5}{address[-4:]}"
    else:
        assert masked == BULLET * 8
    assert MASK.address(f"telegram:{number}") == BULLET * 8


@pytest.mark.parametrize(
    ("person", "masked", "shown"),
    [
        ("phone:+15555550200", "+1•••••0200", "+15555550200"),
        ("phone:+1234567", "••••••••", "+1234567"),
        ("anonymous:CA1", "anonymous", "anonymous"),
        ("", "", ""),
    ],
)
def test_addresses(person: str, masked: str, shown: str) -> None:
    """A short number would be told by its ends; who has none is anonymous."""
    assert (MASK.address(person), SHOW.address(person)) == (masked, shown)


def test_fields_that_look_alike_stay_apart() -> None:
    """Names a model may have made up are masked, and numbered; those the program gave say nothing of anybody."""
    assert orjson.loads(MASK.json('{"Ann": 1, "Bob": true, "city": "Rome", "status": null}', {"city", *OUR_NAMES})) == {
        "••• 1": "•",
        "••• 2": True,
        "city": "••••",
        "status": None,
    }


@pytest.mark.parametrize("depth", [200, 300, 2000])
def test_json_without_end(depth: int) -> None:
    """Nested deeper than can be read or written: masked as text."""
    masked = MASK.json("[" * depth + '"secret"' + "]" * depth)
    assert "secret" not in masked and masked


def test_an_operator_who_may_see_words() -> None:
    """Everything as it is."""
    assert SHOW.text("Hello, Ann") == "Hello, Ann"
    assert SHOW.json('{"Ann": [1, "x"]}') == '{"Ann": [1, "x"]}'
    assert SHOW.json("no json") == "no json"


def test_the_names_of_a_schema() -> None:
    """Those of arguments and of what is in them, not the schema's own words."""
    schema = {
        "type": "object",
        "properties": {
            "guests": {"type": "array", "items": {"type": "object", "properties": {"name": {"type": "string"}}}},
            "properties": {"anyOf": [{"type": "object", "properties": {"city": {"enum": ["Rome"]}}}]},
        },
        "required": ["guests"],
    }
    assert names_in(schema) == {"guests", "name", "properties", "city"}
