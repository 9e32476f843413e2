"""Reasoning effort, strict schemas, JSON made once."""

from typing import Any

import orjson
import pytest

from relay.models.options import Fragments, effort, effort_with_tools, is_strict


@pytest.mark.parametrize(
    ("model", "sent"),
    [
        ("gpt-5.4-mini", "none"),
        ("gpt-5.6-luna", "none"),
        ("gpt-6-sol", "none"),
        ("gpt-6.1-terra", "none"),
        ("gpt-6-astra", ""),
        ("gpt-6.1-sol", ""),
        ("gpt-6.1-sol-2026-11-01", ""),
        ("gpt-5-mini", ""),
        ("gpt-4.1-mini", ""),
        ("o3", ""),
    ],
)
def test_none_is_sent_where_the_model_has_it(model: str, sent: str) -> None:
    """Left alone or set to none, the effort is none where the model takes it, and no field elsewhere."""
    for wish in ("", "none"):
        assert effort(wish, model, openai=True) == sent
        assert effort(wish, model, openai=False) == ""
    assert effort("low", model, openai=True) == effort("low", model, openai=False) == "low"


def test_tools_on_chat_completions_go_without_reasoning() -> None:
    """At OpenAI, newer models answer 400 to tools with reasoning on Chat Completions: there the effort is none."""
    assert effort_with_tools("low", "gpt-5.4-mini", openai=True) == "none"
    assert effort_with_tools("low", "gpt-5.1", openai=True) == "low"
    assert effort_with_tools("low", "gpt-5.4-mini", openai=False) == "low"


def closed(**properties: Any) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


@pytest.mark.parametrize(
    ("schema", "strict"),
    [
        (closed(), True),
        (closed(a={"type": "string"}, b={"type": ["string", "null"]}), True),
        (closed(a=closed(b={"type": "integer"})), True),
        ({**closed(a={"type": "string"}), "required": []}, False),
        ({"type": "object", "properties": {}}, False),
        (closed(a={"type": "object", "properties": {}}), False),
        (closed(a={"type": "array", "items": {"type": "object"}}), False),
        (closed(a={"anyOf": [{"type": "object"}, {"type": "null"}]}), False),
        ({**closed(a={"$ref": "#/$defs/x"}), "$defs": {"x": {"type": "object"}}}, False),
        (closed(a={"type": "string", "default": "x"}), False),
    ],
)
def test_strict_only_where_the_schema_qualifies(schema: dict[str, Any], strict: bool) -> None:
    """A schema is strict only if every object in it is closed and all its properties are required."""
    assert is_strict(schema) is strict


def test_fragments_are_made_once_and_bounded() -> None:
    """The same object is rendered once; more objects than the bound push out the oldest; equal is not the same."""
    rendered: list[object] = []
    fragments = Fragments(lambda value: rendered.append(value) or list(value), size=2)  # type: ignore[func-returns-value]
    first, second, third = ("a",), ("b",), ("c",)
    assert orjson.dumps({"x": fragments(first)}) == b'{"x":["a"]}'
    fragments(first)
    assert rendered == [first]
    fragments(second)
    fragments(third)
    fragments(second)
    assert rendered == [first, second, third]
    assert orjson.dumps(fragments(first)) == b'["a"]'
    assert rendered == [first, second, third, first]
