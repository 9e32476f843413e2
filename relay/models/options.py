"""What a request says beside the conversation: reasoning effort, tool schemas, and JSON that is made only once."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

import orjson

# gpt-5.1 and later can do without reasoning, but for these two; gpt-5 and the o models always reason.
_HAS_NONE = re.compile(r"gpt-(5\.[1-9]|[6-9]|\d\d)")
_ALWAYS_REASON = re.compile(r"gpt-6-astra|gpt-6\.1-sol|gpt-5(-|$)|o\d")
# From gpt-5.4 on Chat Completions answers tools with 400 unless the effort is none.
_TOOLS_WITHOUT_REASONING = re.compile(r"gpt-(5\.([4-9]|\d\d)|[6-9]|\d\d)")

# Keywords that OpenAI's strict mode does not take.
_NOT_STRICT = {"default", "allOf", "oneOf", "not", "if", "then", "else", "patternProperties", "dependentRequired"}


def always_reasons(model: str) -> bool:
    """Whether the model cannot be told not to reason."""
    return _ALWAYS_REASON.match(model) is not None


def effort(wish: str, model: str, *, openai: bool) -> str:
    """The reasoning effort to send, "" for no such field.

    ``wish`` "" or "none" means none where the model has it: at OpenAI, for models that take it; a compatible server may
    refuse a field it does not know, so there it is sent only for another wish.
    """
    if wish not in ("", "none"):
        return wish
    return "none" if openai and _HAS_NONE.match(model) and not always_reasons(model) else ""


def effort_with_tools(wish: str, model: str, *, openai: bool) -> str:
    """The same for a Chat Completions request that offers tools."""
    if openai and _TOOLS_WITHOUT_REASONING.match(model) and not always_reasons(model):
        return "none"
    return effort(wish, model, openai=openai)


def is_strict(schema: object) -> bool:
    """Whether a JSON schema qualifies for strict mode: every object closed, every property required, to the bottom."""
    if isinstance(schema, list):
        return all(is_strict(part) for part in schema)
    if not isinstance(schema, Mapping):
        return True
    if not _NOT_STRICT.isdisjoint(schema):
        return False
    kind, properties = schema.get("type"), schema.get("properties")
    if kind == "object" or properties is not None or (isinstance(kind, list) and "object" in kind):
        properties = properties or {}
        if schema.get("additionalProperties") is not False or set(schema.get("required", ())) != set(properties):
            return False
    parts = [*(properties or {}).values(), *schema.get("$defs", {}).values()]
    return is_strict(parts) and is_strict(schema.get("items")) and is_strict(schema.get("anyOf"))


class Fragments:
    """The JSON of values that are handed in again and again, as the same objects: made once each, the oldest dropped
    when there are more than ``size``."""

    def __init__(self, render: Callable[[Any], object] = lambda value: value, size: int = 64) -> None:
        self._render = render
        self._size = size
        # By identity: a tool's schema is a dict and has no hash. The value is kept, so its id is not given away.
        self._kept: dict[int, tuple[object, orjson.Fragment]] = {}

    def __call__(self, value: object) -> orjson.Fragment:
        kept = self._kept.get(id(value))
        if kept is None:
            if len(self._kept) >= self._size:
                self._kept.pop(next(iter(self._kept)))
            kept = self._kept[id(value)] = value, orjson.Fragment(orjson.dumps(self._render(value)))
        return kept[1]
