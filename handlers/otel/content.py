"""Words, arguments and results as attributes of spans, for who has asked for them; the shapes are OpenTelemetry's.

Keys that callers gave to tools are masked as in everything that is stored. Telephone numbers are left out wherever
they are written as such: in the instructions, which name the caller's, in what a transcript made of spoken ones, in
arguments and results.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import orjson

from relay.items import AssistantItem, Item, NoteItem, ToolItem, UserItem
from relay.masks import Masks
from relay.models.base import ToolCall
from relay.toolbox import ToolOutcome
from relay.trace import Round

NUMBER = "(number)"

# With its plus a number may be short; without, so many digits are one unless they begin as a date does.
_GAP = r"[ ().\-/]{0,3}"
_INTERNATIONAL = rf"\+\d(?:{_GAP}\d){{6,14}}"
_NATIONAL = rf"(?<![\w.])(?!\d{{4}}-\d\d-\d\d)\d(?:{_GAP}\d){{8,14}}(?!\w)"
_LOCAL = r"\b\d{3}[-. ]\d{4}\b"
_PHONE = re.compile("|".join((_INTERNATIONAL, _NATIONAL, _LOCAL)))

FINISH = {"tools": "tool_call", "filter": "content_filter", "refusal": "content_filter"}
"""The convention's words for how an answer ended, where they are not ours."""

Part = dict[str, Any]


def without_numbers(text: str) -> str:
    return _PHONE.sub(NUMBER, text)


class Content:
    """Of one session. ``own``: the positions of the tools it has begun, by the ids of their calls."""

    def __init__(self, masks: Masks) -> None:
        self._masks = masks
        self.own: dict[str, int] = {}

    def of_request(self, request: Round) -> dict[str, str]:
        """What the model was shown and what it answered."""
        instructions, items = request.shown
        spoken = {"role": "assistant", "parts": self._answer(request), "finish_reason": _finish(request)}
        return {
            "gen_ai.system_instructions": _dump([self._text(instructions)]),
            "gen_ai.input.messages": _dump(list(self._messages(items))),
            "gen_ai.output.messages": _dump([spoken]),
        }

    def of_tool(self, key: int, call: ToolCall, outcome: ToolOutcome | None) -> dict[str, str]:
        item = ToolItem(call.call_id, call.name, call.arguments, "" if outcome is None else outcome.output)
        masked = self._masks.item(key, item)
        assert isinstance(masked, ToolItem)
        found = {"gen_ai.tool.call.arguments": without_numbers(masked.arguments)}
        return found if outcome is None else {**found, "gen_ai.tool.call.result": without_numbers(masked.output)}

    def _answer(self, request: Round) -> list[Part]:
        said = "".join(request.text)
        parts = [self._text(said)] if said else []
        return parts + [self._call(call.call_id, call.name, call.arguments) for call in request.calls]

    def _messages(self, items: Sequence[Item]) -> Iterable[Mapping[str, Any]]:
        for item in items:
            position = self.own.get(item.call_id, -1) if isinstance(item, ToolItem) else -1
            match self._masks.item(position, item):
                case UserItem(text=text):
                    yield {"role": "user", "parts": [self._text(text)]}
                case NoteItem(text=text):
                    yield {"role": "system", "parts": [self._text(text)]}
                case AssistantItem(text=text):
                    yield {"role": "assistant", "parts": [self._text(text)]}
                case ToolItem() as tool:
                    yield {"role": "assistant", "parts": [self._call(tool.call_id, tool.name, tool.arguments)]}
                    response = {"type": "tool_call_response", "id": tool.call_id, "response": self._json(tool.output)}
                    yield {"role": "tool", "parts": [response]}

    def _text(self, text: str) -> Part:
        return {"type": "text", "content": without_numbers(self._masks.text(text))}

    def _call(self, call_id: str, name: str, arguments: str) -> Part:
        return {"type": "tool_call", "id": call_id, "name": name, "arguments": self._json(self._masks.json(arguments))}

    @staticmethod
    def _json(text: str) -> Any:
        """As it reads; text that is no JSON stays text."""
        told = without_numbers(text)
        try:
            return orjson.loads(told)
        except orjson.JSONDecodeError:
            return told


def _finish(request: Round) -> str:
    return FINISH.get(request.outcome, request.outcome)


def _dump(value: Any) -> str:
    return orjson.dumps(value).decode()
