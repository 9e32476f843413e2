"""Chat Completions, streamed: the API that OpenAI-compatible servers speak.

Source: channels.md D1, D4, D5 of the reference, and openai 3.52's types (``chat_completion_chunk.py``).
"""

from __future__ import annotations

import secrets
from collections import deque
from collections.abc import Iterable, Sequence
from typing import Any

import orjson

from relay.items import AssistantItem, Item, NoteItem, ToolItem, UserItem
from relay.models.allowance import ARGUMENTS, CALL, Allowance
from relay.models.base import Finished, FinishReason, ModelEvent, ModelRequest, Sign, ToolCall, ToolSpec, Usage
from relay.models.http import HttpModel
from relay.models.options import effort, effort_with_tools
from relay.models.stream import ProviderFailure

_ENDS: dict[str, FinishReason] = {"length": "length", "content_filter": "filter"}


class ChatModel(HttpModel):
    """A LanguageModel by Chat Completions."""

    path = "/chat/completions"

    def _decoder(self) -> ChatDecoder:
        return ChatDecoder()

    def _render_tools(self, tools: Iterable[ToolSpec]) -> list[dict[str, Any]]:
        return _tools(tools)

    @property
    def _role(self) -> str:
        return "developer" if self._client.is_openai else "system"

    def _body(self, request: ModelRequest) -> bytes:
        model, ours = request.model or self._model, self._client.is_openai
        messages: list[dict[str, Any]] = []
        if request.instructions:
            messages.append({"role": self._role, "content": self._instructions(request.instructions)})
        messages += chat_messages(request.items, note_role=self._role)
        options: dict[str, Any] = {"include_usage": True}
        body: dict[str, Any] = {"model": model, "messages": messages, "stream": True, "stream_options": options}
        wish = request.reasoning or self._reasoning
        if request.tools:
            body["tools"] = self._tools(request.tools)
            if request.tool_choice == "none":
                body["tool_choice"] = "none"
            elif request.tool_choice != "auto":
                body["tool_choice"] = {"type": "function", "function": {"name": request.tool_choice}}
            level = effort_with_tools(wish, model, openai=ours)
        else:
            level = effort(wish, model, openai=ours)
        if level:
            body["reasoning_effort"] = level
        if self._max_tokens is not None:
            body["max_completion_tokens"] = self._max_tokens
        if ours:
            options["include_obfuscation"] = False
            if request.cache_key:
                body["prompt_cache_key"] = request.cache_key
        return orjson.dumps(body)


def chat_messages(items: Sequence[Item], *, note_role: str) -> list[dict[str, Any]]:
    """The conversation as messages. Calls of one round stand in one message, with the words said before them; their
    results follow it, one each."""
    messages: list[dict[str, Any]] = []
    before: Item | None = None
    asking: dict[str, Any] = {}
    for item in items:
        match item:
            case UserItem(text=text):
                messages.append({"role": "user", "content": text})
            case NoteItem(text=text):
                messages.append({"role": note_role, "content": text})
            case AssistantItem(text=text):
                if not text:
                    continue
                messages.append({"role": "assistant", "content": text})
            case ToolItem():
                if not (isinstance(before, ToolItem) and before.round == item.round):
                    if isinstance(before, AssistantItem):
                        asking = messages[-1]
                    else:
                        asking = {"role": "assistant", "content": None}
                        messages.append(asking)
                    asking["tool_calls"] = []
                function = {"name": item.name, "arguments": _json_or_empty(item.arguments)}
                asking["tool_calls"].append({"id": item.call_id, "type": "function", "function": function})
                messages.append({"role": "tool", "tool_call_id": item.call_id, "content": item.output})
        before = item
    return messages


def _json_or_empty(arguments: str) -> str:
    """Some servers parse the arguments of earlier calls, and answer 500 to what is not JSON ever after."""
    try:
        orjson.loads(arguments)
    except ValueError:
        return "{}"
    return arguments


def _tools(tools: Iterable[ToolSpec]) -> list[dict[str, Any]]:
    return [
        {
            "type": "function",
            "function": {"name": tool.name, "description": tool.description, "parameters": tool.parameters},
        }
        for tool in tools
    ]


class _Call:
    __slots__ = ("arguments", "call_id", "name")

    def __init__(self) -> None:
        self.call_id = ""
        self.name = ""
        self.arguments = ""


class ChatDecoder:
    """Chunks to events. Calls are handed on when the choice is finished, because until then any may still grow."""

    def __init__(self) -> None:
        self._allowance = Allowance(ARGUMENTS)
        self._calls: list[_Call] = []
        self._by_index: dict[object, _Call] = {}
        self._reason = ""
        self._called = False
        self._refused = False
        self._usage = Usage()

    def decode(self, data: bytes, events: deque[ModelEvent]) -> bool:
        if data.startswith(b"[DONE]"):
            self._finish_choice(self._reason or "stop", events)
            events.append(self._finished())
            return True
        chunk = orjson.loads(data)
        if not isinstance(chunk, dict):
            return False
        if choices := chunk.get("choices"):
            choice = choices[0]
            if delta := choice.get("delta"):
                if content := delta.get("content"):
                    events.append(content if isinstance(content, str) else _text_of(content))
                elif refusal := delta.get("refusal"):
                    self._refused = True
                    events.append(refusal)
                if fragments := delta.get("tool_calls"):
                    for fragment in fragments:
                        self._add(fragment)
                    events.append(Sign.CALLING)
                elif delta.get("reasoning_content") or delta.get("reasoning"):  # not OpenAI's: vLLM, DeepSeek, Ollama
                    events.append(Sign.THINKING)
            if reason := choice.get("finish_reason"):
                self._finish_choice(reason, events)
                events.append(Sign.COMPLETE)
        if usage := chunk.get("usage"):
            self._usage = _usage(usage)
        if error := chunk.get("error"):
            raise ProviderFailure(error)
        return False

    def finish(self, events: deque[ModelEvent]) -> bool:
        if self._reason:
            events.append(self._finished())
        return bool(self._reason)

    def _add(self, fragment: dict[str, Any]) -> None:
        function = fragment.get("function") or {}
        call_id, name = fragment.get("id") or "", function.get("name") or ""
        index = fragment.get("index")
        if index is None:  # left out by some servers: a name begins a call, anything else goes on with the last one
            index = len(self._calls) - (0 if name or not self._calls else 1)
        call = self._by_index.get(index)
        # Some servers give every call the index 0; a second id tells them apart.
        if call is None or (call_id and call.call_id and call_id != call.call_id):
            self._allowance.take(CALL)
            call = self._by_index[index] = _Call()
            self._calls.append(call)
        call.call_id = call.call_id or call_id
        call.name = call.name or name
        if arguments := function.get("arguments"):
            text = arguments if isinstance(arguments, str) else orjson.dumps(arguments).decode()
            self._allowance.take(len(text))
            call.arguments += text

    def _finish_choice(self, reason: str, events: deque[ModelEvent]) -> None:
        self._reason = reason
        calls, self._calls = self._calls, []
        if reason in _ENDS:
            return  # the last call is cut off, and nobody says how much is missing
        for call in calls:
            if call.name:
                call_id = call.call_id or f"call_{secrets.token_hex(12)}"
                events.append(ToolCall(call_id, call.name, call.arguments or "{}"))
                self._called = True

    def _finished(self) -> Finished:
        reason: FinishReason = "tools" if self._called else "refusal" if self._refused else "stop"
        return Finished(_ENDS.get(self._reason, reason), self._usage)


def _text_of(parts: Iterable[Any]) -> str:
    """The text of content written as a list of parts."""
    return "".join(part["text"] for part in parts if isinstance(part, dict) and part.get("type") == "text")


def _usage(usage: dict[str, Any]) -> Usage:
    details = usage.get("prompt_tokens_details") or {}
    return Usage(
        input=usage.get("prompt_tokens") or 0,
        cached=details.get("cached_tokens") or 0,
        output=usage.get("completion_tokens") or 0,
    )
