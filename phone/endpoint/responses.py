"""Answers of the Responses API. Source of the shapes: the types of OpenAI's Python SDK 3.52."""

from __future__ import annotations

import time
from typing import Any
from uuid import uuid4

import orjson

from phone.endpoint.checks import Ask
from phone.endpoint.parts import Frames, padding, tokens, with_ids
from phone.endpoint.reply import Reply, ToolUse, as_pieces

_INCOMPLETE = {"length": "max_output_tokens", "filter": "content_filter"}


def encode(event: dict[str, Any]) -> bytes:
    """One server-sent event, named by its ``type``."""
    name: str = event["type"]
    return b"event: " + name.encode() + b"\ndata: " + orjson.dumps(event) + b"\n\n"


def responses_frames(ask: Ask, reply: Reply) -> Frames:
    """The stream: created, in progress, every item with its parts and deltas, then completed or incomplete."""
    return _Stream(ask, reply).frames()


def response_object(ask: Ask, reply: Reply, output: list[dict[str, Any]], status: str = "") -> dict[str, Any]:
    """The response object; it repeats the request's instructions and tools, as the API does in every such event."""
    reason = _INCOMPLETE.get(reply.finish)
    status = status or ("incomplete" if reason else "completed")
    read, cached, written = tokens(ask, reply)
    usage = {
        "input_tokens": read,
        "input_tokens_details": {"cached_tokens": cached, "cache_write_tokens": 0},
        "output_tokens": written,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": read + written,
    }
    body = ask.body
    return {
        "id": f"resp_{uuid4().hex}",
        "object": "response",
        "created_at": int(time.time()),
        "status": status,
        "background": False,
        "error": None,
        "incomplete_details": {"reason": reason} if reason and status == "incomplete" else None,
        "instructions": body.get("instructions"),
        "max_output_tokens": body.get("max_output_tokens"),
        "model": ask.model,
        "output": output,
        "parallel_tool_calls": body.get("parallel_tool_calls", True),
        "previous_response_id": None,
        "prompt_cache_key": body.get("prompt_cache_key"),
        "reasoning": body.get("reasoning") or {"effort": None, "summary": None},
        "store": body.get("store", True),
        "temperature": 1.0,
        "text": body.get("text") or {"format": {"type": "text"}, "verbosity": "medium"},
        "tool_choice": body.get("tool_choice") or "auto",
        "tools": body.get("tools") or [],
        "top_p": 1.0,
        "truncation": "disabled",
        "usage": None if status in ("in_progress", "failed") else usage,
        "user": None,
        "metadata": {},
    }


class _Stream:
    """Writes one answer's events; numbered, and gathered into steps as they are made."""

    def __init__(self, ask: Ask, reply: Reply) -> None:
        self._ask = ask
        self._reply = reply
        self._tools = with_ids(reply)
        self._final = "incomplete" if reply.finish in _INCOMPLETE else "completed"
        self._message_id = f"msg_{uuid4().hex}"
        self._reasoning_id = f"rs_{uuid4().hex}"
        self._call_ids = [f"fc_{uuid4().hex}" for _ in self._tools]
        self._kind = "refusal" if reply.refusal else "output_text"
        self._words = as_pieces(reply.refusal or reply.text)
        self._message_at = int(reply.reasoning)
        self._calls_at = self._message_at + int(bool(self._words))
        self._number = 0
        self._pending = b""
        self._steps: list[bytes] = []

    def frames(self) -> Frames:
        response = response_object(self._ask, self._reply, [], status="in_progress")
        self._event("created", response=response)
        self._event("in_progress", response=response)
        if self._reply.reasoning:
            thought = self._thought()
            self._event("output_item.added", output_index=0, item=thought)
            self._event("output_item.done", output_index=0, item=thought)
        head, self._pending = self._pending, b""
        if self._words:
            self._say()
        self._call_tools()
        last = response_object(self._ask, self._reply, self._output())
        last |= {"id": response["id"], "created_at": response["created_at"]}
        self._event(self._final, response=last)
        reasoned = dict.fromkeys(self._call_ids[:1], self._reasoning_id) if self._reply.reasoning else {}
        whole = b"" if self._ask.stream else orjson.dumps(last)
        return Frames(head, self._steps, self._pending, whole, reasoned)

    def _output(self) -> list[dict[str, Any]]:
        """The finished items."""
        output = [self._thought()] if self._reply.reasoning else []
        if self._words:
            output.append(self._message(self._final))
        return output + [self._call(index, self._final) for index in range(len(self._tools))]

    def _event(self, kind: str, **fields: Any) -> None:
        self._pending += encode({"type": f"response.{kind}", "sequence_number": self._number, **fields})
        self._number += 1

    def _step(self) -> None:
        self._steps.append(self._pending)
        self._pending = b""

    def _say(self) -> None:
        at = {"output_index": self._message_at}
        place = {"item_id": self._message_id, "content_index": 0, **at}
        logprobs: dict[str, Any] = {} if self._reply.refusal else {"logprobs": []}
        self._event("output_item.added", item=self._message("in_progress"), **at)
        self._event("content_part.added", part=self._part(""), **place)
        for piece in self._words:
            self._event(f"{self._kind}.delta", delta=piece, **logprobs, **place, **padding(self._ask, self._number))
            self._step()
        text = "".join(self._words)
        self._event(f"{self._kind}.done", **{"refusal" if self._reply.refusal else "text": text}, **logprobs, **place)
        self._event("content_part.done", part=self._part(text), **place)
        self._event("output_item.done", item=self._message(self._final), **at)

    def _call_tools(self) -> None:
        fragments = self._reply.fragments()
        left = [sum(1 for index, _ in fragments if index == tool) for tool in range(len(self._tools))]
        begun: set[int] = set()
        for index, fragment in fragments:
            at = {"output_index": self._calls_at + index}
            place = {"item_id": self._call_ids[index], **at}
            if index not in begun:
                begun.add(index)
                self._event("output_item.added", item=self._call(index, "in_progress"), **at)
            padded = padding(self._ask, self._number)
            self._event("function_call_arguments.delta", delta=fragment, **place, **padded)
            self._step()
            left[index] -= 1
            if not left[index]:
                self._event("function_call_arguments.done", arguments=self._tools[index].arguments, **place)
                self._event("output_item.done", item=self._call(index, self._final), **at)

    def _part(self, text: str) -> dict[str, Any]:
        if self._reply.refusal:
            return {"type": "refusal", "refusal": text}
        return {"type": "output_text", "annotations": [], "logprobs": [], "text": text}

    def _message(self, status: str) -> dict[str, Any]:
        content = [] if status == "in_progress" else [self._part("".join(self._words))]
        return {"id": self._message_id, "type": "message", "status": status, "content": content, "role": "assistant"}

    def _call(self, index: int, status: str) -> dict[str, Any]:
        use: ToolUse = self._tools[index]
        return {
            "id": self._call_ids[index],
            "type": "function_call",
            "status": status,
            "arguments": "" if status == "in_progress" else use.arguments,
            "call_id": use.call_id,
            "name": use.name,
        }

    def _thought(self) -> dict[str, Any]:
        thought: dict[str, Any] = {"id": self._reasoning_id, "type": "reasoning", "summary": []}
        if "reasoning.encrypted_content" in (self._ask.body.get("include") or ()):
            thought["encrypted_content"] = "gAAAAAscripted"
        return thought
