"""The Responses API, streamed over HTTP.

Source: channels.md D1, D3, D5 of the reference, and openai 3.52's types (``response_stream_event.py``). Nothing is
stored at the provider (``store: false``): the conversation is ours, and what the provider needs back within a turn
(reasoning and the calls that follow it) travels in ``Finished.carry``.
"""

from __future__ import annotations

import secrets
from collections import deque
from collections.abc import Iterable, Sequence
from itertools import groupby
from typing import Any

import orjson

from relay.items import AssistantItem, Item, NoteItem, ToolItem, UserItem
from relay.models.allowance import ARGUMENTS, CALL, CARRY, Allowance
from relay.models.base import Finished, FinishReason, ModelEvent, ModelRequest, Sign, ToolCall, ToolSpec, Usage
from relay.models.http import HttpModel
from relay.models.options import always_reasons, effort, is_strict
from relay.models.stream import ProviderFailure


class ResponsesModel(HttpModel):
    """A LanguageModel by the Responses API."""

    path = "/responses"

    def _decoder(self) -> ResponsesDecoder:
        return ResponsesDecoder()

    def _render_tools(self, tools: Iterable[ToolSpec]) -> list[dict[str, Any]]:
        return _tools(tools)

    def _body(self, request: ModelRequest) -> bytes:
        body = {**self.body(request), "stream": True}
        if self._client.is_openai:
            body["stream_options"] = {"include_obfuscation": False}
        return orjson.dumps(body)

    def body(self, request: ModelRequest) -> dict[str, Any]:
        """The request without what belongs to HTTP's way of streaming."""
        model, ours = request.model or self._model, self._client.is_openai
        body: dict[str, Any] = {"model": model, "store": False}
        if request.instructions:
            body["instructions"] = self._instructions(request.instructions)
        if request.tools:
            body["tools"] = self._tools(request.tools)
            if request.tool_choice == "none":
                body["tool_choice"] = "none"
            elif request.tool_choice != "auto":
                body["tool_choice"] = {"type": "function", "name": request.tool_choice}
        level = effort(request.reasoning or self._reasoning, model, openai=ours)
        if level:
            body["reasoning"] = {"effort": level}
        if level not in ("", "none") or (ours and always_reasons(model)):
            body["include"] = ["reasoning.encrypted_content"]
        if self._max_tokens is not None:
            body["max_output_tokens"] = self._max_tokens
        if request.cache_key:
            body["prompt_cache_key"] = request.cache_key
        body["input"] = responses_input(request.items, request.carry)
        return body


def responses_input(items: Sequence[Item], carry: Sequence[bytes] = ()) -> list[object]:
    """The conversation as input items: the calls of a round, as the provider wrote them where ``carry`` has them, then
    their outputs."""
    carried = _by_call(carry)
    written: list[object] = []
    for key, group in groupby(items, key=lambda item: item.round if isinstance(item, ToolItem) else None):
        if key is None:
            written += [message for item in group if (message := _message(item))]
            continue
        calls = [item for item in group if isinstance(item, ToolItem)]
        for call in calls:
            written += carried.get(call.call_id) or [_call(call)]
        written += [{"type": "function_call_output", "call_id": call.call_id, "output": call.output} for call in calls]
    return written


def _message(item: Item) -> dict[str, str] | None:
    match item:
        case UserItem(text=text):
            return {"role": "user", "content": text}
        case NoteItem(text=text):
            return {"role": "developer", "content": text}
        case AssistantItem(text=text) if text:
            return {"role": "assistant", "content": text}
    return None


def _call(item: ToolItem) -> dict[str, str]:
    return {"type": "function_call", "call_id": item.call_id, "name": item.name, "arguments": item.arguments}


def _by_call(carry: Sequence[bytes]) -> dict[str, list[object]]:
    """Carried items by the call they lead to: a reasoning item is refused unless what followed it follows it again."""
    found: dict[str, list[object]] = {}
    leading: list[object] = []
    for raw in carry:
        leading.append(orjson.Fragment(raw))
        if call_id := orjson.loads(raw).get("call_id"):
            found[call_id], leading = leading, []
    return found


def _tools(tools: Iterable[ToolSpec]) -> list[dict[str, Any]]:
    # Strict is this API's default: where the schema does not qualify, it has to be said.
    return [
        {
            "type": "function",
            "name": tool.name,
            "description": tool.description,
            "parameters": tool.parameters,
            "strict": is_strict(tool.parameters),
        }
        for tool in tools
    ]


class ResponsesDecoder:
    """Events of the API to ours. A call is handed on when its item is done."""

    def __init__(self) -> None:
        self._growing, self._handed = Allowance(ARGUMENTS), Allowance(ARGUMENTS)  # calls in the making, and made
        self._carried = Allowance(CARRY)
        self._open: dict[object, dict[str, str]] = {}
        self._carry: list[bytes] = []
        self._reasoned = False
        self._called = False
        self._refused = False

    def decode(self, data: bytes, events: deque[ModelEvent]) -> bool:
        if data.startswith(b"[DONE]"):
            return False
        event = orjson.loads(data)
        return isinstance(event, dict) and self.take(event, events)

    def take(self, event: dict[str, Any], events: deque[ModelEvent]) -> bool:
        """The same for an event that has been read already."""
        match event.get("type"):
            case "response.output_text.delta":
                if delta := event["delta"]:
                    events.append(delta)
            case "response.function_call_arguments.delta":
                if call := self._open.get(event["output_index"]):
                    self._growing.take(len(event["delta"]))
                    call["arguments"] += event["delta"]
                events.append(Sign.CALLING)
            case "response.function_call_arguments.done":
                if call := self._open.get(event["output_index"]):
                    call["arguments"] = event["arguments"]
            case "response.output_item.added":
                item = event["item"]
                if item["type"] == "function_call":
                    self._growing.take(CALL)
                    self._open[event["output_index"]] = {
                        "call_id": item.get("call_id") or "",
                        "name": item["name"],
                        "arguments": item.get("arguments") or "",
                    }
                    events.append(Sign.CALLING)
                elif item["type"] == "reasoning":
                    events.append(Sign.THINKING)
            case "response.output_item.done":
                self._item_done(event, events)
            case "response.reasoning_summary_text.delta" | "response.reasoning_text.delta":
                events.append(Sign.THINKING)
            case "response.refusal.delta":
                self._refused = True
                if delta := event["delta"]:
                    events.append(delta)
            case "response.completed":
                # A server that leaves out the end of an item says with the end of the response that it is complete.
                for call in self._open.values():
                    self._hand_on(call, events)
                reason: FinishReason = "tools" if self._called else "refusal" if self._refused else "stop"
                events.append(self._finished(event, reason))
                return True
            case "response.incomplete":
                details = event["response"].get("incomplete_details") or {}
                events.append(
                    self._finished(event, "filter" if details.get("reason") == "content_filter" else "length")
                )
                return True
            case "response.failed":
                raise ProviderFailure(event["response"].get("error"))
            case "error":
                # A websocket's has the status HTTP would have answered, outside of the error itself.
                error = event.get("error") or {"code": event.get("code")}
                raise ProviderFailure({"status": event.get("status"), **error} if isinstance(error, dict) else error)
            case None if error := event.get("error"):
                raise ProviderFailure(error)
        return False

    def finish(self, events: deque[ModelEvent]) -> bool:
        return False

    def _item_done(self, event: dict[str, Any], events: deque[ModelEvent]) -> None:
        item = event["item"]
        if item["type"] == "reasoning":
            # Without its content a reasoning item is only an id of something that was not stored.
            if item.get("encrypted_content"):
                self._reasoned = True
                self._carry_on(item)
        elif item["type"] == "function_call":
            begun = self._open.pop(event["output_index"], {"call_id": "", "name": "", "arguments": ""})
            if item.get("status") != "incomplete":
                self._carry_on(item)
                self._hand_on({**begun, **{name: item[name] for name in begun if item.get(name)}}, events)

    def _carry_on(self, item: dict[str, Any]) -> None:
        written = orjson.dumps(item)
        self._carried.take(len(written))
        self._carry.append(written)

    def _hand_on(self, call: dict[str, str], events: deque[ModelEvent]) -> None:
        self._handed.take(CALL + len(call["arguments"]))
        self._called = True
        # OpenAI always gives an id; a compatible server may not.
        events.append(
            ToolCall(call["call_id"] or f"call_{secrets.token_hex(12)}", call["name"], call["arguments"] or "{}")
        )

    def _finished(self, event: dict[str, Any], reason: FinishReason) -> Finished:
        usage = event["response"].get("usage") or {}
        details = usage.get("input_tokens_details") or {}
        counted = Usage(
            input=usage.get("input_tokens") or 0,
            cached=details.get("cached_tokens") or 0,
            output=usage.get("output_tokens") or 0,
        )
        return Finished(reason, counted, tuple(self._carry) if self._reasoned else ())
